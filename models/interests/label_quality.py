"""How well labels tell clusters apart, on items that were not read when the labels were chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.arrays import BoolArray, Float32Array, IntArray
from models.interests.label_spaces import LabelSpace, product

HELD_OUT_SHARE = 0.2
ITEMS_MEASURED = 20_000  # of the held-out items: the share is then known to half a point
BATCH = 4_096
DECIMALS = 5  # similarities that differ less are equal: rounding of float32


@dataclass(frozen=True)
class Apartness:
    """How labels fare in one space.

    Attributes:
        nearest_share: of held-out items, those whose own label is nearest; equal ones share the credit. None where no
            item is held out.
        near_pairs: pairs of labels with at least the similarity ``LabelSpace.near``.
    """

    nearest_share: float | None
    near_pairs: int


@dataclass(frozen=True)
class LabelQuality:
    """How well labels tell clusters apart.

    Attributes:
        held_out_items: on which it was measured.
        chance: the share that labels without any relation to their clusters would reach, 1 / N.
        pairs: of labels, N (N - 1) / 2.
        spaces: what was found in each space, ``meaning`` (where labels have one) and ``words``.
    """

    held_out_items: int
    chance: float
    pairs: int
    spaces: dict[str, Apartness]

    @property
    def figures(self) -> dict[str, float]:
        """The same as numbers with names; what is not known is left out."""
        found: dict[str, float] = {"labels_held_out_items": self.held_out_items, "labels_pairs": self.pairs}
        for name, space in self.spaces.items():
            found[f"labels_near_pairs_by_{name}"] = space.near_pairs
            if space.nearest_share is not None:
                found[f"labels_nearest_share_by_{name}"] = space.nearest_share
        return found | {"labels_nearest_share_by_chance": self.chance}


def in_words(figures: dict[str, float]) -> str:
    """One line on figures of labels; empty where they were never measured, as in taxonomies of before 2026-12."""
    if "labels_pairs" not in figures:
        return ""
    names = [name for name in ("meaning", "words") if f"labels_near_pairs_by_{name}" in figures]
    near = " and ".join(f"{figures[f'labels_near_pairs_by_{name}']:,.0f} by {name}" for name in names)
    pairs = f"near each other are {near} of {figures['labels_pairs']:,.0f} pairs of labels"
    if not figures["labels_held_out_items"]:
        return f"no cluster is large enough to hold out items, so labels were not measured on items; {pairs}"
    shares = " and ".join(f"{figures[f'labels_nearest_share_by_{name}']:.0%} by {name}" for name in names)
    return (
        f"of {figures['labels_held_out_items']:,.0f} held-out items, the label of their own cluster is the nearest for "
        f"{shares} (by chance {figures['labels_nearest_share_by_chance']:.0%}); {pairs}"
    )


def held_out(cluster_ids: IntArray, clusters: int, seed: int) -> BoolArray:
    """A share of the items of each cluster, drawn by a seed and rounded down: [items], true where held out."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(cluster_ids))
    order = order[np.argsort(cluster_ids[order], kind="stable")]
    sizes = np.bincount(cluster_ids, minlength=clusters)
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = np.zeros(len(cluster_ids), dtype=np.bool_)
    chosen[order] = place < np.floor(HELD_OUT_SHARE * sizes)[cluster_ids[order]]
    return chosen


def measure_labels(
    labels: Sequence[str], cluster_ids: IntArray, rows: IntArray, spaces: Sequence[LabelSpace]
) -> LabelQuality:
    """Measure labels on the items ``rows``, which must be none of those that the labels were chosen by."""
    rows = rows[:: max(1, -(-len(rows) // ITEMS_MEASURED))]
    count = len(labels)
    found = {space.name: _apartness(labels, cluster_ids, rows, space) for space in spaces}
    return LabelQuality(len(rows), 1 / count, count * (count - 1) // 2, found)


def nearest_credit(similarity: Float32Array, own: IntArray) -> float:
    """Sum over items of the credit for their own label: 1 where it alone is nearest, 1/m where m labels are.

    Args:
        similarity: [items, N].
        own: [items], the cluster of each.
    """
    rounded = np.round(similarity, DECIMALS)
    nearest = rounded == rounded.max(axis=1, keepdims=True)
    return float((nearest[np.arange(len(own)), own] / nearest.sum(axis=1)).sum())


def near_pairs(similarity: Float32Array, limit: float) -> int:
    """Pairs of different labels with at least the similarity ``limit``: [N, N]."""
    return int((np.round(similarity, DECIMALS)[np.triu_indices(len(similarity), 1)] >= limit).sum())


def _apartness(labels: Sequence[str], cluster_ids: IntArray, rows: IntArray, space: LabelSpace) -> Apartness:
    vectors = space.vectors_of(labels)
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    credit = sum(nearest_credit(space.similarity(batch, vectors), cluster_ids[batch]) for batch in batches)
    return Apartness(credit / len(rows) if len(rows) else None, near_pairs(product(vectors, vectors), space.near))
