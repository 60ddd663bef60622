"""The contest on held-out histories: leads, their intervals, and the split halves."""

import numpy as np
import pytest

from models.evaluation.ranking_contest import (
    bootstrap_interval,
    flat_names,
    headroom_share,
    hold_contest,
    split_half_ceiling,
)


def world(histories=60, clusters=12, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.1, 0.9, clusters) for _ in range(histories)]


def test_a_better_ranking_leads_a_worse_and_ties_with_itself():
    rates = world()
    rng = np.random.default_rng(1)
    noisy = [row + rng.normal(0, 0.1, len(row)) for row in rates]
    contest = hold_contest(
        {"model": noisy, "same": noisy, "random": [np.zeros(len(row)) for row in rates], "oracle": rates},
        rates,
        k=3,
        seed=0,
    )
    assert contest.histories == 60
    assert contest.leads["same"] == {"f1_at_k": (0.0, 0.0), "ndcg_at_k": (0.0, 0.0)}
    assert all(low > 0 for low, _ in contest.leads["random"].values())
    assert all(high < 0 for _, high in contest.leads["oracle"].values())
    assert contest.beaten_share == pytest.approx(1 / 3)
    assert contest.values["oracle"] == {"f1_at_k": 1.0, "ndcg_at_k": 1.0}
    assert set(contest.leads_over_random) == {"same", "oracle"}
    assert contest.leads_over_random["same"] == contest.leads["random"]
    low, high = contest.leads_over_random["oracle"]["ndcg_at_k"]
    assert low < 1 - contest.values["random"]["ndcg_at_k"] < high


def test_nothing_to_measure_is_said():
    contest = hold_contest({"model": [np.ones(2)], "random": [np.zeros(2)]}, [np.ones(2)], k=3, seed=0)
    assert contest.leads == contest.leads_over_random == {}
    assert contest.beaten_share is None
    assert "6 supported clusters" in contest.reason


def test_the_bootstrap_is_about_the_normal_interval_of_the_mean():
    differences = np.random.default_rng(0).normal(0.1, 1.0, 400)
    low, high = bootstrap_interval(differences, seed=0)
    error = differences.std() / 20
    assert low == pytest.approx(differences.mean() - 1.96 * error, abs=0.006)
    assert high == pytest.approx(differences.mean() + 1.96 * error, abs=0.006)


def test_one_in_forty_resampled_means_lies_below_the_interval_and_as_many_above():
    differences = np.random.default_rng(0).normal(0.1, 1.0, 200)
    low, high = bootstrap_interval(differences, seed=0)
    chosen = np.random.default_rng(1).integers(200, size=(20_000, 200))
    means = differences[chosen].mean(axis=1)
    assert [(means < low).mean(), (means > high).mean()] == pytest.approx([0.025, 0.025], abs=0.006)


def test_split_halves_lie_between_random_and_what_the_truth_would_score():
    true = world(histories=80, clusters=15)
    rng = np.random.default_rng(2)
    counts = [np.full(15, 40) for _ in true]
    noisy = [rng.binomial(40, row) / 40 for row in true]
    halves = split_half_ceiling(noisy, counts, 3, seed=0)
    known = hold_contest({"model": true, "random": [np.zeros(15) for _ in true]}, noisy, 3, seed=0)
    for measure, value in halves.items():
        assert known.values["random"][measure] < value < known.values["model"][measure]


@pytest.mark.parametrize("counts", [np.full(12, 10**7), np.logspace(5, 8, 12).astype(np.int64)])
def test_split_halves_of_a_huge_log_agree(counts):
    true = world()
    halves = split_half_ceiling(true, [counts for _ in true], 3, seed=0)
    assert halves["f1_at_k"] > 0.98


def test_halves_of_cells_that_are_all_or_nothing_are_the_cells():
    rates, counts = np.array([1.0, 1.0, 0.0, 0.0]), np.array([3, 2, 2, 3])
    assert split_half_ceiling([rates], [counts], 2, seed=0) == {"f1_at_k": 1.0, "ndcg_at_k": 1.0}
    with pytest.raises(ValueError, match="argument"):
        split_half_ceiling([rates, rates], [counts], 2, seed=0)


def test_cells_of_one_impression_cannot_be_split():
    halves = split_half_ceiling([np.ones(8)], [np.ones(8, dtype=np.int64)], 3, seed=0)
    assert halves == {"f1_at_k": None, "ndcg_at_k": None}


def test_headroom():
    assert headroom_share(0.5, 0.25, 0.75) == pytest.approx(0.5)
    assert [headroom_share(*known) for known in ((None, 0.2, 0.8), (0.5, None, 0.8), (0.5, 0.2, None))] == [None] * 3
    assert headroom_share(0.5, 0.8, 0.8) is None


def test_every_value_has_the_interval_of_its_mean_over_histories():
    truth = [np.array([0.5, 0.1]), np.array([0.1, 0.5])] * 20 + [np.array([0.0, 0.0])]  # the last has no NDCG
    contest = hold_contest({"model": [np.array([2.0, 1.0])] * 41, "random": [np.zeros(2)] * 41}, truth, k=1, seed=0)
    # F1 is 1 and 0 by turns, and 0.5 where the truth ties: a mean of 0.5 with standard error 0.5 / sqrt(41).
    low, high = contest.intervals["model"]["f1_at_k"]
    assert contest.values["model"]["f1_at_k"] == pytest.approx(0.5)
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.5 / 41**0.5, 0.5 + 1.96 * 0.5 / 41**0.5), abs=0.02)
    assert contest.intervals["random"]["f1_at_k"] == pytest.approx((0.5, 0.5))
    assert flat_names(contest.values, "_apart")["ndcg_at_k_apart"] == contest.values["model"]["ndcg_at_k"]
    assert flat_names(contest.intervals)["f1_at_k_random"] == pytest.approx((0.5, 0.5))


def test_what_was_not_measured_has_no_interval():
    contest = hold_contest({"model": [np.ones(2)], "random": [np.zeros(2)]}, [np.ones(2)], k=3, seed=0)
    assert contest.intervals == {"model": {}, "random": {}}
