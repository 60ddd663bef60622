"""The batches of a novelty training: transitions split, grouped by history and cut into optimiser steps."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from models.language.prompts import History, check_histories
from models.novelty.options import NoveltyOptions

MAX_TARGETS_PER_PROMPT = 24  # so that one popular history does not fill a batch alone


SORTED_WINDOW = 64  # histories


@dataclass(frozen=True)
class TargetGroup:
    """A history, as its prompt shows it, with some of its targets and how often each occurs: one packed sequence."""

    history: tuple[int, ...]
    targets: tuple[int, ...]
    counts: tuple[int, ...]


def split_examples(
    examples: pl.DataFrame, clusters: int, options: NoveltyOptions
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Training transitions, and the samples of validation and of held-out ones that a language model can read.

    The samples have at most ``holdout_histories`` histories. Where nobody validates, the training transitions do: with
    two users one teaches, and the other is held out.

    Raises:
        ValueError: nobody teaches or is held out, a history is malformed, or a target is unknown or in its history.
    """
    check_examples(examples, clusters)
    training, validation, holdout = (
        examples.filter(pl.col("split") == split) for split in ("train", "validation", "holdout")
    )
    return training, _sample(validation if len(validation) else training, options), _sample(holdout, options)


def check_examples(examples: pl.DataFrame, clusters: int) -> None:
    """Check that there is something to learn from and to measure on, and that every transition is one.

    Raises:
        ValueError: nobody teaches or is held out, a history is malformed, or a target is unknown or in its history.
    """
    check_histories(examples["history"].to_list(), clusters)
    for history, target in examples.select("history", "cluster_id").iter_rows():
        if target in history or not 0 <= target < clusters:
            raise ValueError(
                f"the transition {history} to {target} must lead to one of the other clusters below {clusters}"
            )
    training, holdout = ((examples["split"] == split).sum() for split in ("train", "holdout"))
    if not training or not holdout:
        raise ValueError(f"{training} training and {holdout} held-out transitions: training needs some of each")


def _sample(rows: pl.DataFrame, options: NoveltyOptions) -> pl.DataFrame:
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=options.seed)
    kept = shuffled["history"].list.sort().unique(maintain_order=True).head(options.holdout_histories)
    return shuffled.filter(pl.col("history").list.sort().is_in(kept.implode()))


def passes_over(training: pl.DataFrame, options: NoveltyOptions) -> Iterator[list[list[TargetGroup]]]:
    """The batches of each pass, without end: transitions in a seeded order, those of one history packed together.

    Within windows of the shuffled histories those with as many targets share a batch: rows are padded to the longest,
    and in batches at random half of all tokens were padding.
    """
    generator = np.random.default_rng(options.seed)
    rows = training.select("history", "cluster_id").rows()
    while True:
        groups = group_targets([rows[index] for index in generator.permutation(len(rows))])
        shuffled = [groups[index] for index in generator.permutation(len(groups))]
        epoch: list[list[TargetGroup]] = []
        for start in range(0, len(shuffled), SORTED_WINDOW):
            window = sorted(shuffled[start : start + SORTED_WINDOW], key=lambda group: len(group.targets))
            epoch += _cut_batches(window, options.batch_size, generator)
        yield [epoch[index] for index in generator.permutation(len(epoch))]


def _cut_batches(
    groups: Sequence[TargetGroup], batch_size: int, generator: np.random.Generator
) -> list[list[TargetGroup]]:
    """Batches of at least ``batch_size`` transitions but the last, each history in an order of its own."""
    batches: list[list[TargetGroup]] = []
    batch: list[TargetGroup] = []
    for group in groups:
        shown = tuple(int(cluster) for cluster in generator.permutation(group.history))
        batch.append(TargetGroup(shown, group.targets, group.counts))
        if count_transitions(batch) >= batch_size:
            batches.append(batch)
            batch = []
    return [*batches, batch] if batch else batches


def group_targets(transitions: Iterable[tuple[History, int]]) -> list[TargetGroup]:
    """Gather the targets of each history, at most ``MAX_TARGETS_PER_PROMPT`` distinct ones in a group."""
    targets: dict[tuple[int, ...], Counter[int]] = {}
    for history, target in transitions:
        targets.setdefault(tuple(sorted(history)), Counter())[target] += 1
    groups = []
    for history, counter in targets.items():
        counted = list(counter.items())
        for start in range(0, len(counted), MAX_TARGETS_PER_PROMPT):
            clusters, counts = zip(*counted[start : start + MAX_TARGETS_PER_PROMPT], strict=True)
            groups.append(TargetGroup(history, clusters, counts))
    return groups


def count_transitions(groups: Sequence[TargetGroup]) -> int:
    """The number of transitions in the groups, repeats counted."""
    return sum(sum(group.counts) for group in groups)
