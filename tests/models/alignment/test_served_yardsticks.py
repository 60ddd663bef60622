"""The yardsticks that may rank a table: by hand, as saved, and as judged."""

import numpy as np
import polars as pl
import pytest
from support.alignment import LABELS, QUICK, toy_examples

from models.alignment.examples import group_by_history, with_raw_rates
from models.alignment.served_yardsticks import (
    SCORE,
    fit_yardsticks,
    load_yardstick,
    save_yardsticks,
    with_yardstick_scores,
)
from models.alignment.training import train_alignment_model
from models.evaluation.metrics import evaluate_ranking
from models.evaluation.proven_ranking import YARDSTICKS
from models.feedback.affinity import AdditiveAffinity

ROWS = pl.DataFrame(
    [
        ([0, 1], 2, 10, 0.4, 1.0),
        ([0, 3], 2, 30, 0.8, 2.0),
        ([0, 1], 3, 60, 0.1, 3.0),
    ],
    schema=("history", "cluster_id", "impressions", "raw_rate", "weight"),
    orient="row",
).with_columns(score=pl.lit(0.5))
MEAN_RATE = (4 + 24 + 6) / 100
MEAN_SCORE = (1 * 0.4 + 2 * 0.8 + 3 * 0.1) / 6
"""Additive affinity weighs cells by their evidence, not by their impressions."""


def test_the_prior_pools_all_cells_of_a_cluster_and_a_cluster_never_served_has_the_rate_of_all():
    prior = fit_yardsticks(ROWS, 5)["prior"]
    (scores,) = prior.scores([[0, 4]], [[2, 3, 1]])
    assert scores == pytest.approx([28 / 40, 0.1, MEAN_RATE])
    once = ROWS[:1].with_columns(cluster_id=pl.lit(4), impressions=pl.lit(1), raw_rate=pl.lit(1.0))
    (scores,) = fit_yardsticks(pl.concat([ROWS, once.cast(ROWS.schema)]), 5)["prior"].scores([[0, 1]], [[4]])
    assert scores == pytest.approx([1.0])  # one impression is enough


def test_additive_affinity_learns_raw_rates_and_gives_the_mean_to_a_cluster_never_served():
    additive = fit_yardsticks(ROWS, 5)["additive"]
    expected = AdditiveAffinity.fit(with_raw_rates(ROWS), 5)
    np.testing.assert_array_equal(additive.affinity, expected.affinity)
    assert additive.scores([[0, 3]], [[1, 4]])[0] == pytest.approx([MEAN_SCORE] * 2)


def test_candidates_are_scored_row_by_row_as_they_are_judged_by_history():
    rng = np.random.default_rng(0)
    yardstick = AdditiveAffinity(rng.normal(size=6), rng.normal(size=(6, 6)))
    candidates = pl.DataFrame(
        {"history": [[0, 1], [2, 4], [0, 1], [2, 4]], "cluster_id": [3, 5, 2, 0]},
        schema={"history": pl.List(pl.Int32), "cluster_id": pl.Int32},
    )
    scored = with_yardstick_scores(candidates, yardstick)
    assert scored.drop(SCORE).equals(candidates)
    first, second = yardstick.scores([[0, 1], [2, 4]], [[3, 2], [5, 0]])
    assert scored[SCORE].to_list() == [first[0], second[0], first[1], second[1]]


def test_what_was_saved_is_read_again(tmp_path):
    fitted = fit_yardsticks(ROWS, 5)
    save_yardsticks(fitted, tmp_path)
    assert set(fitted) == set(YARDSTICKS)
    for name in YARDSTICKS:
        read = load_yardstick(tmp_path, name)
        np.testing.assert_array_equal(read.bias, fitted[name].bias)
        np.testing.assert_array_equal(read.affinity, fitted[name].affinity)


def test_what_is_saved_beside_a_model_is_what_its_contest_judged(tiny_model_folder, tmp_path):
    examples, folder = toy_examples(), tmp_path / "model"
    facts = train_alignment_model(tiny_model_folder, folder, LABELS, examples, QUICK, k=2).facts()
    figures = facts["figures"]
    test = group_by_history(examples, len(LABELS))["test"]
    for name in YARDSTICKS:
        scores = load_yardstick(folder, name).scores([row.history for row in test], [row.clusters for row in test])
        judged = evaluate_ranking(scores, [row.rates for row in test], 2)
        assert judged.ndcg_at_k == figures[f"ndcg_at_k_{name}"]
        low, high = facts["leads_over_random"][name]["ndcg_at_k"]
        assert low <= judged.ndcg_at_k - figures["ndcg_at_k_random"] <= high
