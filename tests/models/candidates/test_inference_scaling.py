"""The curves of best-of-n against pools that are really drawn, and by hand."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from support.alignment import LABELS, QUICK, score_candidates, toy_examples

from models.alignment.training import train_alignment_model
from models.candidates.best_of_n import draw_pools, select_best
from models.candidates.histories import all_histories
from models.candidates.inference_scaling import (
    MULTIPLES,
    TEMPERATURES,
    ScalingInputs,
    draw_scaling,
    scaling_figures,
    scaling_inputs,
    scaling_points,
    truth_figures,
)
from models.novelty.label_distribution import label_distributions

K, N = 2, 7

PAIRS = all_histories(len(LABELS), 2)


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    own = np.zeros((6, N), dtype=bool)
    own[:, 0] = True
    novelty = np.where(own, 0.0, rng.gamma(0.6, 1.0, (6, N)))
    novelty /= novelty.sum(axis=1, keepdims=True)
    hot = novelty**0.5
    distributions = {1.0: novelty, 2.0: hot / hot.sum(axis=1, keepdims=True)}
    return ScalingInputs(distributions, rng.random((6, N)), novelty, own, rng.random((6, N)))


def point(points, temperature, multiple, entropy="all"):
    found = [
        row
        for row in points
        if (row["temperature"], row["draws_per_cluster"], row["entropy"]) == (temperature, multiple, entropy)
    ]
    assert len(found) == 1
    return found[0]


def test_means_equal_those_of_drawn_pools(inputs):
    """Where n draws show k clusters nearly always: there the distribution and the stream that goes on agree."""
    points = scaling_points(inputs, K)
    repeats = 400
    histories = [[N + row, N + 10 + repeat] for row in range(6) for repeat in range(repeats)]
    distribution = np.repeat(inputs.distributions[2.0], repeats, axis=0)
    pools = draw_pools(distribution, histories, 10 * K, K, seed=1)
    row = pl.Series([history[0] - N for history in pools["history"].to_list()])
    clusters = pools["cluster_id"].to_numpy()
    chosen = select_best(pools.with_columns(alignment_score=inputs.scores[row.to_numpy(), clusters]), K)
    rows = np.array([history[0] - N for history in chosen["history"].to_list()])
    drawn = chosen["cluster_id"].to_numpy()
    expected = point(points, 2.0, 10)
    assert inputs.scores[rows, drawn].mean() == pytest.approx(expected["alignment"], abs=0.01)
    assert inputs.true_rates[rows, drawn].mean() == pytest.approx(expected["true_rate"], abs=0.015)
    assert inputs.novelty[rows, drawn].mean() == pytest.approx(expected["novelty"], abs=0.01)
    assert pools.height / len(histories) == pytest.approx(expected["coverage"], abs=0.03)


def test_alignment_alone_by_hand(inputs):
    alone = point(scaling_points(inputs, K), None, None)
    best = np.sort(inputs.scores[:, 1:], axis=1)[:, -K:]
    assert alone["alignment"] == pytest.approx(best.mean())
    assert alone["top_score"] == pytest.approx(best[:, -1].mean())
    assert alone["coverage"] is None


def test_more_draws_give_higher_scores_and_more_coverage_and_less_novelty(inputs):
    points = scaling_points(inputs, K)
    for temperature in (1.0, 2.0):
        curve = [point(points, temperature, multiple) for multiple in MULTIPLES]
        for name in ("top_score", "coverage"):
            assert (np.diff([each[name] for each in curve]) > 0).all()
    alone = point(points, None, None)
    assert point(points, 2.0, 20)["top_score"] <= alone["top_score"] + 1e-12


def test_terciles_hold_all_histories_once(inputs):
    points = scaling_points(inputs, K)
    parts = [point(points, 1.0, 5, name) for name in ("low", "middle", "high")]
    assert [part["histories"] for part in parts] == [2, 2, 2]
    mean = np.mean([part["alignment"] for part in parts])
    assert mean == pytest.approx(point(points, 1.0, 5)["alignment"])


def test_the_picture_is_drawn_with_and_without_the_truth(inputs, tmp_path):
    points = scaling_points(inputs, K)
    draw_scaling(points, K, tmp_path / "known.png")
    draw_scaling([{**each, "true_rate": None} for each in points], K, tmp_path / "unknown.png")
    assert (tmp_path / "known.png").stat().st_size > (tmp_path / "unknown.png").stat().st_size > 10_000


@pytest.fixture(scope="module")
def alignment(tiny_model_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alignment") / "model"
    train_alignment_model(tiny_model_folder, folder, LABELS, toy_examples(), replace(QUICK, epochs=0.25), k=2)
    return folder


def test_inputs_are_what_both_models_say_of_all_labels(tiny_model_folder, alignment):
    found = scaling_inputs(tiny_model_folder, alignment, LABELS, PAIRS, 1.2, None)
    assert list(found.distributions) == sorted({*TEMPERATURES, 1.2})
    expected = label_distributions(tiny_model_folder, LABELS, PAIRS, [1.2, 1.0]).probabilities
    np.testing.assert_allclose(found.distributions[1.2], expected[0])
    np.testing.assert_allclose(found.novelty, expected[1])
    assert [tuple(np.flatnonzero(row)) for row in found.own] == PAIRS
    assert (found.scores[found.own] == 0).all()
    (scores,) = score_candidates(alignment, LABELS, [PAIRS[3]], [np.flatnonzero(~found.own[3]).tolist()])
    np.testing.assert_allclose(found.scores[3][~found.own[3]], scores, rtol=1e-5)
    assert found.true_rates is None


def test_where_true_rates_are_known_the_histories_are_those_that_somebody_holds(tiny_model_folder, alignment):
    held = [(1, 4), (0, 3)]
    truth = pl.DataFrame(
        [(list(history), cluster, history[0] + cluster / 100) for history in held for cluster in range(len(LABELS))],
        schema={"history": pl.List(pl.Int32), "cluster_id": pl.Int32, "positive_rate": pl.Float64},
        orient="row",
    ).sample(fraction=1.0, shuffle=True, seed=3)
    found = scaling_inputs(tiny_model_folder, alignment, LABELS, PAIRS, 1.0, truth)
    assert [tuple(np.flatnonzero(row)) for row in found.own] == sorted(held)
    np.testing.assert_allclose(found.true_rates, [first + np.arange(len(LABELS)) / 100 for first, _ in sorted(held)])


def test_true_rates_judge_what_is_selected_and_do_no_more(tiny_model_folder, alignment):
    def scaled(offset):
        rows = [(list(h), c, (offset + sum(h) * c) % 7 / 7) for h in PAIRS for c in range(8)]
        truth = pl.DataFrame(rows, schema=["history", "cluster_id", "positive_rate"], orient="row")
        points = scaling_points(scaling_inputs(tiny_model_folder, alignment, LABELS, PAIRS, 1.0, truth), K)
        return [row.pop("true_rate") for row in points], points

    (rates, before), (other_rates, after) = scaled(0), scaled(3)
    assert after == before
    assert other_rates != rates


def test_figures_are_the_means_over_all_histories_at_one_temperature(inputs):
    points = scaling_points(inputs, K)
    figures = scaling_figures(points, 2.0)
    assert len(figures) == 5 * len(MULTIPLES)
    assert figures["coverage_5k_at_2"] == point(points, 2.0, 5)["coverage"]
    assert not any(
        name.startswith("true_rate") for name in scaling_figures([{**e, "true_rate": None} for e in points], 2.0)
    )


def test_the_way_from_any_cluster_to_the_best_ones_by_hand():
    own, even = np.array([[True, False, False, False]]), np.array([[0.0, 1.0, 1.0, 1.0]]) / 3
    rates = np.array([[0.9, 0.1, 0.2, 0.6]])
    good = np.array([[0.0, 0.0, 0.0, 1.0]])
    inputs = ScalingInputs({0.1: good, 1.0: even}, np.array([[0.0, 0.3, 0.2, 0.1]]), even, own, rates)
    figures = truth_figures(inputs, 1)
    assert figures["true_rate_any"] == pytest.approx(0.3)
    assert figures["true_rate_best"] == pytest.approx(0.6)
    assert figures["novelty_alone_of_the_way_at_0.1"] == pytest.approx(1.0)
    assert figures["novelty_alone_of_the_way_at_1"] == pytest.approx(0.0, abs=0.06)
    assert truth_figures(inputs, 3)["novelty_alone_of_the_way_at_1"] is None  # all clusters are the best
    assert truth_figures(replace(inputs, true_rates=None), 1) == {}
