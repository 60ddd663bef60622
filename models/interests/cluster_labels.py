"""Short, readable, unique names for clusters: the words in which the language models read and write interests.

Which words a label may be made of, and what they weigh, is in cluster_keywords. A label is for people and for language
models alike: "wildlife, nature, documentary".
"""

from dataclasses import dataclass

import polars as pl

from models.arrays import IntArray
from models.interests.cluster_keywords import keyword_weights, near_duplicates
from models.language.prompts import words_that_differ

USUAL_KEYWORDS = 3
MOST_KEYWORDS = 4
KEPT_SHARE = 0.25  # a third keyword must weigh this share of the first; a second one is always kept


@dataclass(frozen=True)
class ClusterLabel:
    """The name of one cluster; ``readable`` is False where its items have no words, only ids."""

    text: str
    readable: bool


def label_clusters(items: pl.DataFrame, cluster_ids: IntArray, clusters: int) -> list[ClusterLabel]:
    """Name clusters 0..N-1, each by two to four keywords, so that no two labels have the same words.

    Keywords are in falling order of weight. A cluster whose items share only one usable keyword is named by it alone;
    one without any is ``topic <id>``. Larger clusters (lower ids, as ``fit_clusters`` numbers them) choose first.

    Args:
        items: ``item_id`` and any of ``title``, ``tags``, ``category``, ``description``.
        cluster_ids: [items], the cluster of each item.
        clusters: N.
    """
    taken = {words_that_differ(f"topic {cluster}") for cluster in range(clusters)}
    labels = []
    for cluster, weights in enumerate(keyword_weights(items, cluster_ids, clusters)):
        text = ", ".join(_unique_keywords(weights, taken))
        taken.add(words_that_differ(text))
        labels.append(ClusterLabel(text or f"topic {cluster}", readable=bool(text)))
    return labels


def _is_free(keywords: list[str], taken: set[frozenset[str]]) -> bool:
    return words_that_differ(", ".join(keywords)) not in taken


def _unique_keywords(weights: dict[str, float], taken: set[frozenset[str]]) -> list[str]:
    """The heaviest keywords; then one more, then other last keywords, until their words are free. May be empty."""
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
        if _is_free(candidates[:size], taken):
            return candidates[:size]
    return _replaced_keywords(candidates, taken)


def _replaced_keywords(candidates: list[str], taken: set[frozenset[str]]) -> list[str]:
    """Keep the beginning, the longer the better, and replace what follows by lighter keywords until it is free."""
    for size in range(min(MOST_KEYWORDS, len(candidates)), 0, -1):
        kept = candidates[: size - 1]
        for last in candidates[size:]:
            if _is_free([*kept, last], taken):
                return [*kept, last]
    return []
