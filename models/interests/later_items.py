"""Whether items that came after a taxonomy was made fit its clusters."""

from typing import NamedTuple

import polars as pl


class LaterItems(NamedTuple):
    """How close later items are to their clusters.

    Attributes:
        items: how many there are.
        similarity_share: their mean similarity (cosine to the centroid) over that of the items which the taxonomy was
            made of; 1 without any.
    """

    items: int
    similarity_share: float


def fit_of_later_items(assignments: pl.DataFrame) -> LaterItems:
    """Compare the later items of a taxonomy with its first ones.

    Args:
        assignments: ``similarity`` of each item, and ``part``: 0 for the items that the taxonomy was made of.
    """
    first = assignments.filter(pl.col("part") == 0)["similarity"]
    later = assignments.filter(pl.col("part") > 0)["similarity"]
    if later.is_empty():
        return LaterItems(0, 1.0)
    return LaterItems(len(later), float(later.mean()) / float(first.mean()))  # type: ignore[arg-type]
