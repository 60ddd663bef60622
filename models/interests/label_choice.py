"""The choice of all labels together: each by the keywords that set its items apart from those of the other clusters.

Labels compete as classes do. Of an item, the share of its own label in a softmax over all labels, in each space, tells
whether this label is the nearest; the sum of the logarithms of these shares over a sample of items is raised, one label
at a time, by adding, leaving out or replacing a keyword. A word that other labels hold draws their items too, so it
pays only where it sets more apart than it confuses, and a word that tells nothing is left out.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations, islice, permutations
from typing import NamedTuple

import numpy as np
from scipy import sparse

from models.arrays import Float32Array, IntArray
from models.interests.cluster_keywords import near_duplicates
from models.interests.label_spaces import LabelSpace, Vectors, unit_rows
from models.language.prompts import words_that_differ

MOST_KEYWORDS = 4
ROUNDS, FEWEST_ROUNDS = 4, 2  # the fewest where there are so many clusters that reading labels takes the time
SAMPLED_ITEMS = 4_000  # over all clusters; more change few labels
FEWEST_SAMPLED = 8  # per cluster, where there are so many
LABELS_READ = 3_000  # that are placed exactly in each space, over all rounds: MiniLM reads some hundreds in a second
NO_DIFFERENCE = -8.0  # a label whose logit is so far below the others takes nothing from an item
LEAST_GAIN = 0.02  # nats per item of its cluster that a keyword must bring

Keywords = tuple[str, ...]


class Pool(NamedTuple):
    """What the label of a cluster may be made of.

    Attributes:
        keywords: best first.
        usual: how many of them are for its label; the others only where no label of these is free.
        fewest: keywords that its label has at least, where they can be had.
    """

    keywords: Sequence[str]
    usual: int
    fewest: int


_near = lru_cache(maxsize=1 << 18)(near_duplicates)


def choose_labels(
    pools: Sequence[Pool], cluster_ids: IntArray, rows: IntArray, spaces: Sequence[LabelSpace], seed: int
) -> list[Keywords]:
    """Choose the keywords of all labels, so that no two have the same words.

    Args:
        pools: of each cluster.
        cluster_ids: [items], the cluster of each item.
        rows: the items that may be read.
        spaces: in which labels are to be apart.
        seed: of the sample.

    Returns:
        One to four keywords for each cluster; none where the pool holds no combination that is free.
    """
    chosen = _first_choice(pools)
    if len(pools) == 1 or not any(chosen):
        return chosen
    sample, weights = _sample(cluster_ids, rows, len(pools), seed)
    keywords = sorted({keyword for pool, some in zip(pools, chosen, strict=True) for keyword in (*_usual(pool), *some)})
    contests = [_Contest(space, sample, cluster_ids[sample], weights, keywords) for space in spaces]
    for contest in contests:
        contest.set_labels([label_of(keywords, cluster) for cluster, keywords in enumerate(chosen)])
    rounds = min(ROUNDS, max(FEWEST_ROUNDS, LABELS_READ // len(pools)))
    kept = max(2, LABELS_READ // (rounds * len(pools)))
    for _ in range(rounds):
        shortlists = [_shortlist(cluster, chosen, pools, contests, kept) for cluster in range(len(pools))]
        if not _exchange(chosen, shortlists, contests):
            break
    return chosen


def label_of(keywords: Keywords, cluster: int) -> str:
    """The text of a label; ``topic <id>`` without keywords."""
    return ", ".join(keywords) or f"topic {cluster}"


def _sample(cluster_ids: IntArray, rows: IntArray, clusters: int, seed: int) -> tuple[IntArray, Float32Array]:
    """The same number of items of each cluster, and how many items each of them stands for; weights sum to 1."""
    order = np.random.default_rng(seed).permutation(rows)
    order = order[np.argsort(cluster_ids[order], kind="stable")]
    sizes = np.bincount(cluster_ids[order], minlength=clusters)
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    sample = order[place < max(FEWEST_SAMPLED, SAMPLED_ITEMS // clusters)]
    taken = np.bincount(cluster_ids[sample], minlength=clusters)
    own = cluster_ids[sample]
    return sample, (sizes[own] / taken[own] / len(rows)).astype(np.float32)


def _usual(pool: Pool) -> Sequence[str]:
    return pool.keywords[: pool.usual]


def _first_choice(pools: Sequence[Pool]) -> list[Keywords]:
    """For each cluster in turn the fewest and best keywords that are free."""
    taken = {words_that_differ(label_of((), cluster)) for cluster in range(len(pools))}
    chosen = []
    for pool in pools:
        sizes = [*range(pool.fewest, MOST_KEYWORDS + 1), *range(1, pool.fewest)]
        some = (
            keywords for of in (_usual(pool), pool.keywords) for size in sizes for keywords in combinations(of, size)
        )
        free = (
            keywords for keywords in some if _differ(keywords) and words_that_differ(" ".join(keywords)) not in taken
        )
        chosen.append(next(free, ()))
        taken.add(words_that_differ(" ".join(chosen[-1])))
    return chosen


def _differ(keywords: Sequence[str]) -> bool:
    return not any(_near(one, other) for one, other in combinations(keywords, 2))


def _moves(keywords: Keywords, pool: Pool) -> list[Keywords]:
    """What the label can be with one keyword more, less or replaced, or the same; in the order of the pool."""
    place = {keyword: number for number, keyword in enumerate(pool.keywords)}
    held = frozenset(keywords)
    smaller = [held - {keyword} for keyword in keywords]
    moves = {held, *(some for some in smaller if len(some) >= pool.fewest)}
    for keyword in _usual(pool):
        moves |= {
            some | {keyword} for some in (held, *smaller) if len(some) < MOST_KEYWORDS and _all_new(keyword, some)
        }
    ordered = (tuple(sorted(some, key=place.__getitem__)) for some in moves)
    return sorted(ordered, key=lambda some: [place[keyword] for keyword in some])


def _all_new(keyword: str, held: frozenset[str]) -> bool:
    return not any(_near(keyword, other) for other in held)


def _shortlist(
    cluster: int, chosen: list[Keywords], pools: Sequence[Pool], contests: "list[_Contest]", kept: int
) -> list[Keywords]:
    """The label that stands and the most promising moves, judged by the sum of their keywords' vectors.

    They come in several orders, as the meaning of a label depends a little on the order of its words.
    """
    if not chosen[cluster]:
        return []
    moves = _moves(chosen[cluster], pools[cluster])
    worth = sum(contest.worth_of(cluster, contest.joined(moves)) for contest in contests)
    order = np.argsort(_costs(moves, cluster, contests) - worth, kind="stable")
    best = [moves[number] for number in order[:kept]]
    orders = [*islice(permutations(chosen[cluster]), 2 * kept + 2), *(o for move in best for o in (move, move[::-1]))]
    return list(dict.fromkeys(orders))


def _costs(labels: Sequence[Keywords], cluster: int, contests: "list[_Contest]") -> Float32Array:
    share = contests[0].share_of(cluster)
    return np.array([LEAST_GAIN * share * len(contests) * len(keywords) for keywords in labels], dtype=np.float32)


def _exchange(chosen: list[Keywords], shortlists: list[list[Keywords]], contests: "list[_Contest]") -> bool:
    """Give each cluster in turn the best free label of its shortlist; whether any has changed."""
    texts = [label_of(keywords, cluster) for cluster, some in enumerate(shortlists) for keywords in some]
    starts = np.cumsum([0, *map(len, shortlists)])
    vectors = [contest.space.vectors_of(texts) for contest in contests]
    words = [words_that_differ(label_of(keywords, cluster)) for cluster, keywords in enumerate(chosen)]
    reserved = {words_that_differ(label_of((), cluster)) for cluster in range(len(chosen))}
    changed = False
    for contest in contests:
        contest.settle()
    for cluster, shortlist in enumerate(shortlists):
        taken = {*words[:cluster], *words[cluster + 1 :]} | reserved
        free = [n for n, some in enumerate(shortlist) if words_that_differ(" ".join(some)) not in taken]
        if len(free) < 2:
            continue
        labels, at = [shortlist[number] for number in free], starts[cluster] + np.array(free)
        pairs = list(zip(contests, vectors, strict=True))
        worth = sum(contest.worth_of(cluster, found[at]) for contest, found in pairs)
        best = int(np.argmax(np.round(worth - _costs(labels, cluster, contests), 9)))
        if labels[best] != chosen[cluster]:
            changed, chosen[cluster] = True, labels[best]
            words[cluster] = words_that_differ(" ".join(labels[best]))
            for contest, found in pairs:
                contest.replace(cluster, found[at[best : best + 1]])
    return changed


class _Contest:
    """The labels in one space: how near each is to each sampled item, as logits of a softmax over the labels."""

    def __init__(
        self,
        space: LabelSpace,
        sample: IntArray,
        own: IntArray,
        weights: Float32Array,
        keywords: Sequence[str],
    ) -> None:
        self.space, self._sample, self._own, self._weights = space, sample, own, weights
        self._row_of = {keyword: number for number, keyword in enumerate(keywords)}
        self._keywords = space.vectors_of(keywords)

    def set_labels(self, labels: Sequence[str]) -> None:
        """Start from these labels."""
        self._logits = self._logits_of(self.space.vectors_of(labels))
        self.settle()

    def settle(self) -> None:
        """Sum over the labels anew, so that rounding does not add up."""
        self._total = _log_sum(self._logits)

    def replace(self, cluster: int, vector: Vectors) -> None:
        """Give a cluster another label."""
        rest = self._rest(cluster)
        self._logits[:, cluster] = self._logits_of(vector)[:, 0]
        self._total = np.logaddexp(rest, self._logits[:, cluster])

    def worth_of(self, cluster: int, vectors: Vectors) -> Float32Array:
        """What the log-likelihood of all items would be, but for a constant, with each of some labels: [labels]."""
        ahead = self._logits_of(vectors) - self._rest(cluster)[:, None]
        own = self._own == cluster
        rows = np.flatnonzero(own | (ahead.max(axis=1) > NO_DIFFERENCE))
        ahead, own, weights = ahead[rows], own[rows], self._weights[rows]
        return np.asarray(weights[own] @ ahead[own] - weights @ np.logaddexp(np.float32(0), ahead))

    def share_of(self, cluster: int) -> float:
        """Share of all items that are in a cluster."""
        return float(self._weights[self._own == cluster].sum())

    def joined(self, labels: Sequence[Keywords]) -> Vectors:
        """Vectors of labels as the sums of those of their keywords: near to the true ones, and much cheaper."""
        rows = [[self._row_of[keyword] for keyword in keywords] for keywords in labels]
        used, columns = np.unique(np.concatenate(rows), return_inverse=True)
        starts = np.cumsum([0, *map(len, rows)])
        holds = sparse.csr_array((np.ones(len(columns), np.float32), columns, starts), (len(rows), len(used)))
        return unit_rows(holds @ self._keywords[used])

    def _logits_of(self, vectors: Vectors) -> Float32Array:
        return self.space.similarity(self._sample, vectors) / np.float32(self.space.spread)

    def _rest(self, cluster: int) -> Float32Array:
        """Logarithm of the sum over the other labels: [items]."""
        ahead = self._logits[:, cluster] - self._total
        with np.errstate(divide="ignore"):
            rest = self._total + np.log1p(-np.exp(np.minimum(ahead, 0)))
        alone = ahead > -0.01  # the difference of two near numbers: summed without the label instead
        rest[alone] = _log_sum(np.delete(self._logits[alone], cluster, axis=1))
        return np.asarray(rest)


def _log_sum(logits: Float32Array) -> Float32Array:
    """Logarithm of the sum of exponentials of each row; -inf without columns."""
    if logits.shape[1] == 0:
        return np.full(len(logits), -np.inf, dtype=np.float32)
    highest = logits.max(axis=1)
    return np.asarray(highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1)))
