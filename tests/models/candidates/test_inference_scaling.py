"""The curves of best-of-n against pools that are really drawn, and by hand."""

import numpy as np
import polars as pl
import pytest

from models.candidates.best_of_n import draw_pools, select_best
from models.candidates.inference_scaling import MULTIPLES, ScalingInputs, draw_scaling, scaling_points

K, N = 2, 7


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    own = np.zeros((6, N), dtype=bool)
    own[:, 0] = True
    novelty = np.where(own, 0.0, rng.gamma(0.6, 1.0, (6, N)))
    novelty /= novelty.sum(axis=1, keepdims=True)
    hot = novelty**0.5
    laws = {1.0: novelty, 2.0: hot / hot.sum(axis=1, keepdims=True)}
    return ScalingInputs(laws, rng.random((6, N)), novelty, own, rng.random((6, N)))


def point(points, temperature, multiple, entropy="all"):
    found = [
        row
        for row in points
        if (row["temperature"], row["draws_per_cluster"], row["entropy"]) == (temperature, multiple, entropy)
    ]
    assert len(found) == 1
    return found[0]


def test_means_equal_those_of_drawn_pools(inputs):
    """Where n draws show k clusters nearly always: there the law and the stream that goes on agree."""
    points = scaling_points(inputs, K)
    repeats = 400
    histories = [[N + row, N + 10 + repeat] for row in range(6) for repeat in range(repeats)]
    law = np.repeat(inputs.laws[2.0], repeats, axis=0)
    pools = draw_pools(law, histories, 10 * K, K, seed=1)
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
