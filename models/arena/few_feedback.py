"""A world with feedback for few of its pairs: what users say of few clusters after few histories, and what is true.

The clusters are the topics themselves. K-means on the text of 768 topics has an adjusted Rand index of 0.54 with them,
and the question here is what feedback and words are worth, not what the clusters are. Half of the users teach and the
others judge, so nobody does both. A served cell has one impression of each teaching user who held the history and never
played the cluster; the answer is drawn with that user's own probability. A held-out history is judged by the mean of
the true probabilities of its judging users, so no noise of a log is in what it is judged by.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from models.arena.world import World
from models.arrays import BoolArray, Float64Array, IntArray

History = tuple[int, ...]
TEACHING_SHARE = 0.5  # of the users


@dataclass(frozen=True)
class FewFeedbackOptions:
    """Sizes.

    Attributes:
        length: K.
        density: share of the pairs (member, candidate) that have feedback in the end.
        served: clusters that are served after a history that teaches.
        apart_share: of the clusters, never served at all.
        judged: histories that are held out.
        judged_served: candidates of a held-out history that may be served elsewhere.
        judged_apart: candidates of it that never are.
        least_teachers: users of a history that teaches.
        least_judges: users of a held-out history.
        seed: of every choice.
    """

    length: int
    density: float
    served: int
    apart_share: float
    judged: int
    judged_served: int
    judged_apart: int
    least_teachers: int
    least_judges: int
    seed: int


@dataclass(frozen=True, eq=False)
class FewFeedback:
    """What few users say, and what judges it.

    Attributes:
        taught: ``number`` (of the history, from 0: those below a number are the feedback of a lower density),
            ``history``, ``cluster_id``, ``impressions``, ``positives``.
        judged: ``history``, ``cluster_id``, ``users`` (to whom it is new), ``true_rate`` (their mean) and ``apart``
            (the cluster is never served).
    """

    taught: pl.DataFrame
    judged: pl.DataFrame


def few_feedback(world: World, options: FewFeedbackOptions) -> FewFeedback:
    """Serve some clusters after some histories of a world whose days have been simulated.

    Raises:
        ValueError: too few histories have enough users.
    """
    rng = np.random.default_rng([options.seed, 7])
    clusters = len(world.topic_names)
    held = held_histories(world.plays(), world.catalogue.main_topics, options.length)
    teaches = rng.random(world.options.users) < TEACHING_SHARE
    sides = [_users_by_history(held[side[held[:, 0]]]) for side in (teaches, ~teaches)]
    judging = _some(sides[1], options.least_judges, options.judged, rng)
    teaching = {history: users for history, users in sides[0].items() if history not in judging}
    apart = np.zeros(clusters, dtype=np.bool_)
    apart[rng.permutation(clusters)[: round(options.apart_share * clusters)]] = True
    answers = _Answers(world)
    kinds = ((~apart, options.judged_served), (apart, options.judged_apart))
    judged = pl.concat(
        answers.true(history, users, _offered(part, history, count, rng))
        for history, users in judging.items()
        for part, count in kinds
    )
    taught, wanted = [], options.density * clusters * (clusters - 1)
    pairs: set[tuple[int, int]] = set()
    for number, (history, users) in enumerate(_some(teaching, options.least_teachers, len(teaching), rng).items()):
        if len(pairs) >= wanted:
            break
        offered = _offered(~apart, history, options.served, rng)
        cells = answers.drawn(history, users, offered, rng).with_columns(number=pl.lit(number))
        pairs |= {(member, cluster) for member in history for cluster in cells["cluster_id"].to_list()}
        taught.append(cells)
    if len(pairs) < wanted:
        raise ValueError(
            f"{len(taught)} histories with {options.least_teachers} teaching users give feedback for {len(pairs)} "
            f"pairs, not for {wanted:.0f}: simulate more users or days"
        )
    unserved = np.flatnonzero(apart).tolist()
    return FewFeedback(pl.concat(taught), judged.with_columns(apart=pl.col("cluster_id").is_in(unserved)))


def density_of(taught: pl.DataFrame, clusters: int) -> float:
    """The share of the pairs (member, candidate) of ``clusters`` clusters that have feedback."""
    pairs = taught.select("cluster_id", member="history").explode("member").unique()
    return pairs.height / (clusters * (clusters - 1))


def histories_for(taught: pl.DataFrame, density: float, clusters: int) -> int:
    """How many of the first histories give the share of pairs with feedback that a density asks for, or all do."""
    pairs = taught.select("number", "cluster_id", member="history").explode("member")
    new = pairs.group_by("member", "cluster_id").agg(pl.col("number").min())["number"].sort()
    wanted = min(round(density * clusters * (clusters - 1)), len(new))
    return int(new[wanted - 1]) + 1


def held_histories(
    plays: Iterable[tuple[IntArray, IntArray, IntArray, BoolArray]], topics: IntArray, length: int
) -> IntArray:
    """[n, 1 + K] each user with each history that they ever had: the latest ``length`` topics that pleased, sorted.

    Args:
        plays: users, items, times and which were positive, in order of time.
        topics: [items].
        length: K.
    """
    recent: dict[int, list[int]] = defaultdict(list)
    held: set[tuple[int, ...]] = set()
    for users, items, _, positive in plays:
        for user, topic in zip(users[positive].tolist(), topics[items[positive]].tolist(), strict=True):
            latest = recent[user]
            if topic in latest:
                latest.remove(topic)
            latest.append(topic)
            del latest[:-length]
            if len(latest) == length:
                held.add((user, *sorted(latest)))
    return np.array(sorted(held), dtype=np.int64).reshape(-1, 1 + length)


class _Answers:
    """What users would say of clusters that are new to them."""

    def __init__(self, world: World) -> None:
        truth = world.truth()
        self.rates = truth.user_rates(np.arange(world.options.users), truth.item_topics)["positive"]
        self.known = np.zeros(self.rates.shape, dtype=np.bool_)
        for users, items, _, _ in world.plays():
            self.known[users, world.catalogue.main_topics[items]] = True

    def drawn(self, history: History, users: IntArray, offered: IntArray, rng: np.random.Generator) -> pl.DataFrame:
        """Impressions and positives of the offered clusters, where there are any."""
        new, rates = self._of(users, offered)
        positives = ((rng.random(rates.shape) < rates) & new).sum(axis=0)
        counts = pl.DataFrame({"impressions": new.sum(axis=0), "positives": positives})
        return _cells(history, offered).hstack(counts).filter(pl.col("impressions") > 0)

    def true(self, history: History, users: IntArray, offered: IntArray) -> pl.DataFrame:
        """Users to whom the offered clusters are new, where there are any, and their mean rate."""
        new, rates = self._of(users, offered)
        counts = new.sum(axis=0)
        means = (rates * new).sum(axis=0) / np.maximum(counts, 1)
        return (
            _cells(history, offered)
            .hstack(pl.DataFrame({"users": counts, "true_rate": means}))
            .filter(pl.col("users") > 0)
        )

    def _of(self, users: IntArray, offered: IntArray) -> tuple[BoolArray, Float64Array]:
        pairs = np.ix_(users, offered)
        return ~self.known[pairs], self.rates[pairs]


def _users_by_history(held: IntArray) -> dict[History, IntArray]:
    """Of each history the users who held it, of rows of a user and a history."""
    histories, group, counts = np.unique(held[:, 1:], axis=0, return_inverse=True, return_counts=True)
    users = np.split(held[np.argsort(group.ravel(), kind="stable"), 0], np.cumsum(counts)[:-1])
    return dict(zip(map(tuple, histories.tolist()), users, strict=True))


def _some(held: dict[History, IntArray], least: int, most: int, rng: np.random.Generator) -> dict[History, IntArray]:
    """At most so many of the histories that have enough users, in an order of chance."""
    enough = [history for history, users in held.items() if len(users) >= least]
    return {enough[place]: held[enough[place]] for place in rng.permutation(len(enough))[:most]}


def _offered(allowed: BoolArray, history: History, count: int, rng: np.random.Generator) -> IntArray:
    """[count] clusters outside the history, by chance."""
    outside = np.setdiff1d(np.flatnonzero(allowed), history)
    return np.sort(rng.permutation(outside)[:count])


def _cells(history: History, offered: IntArray) -> pl.DataFrame:
    return pl.DataFrame(
        {"history": [list(history)] * len(offered), "cluster_id": offered},
        schema_overrides={"history": pl.List(pl.Int64), "cluster_id": pl.Int64},
    )
