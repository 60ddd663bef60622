"""Short, readable, unique names for clusters: the words in which the language models read and write interests.

Which words a label may be made of is in cluster_keywords, which of them it gets in label_choice, how well all labels
together tell the clusters apart in label_quality. A label is for people and for language models alike: "wildlife,
nature, documentary".
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from models.arrays import Float32Array, IntArray
from models.interests.cluster_keywords import Keyword, cluster_keywords
from models.interests.item_embeddings import Embedder
from models.interests.label_choice import Pool, choose_labels, label_of
from models.interests.label_quality import LabelQuality, held_out, measure_labels
from models.interests.label_spaces import meaning_space, word_space
from models.progress import Log, silent

USUAL_KEYWORDS = 2
DESCRIBING_SHARE = (
    0.2  # a keyword that so many of the cluster's items use describes it, also where it sets little apart
)


@dataclass(frozen=True)
class ClusterLabel:
    """The name of one cluster; ``readable`` is False where its items have no words, only ids."""

    text: str
    readable: bool


def label_clusters(
    items: pl.DataFrame,
    cluster_ids: IntArray,
    clusters: int,
    embedder: Embedder,
    embeddings: Float32Array,
    seed: int,
    log: Log = silent,
) -> tuple[list[ClusterLabel], LabelQuality]:
    """Name clusters 0..N-1 so that their labels tell them apart, and measure how well they do.

    A label has up to four keywords: two where two describe the cluster, more where they set it further apart, one where
    no second tells anything. No two labels have the same words. A cluster without a usable keyword is ``topic <id>``.
    Some items of each cluster are not read; on them the labels are measured.

    Args:
        items: ``item_id`` and any of ``title``, ``tags``, ``category``, ``description``.
        cluster_ids: [items], the cluster of each item.
        clusters: N.
        embedder: that gave ``embeddings``.
        embeddings: [items, d].
        seed: of which items are held out, and of those that are compared with the labels.
        log: receives progress lines.
    """
    log(f"choosing {clusters} labels")
    held = held_out(cluster_ids, clusters, seed)
    read = np.flatnonzero(~held)
    keywords = cluster_keywords(items[read], cluster_ids[read], clusters)
    meaning = meaning_space(embedder, embeddings)
    spaces = [*([meaning] if meaning else []), word_space(items, read)]
    chosen = choose_labels([_pool(some) for some in keywords], cluster_ids, read, spaces, seed)
    labels = [ClusterLabel(label_of(some, cluster), bool(some)) for cluster, some in enumerate(chosen)]
    return labels, measure_labels([label.text for label in labels], cluster_ids, np.flatnonzero(held), spaces)


def _pool(keywords: list[Keyword]) -> Pool:
    typical = sum(keyword.typical for keyword in keywords)
    describing = sum(keyword.describes for keyword in keywords)
    fewest = min(USUAL_KEYWORDS, max(1, describing))
    return Pool([keyword.text for keyword in keywords], max(1, typical), fewest)
