"""The data of trials: one normalisation differs from another in the scores alone."""

import polars as pl
import pytest
from support.alignment import LABELS, toy_examples

from models.alignment.pointwise_examples import prior_rates
from models.alignment.trial_data import trial_preparation


@pytest.fixture(scope="module")
def examples():
    rate = pl.col("raw_rate")
    return toy_examples().with_columns(
        prior_rate=rate.mean().over("cluster_id"), lower=(rate - 0.1).clip(0), upper=(rate + 0.1).clip(None, 1)
    )


@pytest.fixture(scope="module")
def prepare(examples):
    return trial_preparation(examples, len(LABELS), 0.01, pairs_per_history=5, seed=1)


def test_rates_are_rounded_and_nothing_else_of_an_example_changes(examples, prepare):
    found = prepare("rate", "pointwise")
    assert found.examples.drop("score").equals(examples.drop("score"))
    assert found.examples["score"].to_list() == pytest.approx(examples["raw_rate"].to_list(), abs=0.005 + 1e-9)
    assert found.multipliers is None
    assert found.pairs.is_empty()


def test_lifts_are_multiplied_by_the_prior_again(examples, prepare):
    found = prepare("lift", "pointwise")
    assert found.multipliers.tolist() == prior_rates(examples, len(LABELS)).tolist()
    lift = found.examples["raw_rate"] / found.examples["prior_rate"]
    assert found.examples["score"].to_list() == pytest.approx((lift.clip(0, 4) / 4).to_list(), abs=0.005 + 1e-9)


def test_a_pairwise_trial_has_pairs_ordered_by_its_own_scores(prepare):
    found = prepare("quantile", "pairwise")
    assert found.pairs.group_by("history").len()["len"].max() == 5
    scores = {(tuple(h), c): s for h, c, s in found.examples.select("history", "cluster_id", "score").iter_rows()}
    for history, better, worse in found.pairs.select("history", "better_id", "worse_id").iter_rows():
        assert scores[tuple(history), better] > scores[tuple(history), worse]
