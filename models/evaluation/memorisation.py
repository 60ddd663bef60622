"""Memorisation: how often a novelty model repeats what it was trained on."""

from collections.abc import Iterable, Sequence


def memorisation(
    histories: Sequence[Sequence[int]], draws: Sequence[Sequence[int]], trained: Iterable[tuple[Sequence[int], int]]
) -> float | None:
    """Over histories that occur in training, the share of draws that repeat one of their training pairs (S, C).

    Args:
        histories: [H] sets of cluster ids.
        draws: [H] clusters drawn for each history, duplicates kept.
        trained: the pairs (history, next cluster) of the training examples.

    Returns:
        A share in [0, 1]; None where no history occurs in training, since there is nothing to repeat.
    """
    pairs = {(frozenset(history), cluster) for history, cluster in trained}
    known = {history for history, _ in pairs}
    repeats = [
        (frozenset(history), cluster) in pairs
        for history, drawn in zip(histories, draws, strict=True)
        if frozenset(history) in known
        for cluster in drawn
    ]
    return sum(repeats) / len(repeats) if repeats else None
