"""The maps from rates to scores, by hand and against scipy; the rounding."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from scipy.stats import norm
from support.cells import counted

from models.feedback.normalisation import (
    Normalisation,
    lift_scores,
    posterior_interval,
    quantile_scores,
    round_to_interval,
    z_scores,
)


def test_quantile_by_hand():
    reference, weights = np.array([0.1, 0.3, 0.3, 0.6]), np.array([10.0, 20.0, 40.0, 30.0])
    values = np.array([0.0, 0.1, 0.2, 0.3, 0.6, 0.9])
    # Mid-ranks: 0.1 -> 5, 0.3 -> 10 + 30, 0.6 -> 70 + 15, of 100; 0.2 lies half way.
    np.testing.assert_allclose(quantile_scores(values, reference, weights), [0.05, 0.05, 0.225, 0.4, 0.85, 0.85])


@settings(deadline=None)
@given(counted)
def test_the_quantile_map_has_mean_one_half_over_impressions(rows):
    rates, weights = np.array([y / n for _, n, y in rows]), np.array([float(n) for _, n, _ in rows])
    assert np.average(quantile_scores(rates, rates, weights), weights=weights) == pytest.approx(0.5)


@settings(deadline=None)
@given(counted)
def test_the_quantile_map_ignores_the_scale_of_the_signal(rows):
    rates, weights = np.array([y / n for _, n, y in rows]), np.array([float(n) for _, n, _ in rows])
    assume(len(set(rates)) > 1)
    squared = rates**2
    assume(len(set(squared)) == len(set(rates)))
    np.testing.assert_allclose(quantile_scores(squared, squared, weights), quantile_scores(rates, rates, weights))


def test_rates_that_differ_by_the_order_of_a_sum_are_equal():
    rates = np.array([0.3, 0.1 + 0.2, 0.5])
    assert rates[0] != rates[1]
    assert quantile_scores(rates, rates, np.array([1.0, 1.0, 2.0])).tolist() == [0.25, 0.25, 0.75]
    assert z_scores(rates[:2], rates[:2], np.ones(2)).tolist() == [0.5, 0.5]


@settings(deadline=None)
@given(counted)
def test_the_quantile_map_rises_with_the_rate_and_keeps_ties(rows):
    rates, weights = np.array([y / n for _, n, y in rows]), np.array([float(n) for _, n, _ in rows])
    scores = quantile_scores(rates, rates, weights)
    for (one, first), (other, second) in combinations(zip(rates, scores, strict=True), 2):
        assert np.sign(first - second) == np.sign(one - other)


def test_rounding_by_hand():
    scores = np.array([0.0, 0.024, 0.025, 0.074, 0.075, 0.976, 1.0])
    assert round_to_interval(scores, 0.05).tolist() == [0.0, 0.0, 0.05, 0.05, 0.1, 1.0, 1.0]


def test_rounding_never_leaves_the_scores_that_there_are():
    assert round_to_interval(np.array([0.0, 1.0]), 0.15).tolist() == [0.0, 1.0]  # seven times 0.15 is more


@pytest.mark.parametrize("interval", [0.0, -0.1, 1.5])
def test_an_interval_out_of_range_is_refused(interval):
    with pytest.raises(ValueError, match="interval"):
        round_to_interval(np.array([0.5]), interval)


def test_an_unknown_method_and_an_empty_reference_are_refused():
    with pytest.raises(ValueError, match="unknown normalisation 'zscore'"):
        Normalisation("zscore", np.ones(1), np.ones(1))
    with pytest.raises(ValueError, match="no reference"):
        Normalisation("quantile", np.zeros(0), np.zeros(0))


def test_z_scores_by_hand_and_as_scipy_has_them():
    reference, weights = np.array([0.1, 0.3]), np.array([3.0, 1.0])  # mean 0.15, deviation 0.0866
    spread = np.sqrt((3 * 0.05**2 + 0.15**2) / 4)
    expected = norm.cdf((np.array([0.15, 0.3]) - 0.15) / spread)
    np.testing.assert_allclose(z_scores(np.array([0.15, 0.3]), reference, weights), expected)
    assert z_scores(np.array([0.2]), np.array([0.1]), np.array([5.0])).tolist() == [0.5]


def test_lift_by_hand():
    rates, priors = np.array([0.1, 0.2, 0.9, 0.0]), np.array([0.1, 0.1, 0.1, 0.5])
    np.testing.assert_allclose(lift_scores(rates, priors), [0.25, 0.5, 1.0, 0.0])


def test_lift_times_the_prior_ranks_as_the_rate_does():
    rng = np.random.default_rng(0)
    priors = rng.uniform(0.1, 0.5, 50)
    rates = priors * rng.uniform(0.2, 3.9, 50)
    np.testing.assert_allclose(lift_scores(rates, priors) * priors * 4, rates)


@pytest.mark.parametrize(
    ("method", "expected"), [("quantile", [0.25, 0.75]), ("rate", [0.2, 0.4]), ("lift", [0.5, 0.25])]
)
def test_a_map_is_chosen_by_its_name(method, expected):
    rates, priors = np.array([0.2, 0.4]), np.array([0.1, 0.4])
    np.testing.assert_allclose(Normalisation(method, rates, np.ones(2)).scores(rates, priors), expected)


@pytest.mark.parametrize(("upper", "interval"), [([0.2, 0.2], 0.1), ([0.1, 0.2, 0.9], 0.1), ([], 0.01)])
def test_a_rounding_of_exactly_half_the_median_width_is_taken(upper, interval):
    assert posterior_interval(np.zeros(len(upper)), np.array(upper)) == interval


@pytest.mark.parametrize(("width", "interval"), [(0.0, 0.01), (0.05, 0.02), (0.1, 0.05), (0.39, 0.1), (0.9, 0.2)])
def test_the_rounding_stays_within_half_of_what_the_feedback_leaves_open(width, interval):
    assert posterior_interval(np.full(3, 0.05), np.full(3, 0.05 + width)) == interval
