"""Batches of a novelty training: every transition once, seeded, and unusable ones named."""

import dataclasses

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.options import NOVELTY
from support.transitions import transitions

from models.novelty.batches import (
    MAX_TARGETS_PER_PROMPT,
    SORTED_WINDOW,
    count_transitions,
    group_targets,
    passes_over,
    split_examples,
)

OPTIONS = dataclasses.replace(
    NOVELTY, tune="full", learning_rate=0.01, batch_size=12, epochs=30, evaluate_every=60, seed=3
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.col("split").str.replace("holdout", "train"), "60 training and 0 held-out transitions"),
        (pl.col("split").str.replace("train", "holdout"), "0 training and 60 held-out transitions"),
        (pl.lit(6).alias("cluster_id"), "must lead to one of the other clusters below 6"),
        (pl.col("history").list.first().alias("cluster_id"), "must lead to one of the other clusters below 6"),
        (pl.col("history").list.first().repeat_by(2).alias("history"), "names a cluster twice"),
    ],
)
def test_unusable_examples_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        split_examples(transitions().with_columns(change), 6, OPTIONS)


def test_the_held_out_sample_is_bounded_and_seeded():
    def sample(seed):
        options = dataclasses.replace(OPTIONS, holdout_histories=4, seed=seed)
        return split_examples(transitions(), 6, options)[2]["history"].to_list()

    assert len(sample(1)) == 4
    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_batches_of_one_epoch_hold_every_transition_once_and_shuffle_the_prompts():
    training = transitions().filter(pl.col("split") == "train")
    batches = next(passes_over(training, OPTIONS))
    seen = [
        (tuple(sorted(group.history)), target)
        for batch in batches
        for group in batch
        for target, count in zip(group.targets, group.counts, strict=True)
        for _ in range(count)
    ]
    taught = training.select("history", "cluster_id").rows()
    assert sorted(seen) == sorted((tuple(history), target) for history, target in taught)
    # One batch at most is short: that of the one window that these few histories fill in part.
    assert sum(count_transitions(batch) < OPTIONS.batch_size for batch in batches) <= 1
    orders = {group.history == tuple(sorted(group.history)) for batch in batches for group in batch}
    assert orders == {True, False}


def test_every_window_of_histories_is_in_an_epoch():
    rows = [([a, b], 20 + (a + b) % 3) for a in range(15) for b in range(a)]
    assert len(rows) > SORTED_WINDOW
    training = pl.DataFrame(rows, schema=["history", "cluster_id"], orient="row")
    for batch_size in (1, 12, len(rows)):  # with the first, and the last, no batch is short
        batches = next(passes_over(training, dataclasses.replace(OPTIONS, batch_size=batch_size)))
        seen = sorted(tuple(sorted(group.history)) for batch in batches for group in batch)
        assert seen == sorted(tuple(sorted(history)) for history, _ in rows)
        assert all(batches)


pairs = st.permutations([1, 2, 3]).map(lambda clusters: clusters[:2])


@given(st.lists(st.tuples(pairs, st.integers(4, 30)), min_size=1, max_size=60))
def test_groups_keep_every_transition(rows):
    groups = group_targets(rows)
    expected = sorted((tuple(sorted(history)), target) for history, target in rows)
    gathered = [
        (group.history, target)
        for group in groups
        for target, count in zip(group.targets, group.counts, strict=True)
        for _ in range(count)
    ]
    assert sorted(gathered) == expected
    assert count_transitions(groups) == len(rows)
    assert all(
        len(group.targets) <= MAX_TARGETS_PER_PROMPT and len(set(group.targets)) == len(group.targets)
        for group in groups
    )
