import dataclasses
import itertools
import math
import time

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from support.options import NOVELTY
from support.transitions import LABELS, transitions

from models.language.language_model import load_causal_model, load_tokenizer
from models.novelty.batches import TargetGroup
from models.novelty.label_distribution import label_distributions, label_log_probabilities
from models.novelty.training import EVALUATION_GROUPS, NoveltyTraining, train_novelty_model
from models.progress import silent

OPTIONS = dataclasses.replace(
    NOVELTY, tune="full", learning_rate=0.01, batch_size=12, epochs=30, evaluate_every=60, seed=3
)


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
    assert report.curve[0].validation_loss > report.curve[-1].validation_loss
    assert report.curve[-1].training_loss < 1


def test_figures_are_those_of_the_saved_checkpoint(trained):
    folder, report = trained
    holdout = transitions().filter(pl.col("split") == "holdout")
    histories, targets = holdout["history"].to_list(), holdout["cluster_id"].to_list()
    result = label_distributions(folder, LABELS, histories, [1.0])
    assert report.figures["format_validity_tuned"] == pytest.approx(result.format_validity.mean(), abs=1e-5)
    own = label_log_probabilities(load_causal_model(folder), load_tokenizer(folder), LABELS, histories, [1.0])
    losses = [-own[0, row, target] for row, target in enumerate(targets)]
    assert report.figures["holdout_loss_tuned"] == pytest.approx(np.mean(losses), abs=1e-4)
    assert report.curve[-1].validation_loss == pytest.approx(np.mean(losses), abs=1e-4)  # of the same transitions here


def test_figures_count_what_was_done(trained):
    _, report = trained
    assert report.figures["training_examples"] == 45
    assert report.figures["holdout_examples"] == 15
    assert report.figures["steps"] == 30 * 4
    assert [point.step for point in report.curve] == [60, 120]
    assert 0 < report.figures["seconds"] < 600
    assert report.figures["trained_parameters"] == load_causal_model(trained[0]).num_parameters()


def test_steps_transitions_and_seconds_are_counted_from_0(tiny_model_folder):
    model = NoveltyTraining(tiny_model_folder, LABELS, OPTIONS)
    assert (model.steps, model.transitions, model.seconds) == (0, 0, 0.0)
    batch, started = [TargetGroup((0, 1), (2, 4), (3, 1))], time.monotonic()
    for rounds in (1, 2):
        model._fit_round([batch, batch], batch, silent)
        assert (model.steps, model.transitions) == (2 * rounds, 8 * rounds)
        assert 0 < model.seconds < time.monotonic() - started


def test_examples_per_second_are_of_the_steps_alone(tiny_model_folder, tmp_path, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr("models.novelty.training.time.monotonic", lambda: float(next(clock)))
    options = dataclasses.replace(OPTIONS, epochs=2)
    report = train_novelty_model(tiny_model_folder, tmp_path / "model", LABELS, transitions(), options)
    assert report.figures["examples_per_second"] == 2 * 45 / 8  # each of 8 steps takes a second by this clock


def test_where_no_loss_is_a_number_the_last_weights_are_saved(tiny_model_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(NoveltyTraining, "mean_loss", lambda self, groups: math.nan)
    options = dataclasses.replace(OPTIONS, epochs=2)
    figures = train_novelty_model(tiny_model_folder, tmp_path / "model", LABELS, transitions(), options).figures
    assert figures["steps"] == figures["steps_taken"] == 8


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path, tiny_model_folder, tune):
    def run(name, seed):
        options = dataclasses.replace(OPTIONS, tune=tune, epochs=1, seed=seed)
        train_novelty_model(tiny_model_folder, tmp_path / name, LABELS, transitions(), options)
        return load_file(tmp_path / name / "model.safetensors")

    first, again, other = run("first", 1), run("again", 1), run("other", 2)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_the_loss_counts_a_transition_as_often_as_it_occurs(tiny_model_folder):
    model = NoveltyTraining(tiny_model_folder, LABELS, OPTIONS)
    one, two = (model.loss([TargetGroup((0, 1), (target,), (1,))]).item() for target in (2, 4))
    assert one != pytest.approx(two, rel=0.01)
    assert model.loss([TargetGroup((0, 1), (2, 4), (3, 1))]).item() == pytest.approx((3 * one + two) / 4, rel=1e-4)
    parts = [TargetGroup((0, 1), (2,), (5,))] * EVALUATION_GROUPS + [TargetGroup((0, 1), (4,), (7,))]
    transitions_in_all = 5 * EVALUATION_GROUPS + 7
    expected = (5 * EVALUATION_GROUPS * one + 7 * two) / transitions_in_all
    assert model.mean_loss(parts) == pytest.approx(expected, rel=1e-4)


def test_a_failed_training_leaves_the_older_checkpoint_as_it_was(tmp_path, tiny_model_folder):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "kept.txt").write_text("older")
    with pytest.raises(ValueError, match="choose full"):
        options = dataclasses.replace(OPTIONS, tune="some")
        train_novelty_model(tiny_model_folder, tmp_path / "model", LABELS, transitions(), options)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["kept.txt"]
