"""The histories that are planned for: every combination of K clusters, or those that users hold."""

from itertools import combinations

import polars as pl

LONGEST_IN_ALL_COMBINATIONS = 2
"""Up to so many clusters each combination is planned: 761 clusters have 289,180 pairs, but 73 million triples."""


def all_histories(clusters: int, length: int) -> list[tuple[int, ...]]:
    """Every set of ``length`` of the ``clusters`` ids, each in rising order, in lexicographic order."""
    return list(combinations(range(clusters), length))


def unplanned_share(held: pl.DataFrame, planned: pl.DataFrame) -> float:
    """The share of the users with a history who hold one that is not planned.

    Args:
        held: ``history`` and ``users``, how many hold it; one row at least.
        planned: ``history``.
    """
    unplanned = held.join(planned.cast({"history": held.schema["history"]}), on="history", how="anti")
    return float(unplanned.select(pl.col("users").sum()).item() / held.select(pl.col("users").sum()).item())
