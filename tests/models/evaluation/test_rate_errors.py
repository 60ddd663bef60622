"""Errors without chance, coverage of counts, and words: against truth that was drawn here."""

import numpy as np
import pytest
from scipy.stats import betabinom

from models.evaluation.rate_errors import LEAST_WORD_IMPRESSIONS, errors_by, predictive_coverage, rewarded_words


def test_the_error_is_the_models_and_not_that_of_chance():
    generator = np.random.default_rng(0)
    true = generator.uniform(0.1, 0.5, 60_000)
    impressions = generator.integers(2, 40, true.size)
    observed = generator.binomial(impressions, true) / impressions
    predicted = true + generator.normal(0, 0.07, true.size)
    groups = errors_by(impressions, predicted, observed, impressions)
    assert [group["cells"] for group in groups] == pytest.approx([20_000] * 3, rel=0.1)
    assert [group["error"] for group in groups] == pytest.approx([0.07] * 3, abs=0.006)
    assert groups[0]["high"] < groups[1]["low"]
    for group in errors_by(impressions, true, observed, impressions):
        assert group["error"] < 0.02


def test_groups_by_hand():
    (low, middle, high) = errors_by(
        np.array([1, 2, 3]), np.array([0.5, 0.5, 0.2]), np.array([0.5, 1.0, 0.0]), np.array([2, 10, 5])
    )
    assert low["error"] == 0.0  # chance leaves 0.25 / 1, more than the distance
    assert middle["error"] == pytest.approx(0.5)
    assert (high["predicted"], high["observed"], high["error"]) == pytest.approx((0.2, 0.0, 0.2))
    assert errors_by(np.array([1.0]), np.array([0.5]), np.array([1.0]), np.array([1])) == []


def test_a_group_is_told_by_its_impressions_and_an_empty_one_is_left_out():
    predicted, observed, impressions = np.array([0.2, 0.8, 0.5]), np.array([0.1, 0.5, 0.5]), np.array([10, 30, 20])
    few, many = errors_by(np.array([1, 1, 2]), predicted, observed, impressions)
    assert (few["predicted"], few["observed"]) == pytest.approx((0.65, 0.4))
    left = (10 * (0.1**2 - 0.09 / 9) + 30 * (0.3**2 - 0.25 / 29)) / 40
    assert few["error"] == pytest.approx(left**0.5)
    assert (few["high"], many["low"], many["cells"]) == (1.0, 2.0, 1)


@pytest.mark.parametrize("kappa", [3.0, 20.0, 200.0])
def test_counts_drawn_from_the_prediction_are_covered(kappa):
    generator = np.random.default_rng(1)
    predicted, impressions = generator.uniform(0.1, 0.6, 4_000), generator.integers(20, 200, 4_000)
    positives = betabinom.rvs(impressions, kappa * predicted, kappa * (1 - predicted), random_state=2)
    assert 0.89 < predictive_coverage(predicted, kappa, positives / impressions, impressions, 0.9) < 0.97


def test_a_model_that_loves_a_word_is_seen():
    labels = ["cat, play", "dog, play", "cat, garden"]
    clusters, impressions = np.array([0, 1, 2]), np.array([100, 300, 20])
    first, second, *rest = rewarded_words(
        labels, clusters, np.array([0.9, 0.3, 0.8]), np.array([0.2, 0.3, 0.2]), impressions
    )
    assert (first["word"], first["clusters"]) == ("cat", 2)
    assert first["predicted"] == pytest.approx((90 + 16) / 120)
    assert first["observed"] == pytest.approx(0.2)
    assert second["word"] == "play"
    assert second["predicted"] == pytest.approx((90 + 90) / 400)
    assert second["observed"] == pytest.approx((20 + 90) / 400)
    assert [row["word"] for row in rest] == ["dog"]  # 20 impressions of garden show mostly chance


def test_cells_of_two_impressions_tell_of_chance_and_those_of_one_do_not():
    found = errors_by(np.arange(4), np.full(4, 0.5), np.array([0.5, 1.0, 0.5, 0.5]), np.array([2, 1, 2, 2]))
    assert [(group["low"], group["cells"]) for group in found] == [(0.0, 1), (2.0, 1), (3.0, 1)]


@pytest.mark.parametrize(("positives", "within"), [(3, 0), (4, 1), (12, 1), (13, 0)])
def test_counts_at_the_ends_of_their_interval_are_within(positives, within):
    """Of 20 impressions at a rate of 0.4 and a concentration of 50, the central 90% are 4 to 12."""
    chances = betabinom.pmf(np.arange(21), 20, 20, 30)
    assert chances[:4].sum() < 0.05 <= chances[:5].sum()
    assert chances[13:].sum() <= 0.05 < chances[12:].sum()
    assert predictive_coverage(np.array([0.4]), 50.0, np.array([positives / 20]), np.array([20]), 0.9) == within


@pytest.mark.parametrize(("impressions", "told"), [(LEAST_WORD_IMPRESSIONS, 1), (LEAST_WORD_IMPRESSIONS - 1, 0)])
def test_a_word_is_told_from_its_least_impressions_on(impressions, told):
    one = np.array([0.5])
    assert len(rewarded_words(["jazz"], np.array([0]), one, one, np.array([impressions]))) == told


def test_words_are_told_best_first_and_then_by_their_letters():
    labels = [f"{word}, {word}s" for word in "gfedcba"]
    predicted = np.array([0.5] * 6 + [0.9])
    found = rewarded_words(labels, np.arange(7), predicted, predicted, np.full(7, 50))
    assert [row["word"] for row in found] == ["a", "as", "b", "bs", "c", "cs", "d", "ds", "e", "es", "f", "fs"]
