"""What the study tells, on cells whose truth is known, and by hand."""

import numpy as np
import polars as pl
import pytest

from models.alignment.scoring import CandidatePredictions
from models.arena.alignment_study import compare_losses, seconds_to, share_name, truth_figures

K = 1
CLUSTERS = range(10, 16)
HISTORIES = [[a, b] for a in range(6) for b in range(a + 1, 6)]
REPORTED = {
    f"{prefix}{measure}{suffix}": value
    for prefix in ("", "unseen_")
    for measure in ("f1_at_k", "ndcg_at_k")
    for suffix, value in (("", 0.5), ("_random", 0.3))
}


def true_rate(history, cluster):
    return 0.05 + 0.9 * ((7 * history[0] + 3 * history[1] + cluster) % 6) / 6


@pytest.fixture
def examples():
    rows = [
        (history, cluster, 400, true_rate(history, cluster), cluster >= 14, "test" if history[0] else "train")
        for history in HISTORIES
        for cluster in CLUSTERS
    ]
    columns = ["history", "cluster_id", "impressions", "raw_rate", "unseen", "split"]
    return pl.DataFrame(rows, schema=columns, orient="row")


@pytest.fixture
def rates(examples):
    return examples.select("history", "cluster_id", positive_rate="raw_rate").sample(fraction=1.0, shuffle=True, seed=1)


def predictions(histories, candidates):
    """The truth itself, with intervals that hold it but for cluster 10."""
    found = [
        np.array([true_rate(history, cluster) for cluster in clusters])
        for history, clusters in zip(histories, candidates, strict=True)
    ]
    assert all(history[0] for history in histories)  # of the test histories alone
    assert not {14, 15} & {cluster for clusters in candidates for cluster in clusters}
    widths = [np.where(np.array(clusters) == 10, -0.1, 0.1) for clusters in candidates]
    lower = [rate - width for rate, width in zip(found, widths, strict=True)]
    upper = [rate + width for rate, width in zip(found, widths, strict=True)]
    return CandidatePredictions(found, found, lower, upper, read=[rate > 0 for rate in found])


def test_predictions_that_are_the_truth_correlate_and_lie_in_their_intervals(examples, rates):
    figures = truth_figures(examples, rates, predictions, REPORTED, K)
    assert figures["correlation_with_truth"] == pytest.approx(1.0)
    assert figures["interval_coverage"] == pytest.approx(3 / 4)  # of clusters 10 to 13 all but one


def test_shares_are_of_the_way_from_random_to_the_ceiling(examples, rates):
    figures = truth_figures(examples, rates, predictions, REPORTED, K)
    for name, share in (
        ("f1_at_k", "headroom_share_f1"),
        ("ndcg_at_k", "headroom_share_ndcg"),
        ("unseen_f1_at_k", "unseen_cluster_headroom_share_f1"),
        ("unseen_ndcg_at_k", "unseen_cluster_headroom_share"),
    ):
        assert 0.5 < figures[f"{name}_ceiling"] <= 1
        assert figures[share] == pytest.approx(0.2 / (figures[f"{name}_ceiling"] - 0.3))


def test_without_clusters_kept_from_training_nothing_is_said_of_them(examples, rates):
    served = examples.filter(~pl.col("unseen"))
    figures = truth_figures(served, rates, predictions, REPORTED, K)
    assert not any(name.startswith("unseen") for name in figures)
    assert share_name("", "ndcg_at_k") in figures


def curve(*points):
    return [{"seconds": seconds, "f1_at_k": f1} for seconds, f1 in points]


def test_seconds_to_a_figure_are_those_of_the_first_evaluation_that_reaches_it():
    found = curve((0.0, None), (2.0, 0.4), (4.0, 0.6), (6.0, 0.5), (8.0, 0.7))
    assert seconds_to(found, 0.5) == 4.0
    assert seconds_to(found, 0.0) == 0.0
    assert seconds_to(found, 0.8) is None


def test_losses_are_compared_at_what_both_reach():
    arms = {
        "pointwise": {
            "curve": curve((1.0, 0.2), (2.0, 0.6)),
            "figures": {"f1_at_k": 0.6, "ndcg_at_k": 0.8, "ece": 0.1},
        },
        "pairwise": {"curve": curve((1.0, 0.1), (3.0, 0.5)), "figures": {"f1_at_k": 0.5, "ndcg_at_k": 0.7}},
    }
    assert compare_losses(arms) == {
        "pointwise_seconds_to_equal_f1": 2.0,
        "pointwise_f1_at_k": 0.6,
        "pointwise_ndcg_at_k": 0.8,
        "pointwise_ece": 0.1,
        "pairwise_seconds_to_equal_f1": 3.0,
        "pairwise_f1_at_k": 0.5,
        "pairwise_ndcg_at_k": 0.7,
        "pairwise_ece": None,
    }
