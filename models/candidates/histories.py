"""The histories that are planned for: every combination of K clusters, or some of them, evenly spread."""

from collections.abc import Sequence
from itertools import combinations


def all_histories(clusters: int, length: int) -> list[tuple[int, ...]]:
    """Every set of ``length`` of the ``clusters`` ids, each in rising order, in lexicographic order."""
    return list(combinations(range(clusters), length))


def evenly_spread(histories: Sequence[tuple[int, ...]], most: int) -> Sequence[tuple[int, ...]]:
    """Every n-th of the histories from the first on, n being the least number that leaves at most ``most`` of them."""
    return histories[:: max(1, -(-len(histories) // most))]
