"""A novelty training takes as many passes as the validation loss asks for, within bounds; the best weights stay."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from support.options import NOVELTY
from support.transitions import LABELS, transitions

from models.language.language_model import load_causal_model, load_tokenizer
from models.novelty.label_distribution import label_distributions, label_log_probabilities
from models.novelty.training import further_passes, train_novelty_model
from models.progress import silent

FEW = dataclasses.replace(NOVELTY, tune="full", learning_rate=0.01, batch_size=12, epochs=2, evaluate_every=60, seed=3)
FLOOR = 8  # two passes of 45 examples
UNLIKE = pl.when(pl.col("split") == "validation").then((pl.col("cluster_id") + 1) % 6).otherwise("cluster_id")


def unlike_training():
    """Users who validate meet other clusters than those who teach: what is learned soon makes their loss worse."""
    rows = transitions().with_columns(UNLIKE.alias("cluster_id"))
    return rows.filter(~pl.col("history").list.contains(pl.col("cluster_id")))


def train(folder, base, most_steps, examples=None, log=silent, **changed):
    options = dataclasses.replace(FEW, most_steps=most_steps, **changed)
    return train_novelty_model(base, folder, LABELS, transitions() if examples is None else examples, options, log=log)


def test_few_examples_get_the_passes_that_they_need_to_learn_the_format(tmp_path, tiny_model_folder):
    floor = train(tmp_path / "floor", tiny_model_folder, 1).figures
    lines = []
    asked = train(tmp_path / "asked", tiny_model_folder, 128, log=lines.append).figures
    assert [line.rpartition(": ")[2] for line in lines if "more passes" in line][:2] == [
        "2 more passes",
        "4 more passes",
    ]
    assert floor["steps_taken"] == floor["steps"] == FLOOR
    assert floor["format_validity_tuned"] < 0.3
    assert asked["steps_taken"] <= 128
    assert asked["format_validity_tuned"] > 0.9
    assert asked["holdout_loss_tuned"] < floor["holdout_loss_tuned"] / 3


def test_training_ends_when_the_validation_loss_falls_no_more_and_the_best_weights_stay(tmp_path, tiny_model_folder):
    report = train(tmp_path / "model", tiny_model_folder, 2000, unlike_training(), evaluate_every=4)
    figures, losses = report.figures, {point.step: point.validation_loss for point in report.curve}
    assert figures["steps"] < figures["steps_taken"] == max(losses) < 2000
    assert figures["steps"] == min(losses, key=losses.get)
    histories = unlike_training().filter(pl.col("split") == "holdout")["history"].to_list()
    saved = label_distributions(tmp_path / "model", LABELS, sorted({tuple(h) for h in histories}), [1.0])
    assert figures["format_validity_tuned"] == pytest.approx(saved.format_validity.mean(), abs=1e-5)
    validating = unlike_training().filter(pl.col("split") == "validation")
    own = label_log_probabilities(
        load_causal_model(tmp_path / "model"),
        load_tokenizer(tmp_path / "model"),
        LABELS,
        validating["history"].to_list(),
        [1.0],
    )[0]
    loss = -own[np.arange(validating.height), validating["cluster_id"].to_numpy()].mean()
    assert loss == pytest.approx(min(losses.values()), rel=0.01)
    assert losses[figures["steps_taken"]] > 1.05 * loss


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_a_longer_training_is_the_same_for_the_same_seed(tmp_path, tiny_model_folder, tune):
    for name in ("first", "again"):
        train(tmp_path / name, tiny_model_folder, 24, tune=tune)
    first, again = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "again"))
    assert all(np.array_equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize(
    ("taken", "steps_of_pass", "most", "further"),
    [
        (2, 4, 1, 0),  # the least passes are more than the most steps
        (2, 4, 8, 0),
        (2, 4, 11, 0),  # a part of a pass is none
        (2, 4, 12, 1),
        (2, 4, 110, 2),  # as many again
        (4, 4, 110, 4),
        (16, 4, 110, 11),  # as many as there is room for
        (2, 52, 110, 0),  # 3,400 examples have their steps in two passes
        (1, 1, 2, 1),
    ],
)
def test_each_time_as_many_passes_follow_as_came_before_within_the_most_steps(taken, steps_of_pass, most, further):
    assert further_passes(taken, steps_of_pass, most) == further
