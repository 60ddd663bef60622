"""Short, readable, unique names for clusters: the words in which the language models read and write interests.

Keywords come from class-based TF-IDF over the items' tags, category, title and description. A label is for people and
for language models alike: "wildlife, nature, documentary".
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from models.arrays import IntArray
from models.interests.item_embeddings import column

# People choose tags and categories to say what an item is about; words of a title or description may say it.
FIELD_WEIGHTS = {"tags": 4.0, "category": 3.0, "title": 1.0, "description": 0.5}
USUAL_KEYWORDS = 3
MOST_KEYWORDS = 4
KEPT_SHARE = 0.25  # a third keyword must weigh this share of the first; a second one is always kept
LONGEST_PHRASE = 3  # words in a tag that stays one keyword; longer tags are read word by word
# A term that is rarer here than in the mean cluster, or in fewer items than this share, describes some items, not the
# cluster: its weight is multiplied by UNTYPICAL.
TYPICAL_SHARE = 0.01
UNTYPICAL = 0.05
ITEMS_READ = 2_000  # per cluster: more do not move the keywords

_WORD = re.compile(r"\w+(?:[-'’]\w+)*")
_PLAIN_WORD = re.compile(r"[^\W\d_]{2,}(?:-[^\W\d_]{2,})*")
_NUMERAL = re.compile(r"(?=[ivxlcdm])(x{0,3})(ix|iv|v?i{0,3})|m{1,4}d?c{0,4}l?x{0,4}v?i{0,4}")
_NUMBER_WORDS = """zero second third seven thirteen fourteen sixteen seventeen eighteen nineteen thirty seventy eighty
ninety thousand million billion"""
_CLIPPED_WORDS = """ain aren couldn didn doesn don hadn hasn haven isn just ll shouldn ve wasn weren won wouldn th st nd
rd vs etc http https www com"""
# Articles and prepositions of other languages: untranslated titles otherwise make "la" a keyword.
_FOREIGN_WORDS = """al au aux avec ce ces che con da das de degli del della delle dem den der des det di die du ein eine
el en est et gli il ist la las le les lo los mit mon na non nos nous os para por pour qui se si su sur um un una une uno
und van vom von zu zum zur"""
STOP_WORDS = frozenset([*ENGLISH_STOP_WORDS, *_NUMBER_WORDS.split(), *_CLIPPED_WORDS.split(), *_FOREIGN_WORDS.split()])


@dataclass(frozen=True)
class ClusterLabel:
    """The name of one cluster; ``readable`` is False where its items have no words, only ids."""

    text: str
    readable: bool


def label_clusters(items: pl.DataFrame, cluster_ids: IntArray, clusters: int) -> list[ClusterLabel]:
    """Name clusters 0..N-1, each by two to four keywords that no other cluster has in that combination.

    Keywords are in falling order of weight. A cluster whose items share only one usable keyword is named by it alone;
    one without any is ``topic <id>``. Larger clusters (lower ids, as ``fit_clusters`` numbers them) choose first.

    Args:
        items: ``item_id`` and any of ``title``, ``tags``, ``category``, ``description``.
        cluster_ids: [items], the cluster of each item.
        clusters: N.
    """
    taken: set[frozenset[str]] = set()
    labels = []
    for cluster, weights in enumerate(keyword_weights(items, cluster_ids, clusters)):
        keywords = _unique_keywords(weights, taken)
        taken.add(frozenset(keywords))
        labels.append(ClusterLabel(", ".join(keywords) or f"topic {cluster}", readable=bool(keywords)))
    return labels


def keyword_weights(items: pl.DataFrame, cluster_ids: IntArray, clusters: int) -> list[dict[str, float]]:
    """Weight of each keyword in each cluster, heaviest first, by class-based TF-IDF.

    After Grootendorst (2022), BERTopic, equation 2, with one change: term frequency is the share of the cluster's items
    that use the term, so that neither large clusters nor long descriptions drown the rest. The weight is
    ``field weight * share(t, c) * log(1 + 1 / mean over clusters of share(t, .))``; terms that are not typical of the
    cluster count for next to nothing.
    """
    term_shares = [_term_shares(items[rows]) for rows in _rows_by_cluster(cluster_ids, clusters)]
    mean_share: defaultdict[str, float] = defaultdict(float)
    for shares in term_shares:
        for term, (share, _) in shares.items():
            mean_share[term] += share / clusters
    return [_cluster_weights(shares, mean_share) for shares in term_shares]


def _cluster_weights(shares: dict[str, tuple[float, float]], mean_share: dict[str, float]) -> dict[str, float]:
    """Weights of one cluster's terms from their shares, plain and by field; heaviest first."""
    weights = {}
    for term, (share, by_field) in shares.items():
        typical = share >= max(TYPICAL_SHARE, mean_share[term])
        weights[term] = by_field * math.log1p(1 / mean_share[term]) * (1 if typical else UNTYPICAL)
    # Rounded, so that ties are decided by the alphabet and not by the order in which shares were summed.
    return dict(sorted(weights.items(), key=lambda pair: (-round(pair[1], 9), pair[0])))


def near_duplicates(one: str, other: str) -> bool:
    """Whether two keywords say the same: every word of the shorter one has a twin in the longer one.

    Twins share a beginning of at least four letters that is most of the shorter word (film/films, garden/gardening).
    """
    shorter, longer = sorted((re.split(r"[ -]", one), re.split(r"[ -]", other)), key=len)
    return all(any(_twins(word, candidate) for candidate in longer) for word in shorter)


def _twins(one: str, other: str) -> bool:
    shared = next((i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    if shared is None:
        shared = min(len(one), len(other))
    shortest = min(len(one), len(other))
    plural = shared == shortest >= 2 and max(one, other, key=len)[shared:] in {"", "s", "es"}
    return plural or (shared >= 4 and shared >= 0.75 * shortest and max(len(one), len(other)) - shared <= 6)


def _rows_by_cluster(cluster_ids: IntArray, clusters: int) -> list[IntArray]:
    order = np.argsort(cluster_ids, kind="stable")
    ends = np.cumsum(np.bincount(cluster_ids, minlength=clusters))
    return [rows[:ITEMS_READ] for rows in np.split(order, ends[:-1])]


def _term_shares(items: pl.DataFrame) -> dict[str, tuple[float, float]]:
    """Per term the share of items that use it, plain and times field weight (of the heaviest field in each item)."""
    shares: Counter[str] = Counter()
    by_field: defaultdict[str, float] = defaultdict(float)
    fields = [column(items, name) for name in FIELD_WEIGHTS]
    for tags, category, title, description in zip(*fields, strict=True):
        terms: dict[str, float] = {}
        terms |= dict.fromkeys(_words(description or ""), FIELD_WEIGHTS["description"])
        terms |= dict.fromkeys(_words(title or ""), FIELD_WEIGHTS["title"])
        terms |= dict.fromkeys(_phrases([category or ""]), FIELD_WEIGHTS["category"])
        terms |= dict.fromkeys(_phrases(tags or []), FIELD_WEIGHTS["tags"])
        shares.update(terms.keys())
        for term, weight in terms.items():
            by_field[term] += weight
    return {term: (count / items.height, by_field[term] / items.height) for term, count in shares.items()}


def _phrases(values: Iterable[str | None]) -> Iterable[str]:
    """Each tag as one keyword of at most three words, its words in their order."""
    for value in values:
        words = list(_words(value or ""))
        if len(words) <= LONGEST_PHRASE:
            yield from [" ".join(words)] if words else []
        else:
            yield from words


def _words(text: str) -> Iterable[str]:
    """Lower-case words of two letters and more: no stop words, numbers, numerals or words with digits in them."""
    for token in _WORD.findall(text.lower()):
        word = re.split(r"['’]", token)[0]
        usable = _PLAIN_WORD.fullmatch(word) and word not in STOP_WORDS and not _NUMERAL.fullmatch(word)
        if usable and not any(part in STOP_WORDS for part in word.split("-")):
            yield word


def _unique_keywords(weights: dict[str, float], taken: set[frozenset[str]]) -> list[str]:
    """The heaviest keywords; then one more, then other last keywords, until the combination is free. May be empty."""
    candidates: list[str] = []
    for term in weights:
        if not any(near_duplicates(term, chosen) for chosen in candidates):
            candidates.append(term)
        if len(candidates) == 60:  # far more than a label needs; more would only cost time
            break
    if not candidates:
        return []
    heaviest = weights[candidates[0]]
    usual = sum(weights[term] >= KEPT_SHARE * heaviest for term in candidates[:USUAL_KEYWORDS])
    usual = min(max(usual, 2), len(candidates))
    for size in range(usual, min(MOST_KEYWORDS, len(candidates)) + 1):
        if frozenset(candidates[:size]) not in taken:
            return candidates[:size]
    return _replaced_keywords(candidates, taken)


def _replaced_keywords(candidates: list[str], taken: set[frozenset[str]]) -> list[str]:
    """Keep the beginning, the longer the better, and replace what follows by lighter keywords until it is free."""
    for size in range(min(MOST_KEYWORDS, len(candidates)), 0, -1):
        kept = candidates[: size - 1]
        for last in candidates[size:]:
            if frozenset([*kept, last]) not in taken:
                return [*kept, last]
    return []
