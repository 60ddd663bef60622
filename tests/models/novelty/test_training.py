import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from models.language.language_model import load_causal_model, load_tokenizer
from models.novelty.label_distribution import label_log_probabilities
from models.novelty.training import (
    MAX_TARGETS_PER_PROMPT,
    NoveltyOptions,
    count_transitions,
    group_targets,
    label_distributions,
    memorisation,
    split_examples,
    target_ranks,
    train_novelty_model,
    training_batches,
)

LABELS = ["wildlife, nature", "cooking, recipes", "jazz, piano", "space, planets", "chess", "garden"]
OPTIONS = NoveltyOptions(tune="full", learning_rate=0.01, batch_size=12, epochs=30, evaluate_every=60, seed=3)


def transitions(target_of=lambda history: (sum(history) + 1) % 6):
    """Every pair of clusters, three users each in training, one held out; the target follows from the pair."""
    rows = []
    for first in range(6):
        for second in range(first + 1, 6):
            target = target_of((first, second))
            target = next(c % 6 for c in range(target, target + 6) if c % 6 not in (first, second))
            rows += [([first, second], target, split) for split in ("train", "train", "train", "holdout")]
    schema = {"history": pl.List(pl.Int64), "cluster_id": pl.Int64, "split": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_model_folder):
    folder = tmp_path_factory.mktemp("novelty") / "model"
    return folder, train_novelty_model(tiny_model_folder, folder, LABELS, transitions(), OPTIONS)


def test_training_lowers_the_loss_and_raises_format_validity(trained):
    _, report = trained
    figures = report.figures
    assert figures["holdout_loss_untuned"] > 10
    assert figures["holdout_loss_tuned"] < 1
    assert figures["format_validity_untuned"] < 0.01
    assert figures["format_validity_tuned"] > 0.9
    assert report.curve[0].holdout_loss > report.curve[-1].holdout_loss
    assert report.curve[-1].training_loss < 1


def test_figures_are_those_of_the_saved_checkpoint(trained):
    folder, report = trained
    holdout = transitions().filter(pl.col("split") == "holdout")
    histories, targets = holdout["history"].to_list(), holdout["cluster_id"].to_list()
    result = label_distributions(folder, LABELS, histories, [1.0])
    assert report.figures["format_validity_tuned"] == pytest.approx(result.format_validity.mean(), abs=1e-5)
    top = [set(np.argsort(-row)[:3]) for row in result.probabilities[0]]
    hits = [target in best for target, best in zip(targets, top, strict=True)]
    assert report.figures["recall_at_3"] == pytest.approx(np.mean(hits))
    own = label_log_probabilities(load_causal_model(folder), load_tokenizer(folder), LABELS, histories, [1.0])
    losses = [-own[0, row, target] for row, target in enumerate(targets)]
    assert report.figures["holdout_loss_tuned"] == pytest.approx(np.mean(losses), abs=1e-4)
    assert report.curve[-1].holdout_loss == pytest.approx(np.mean(losses), abs=1e-4)


def test_figures_count_what_was_done(trained):
    _, report = trained
    assert report.figures["training_examples"] == 45
    assert report.figures["holdout_examples"] == 15
    assert report.figures["steps"] == 30 * 4
    assert [point.step for point in report.curve] == [60, 120]
    assert report.figures["trained_parameters"] == load_causal_model(trained[0]).num_parameters()
    assert report.figures["recall_at_1"] <= report.figures["recall_at_5"] <= report.figures["recall_at_10"] == 1.0


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path, tiny_model_folder, tune):
    def run(name, seed):
        options = dataclasses.replace(OPTIONS, tune=tune, epochs=1, seed=seed)
        train_novelty_model(tiny_model_folder, tmp_path / name, LABELS, transitions(), options)
        return load_file(tmp_path / name / "model.safetensors")

    first, again, other = run("first", 1), run("again", 1), run("other", 2)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_a_failed_training_leaves_the_older_checkpoint_as_it_was(tmp_path, tiny_model_folder):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "kept.txt").write_text("older")
    with pytest.raises(ValueError, match="choose full"):
        options = dataclasses.replace(OPTIONS, tune="some")
        train_novelty_model(tiny_model_folder, tmp_path / "model", LABELS, transitions(), options)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["kept.txt"]


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
        return split_examples(transitions(), 6, options)[1]["history"].to_list()

    assert len(sample(1)) == 4
    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_batches_of_one_epoch_hold_every_transition_once_and_shuffle_the_prompts():
    training = transitions().filter(pl.col("split") == "train")
    batches = training_batches(training, dataclasses.replace(OPTIONS, epochs=1))
    seen = [
        (tuple(sorted(group.history)), target)
        for batch in batches
        for group in batch
        for target, count in zip(group.targets, group.counts, strict=True)
        for _ in range(count)
    ]
    assert sorted(seen) == sorted((tuple(history), target) for history, target in training.drop("split").rows())
    # One batch at most is short: that of the one window that these few histories fill in part.
    assert sum(count_transitions(batch) < OPTIONS.batch_size for batch in batches) <= 1
    orders = {group.history == tuple(sorted(group.history)) for batch in batches for group in batch}
    assert orders == {True, False}


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


def test_memorisation_by_hand():
    trained = [((0, 1), 2), ((0, 1), 3), ((4, 5), 0)]
    # (0, 1) repeats 2 and 3 in three of four draws; (4, 5) never; (1, 2) is no training history and does not count.
    share = memorisation([[1, 0], [4, 5], [1, 2]], [[2, 3, 2, 5], [1, 2, 3, 1], [2, 3, 0, 0]], trained)
    assert share == pytest.approx(3 / 8)


def test_memorisation_without_a_training_history_is_no_number():
    assert memorisation([[1, 2]], [[0]], [((0, 1), 2)]) is None


def test_target_ranks_by_hand():
    probabilities = np.array([[0.1, 0.4, 0.4, 0.1], [0.1, 0.4, 0.4, 0.1], [0.7, 0.1, 0.1, 0.1]])
    assert target_ranks(probabilities, np.array([1, 2, 3])).tolist() == [0, 1, 3]
