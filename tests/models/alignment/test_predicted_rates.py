"""Scores to rates and intervals: by hand, and against rates that were drawn here."""

import numpy as np
import polars as pl
import pytest

from models.alignment.predicted_rates import Cells, PredictedRates, RateMap
from models.feedback.priors import ASSUMED_CONCENTRATION


def rows(scores, rates, clusters=None):
    return pl.DataFrame(
        {
            "cluster_id": clusters or [0] * len(scores),
            "score": scores,
            "shrunk_rate": rates,
            "weight": [float(1 + place) for place in range(len(scores))],
        }
    )


def cells(candidates, rates, impressions, weights):
    return Cells([[0, 1]] * len(rates), candidates, rates, impressions, weights)


def test_a_score_means_the_mean_rate_of_its_level():
    found = RateMap.fit(rows([0.2, 0.2, 0.6], [0.1, 0.4, 0.5]), np.ones(2))
    (rates,) = found.of([np.array([0.0, 0.2, 0.4, 0.9])], [[0, 1, 0, 1]])
    np.testing.assert_allclose(rates, [0.3, 0.3, 0.4, 0.5])


def test_rates_never_fall_as_scores_rise():
    assert (np.diff(RateMap.fit(rows([0.1, 0.2, 0.3], [0.3, 0.1, 0.5]), np.ones(1)).rates) >= 0).all()


def test_lifts_are_multiplied_by_their_cluster():
    multipliers = np.array([0.2, 0.4])
    found = RateMap.fit(rows([0.25, 0.5], [0.2, 0.8], [0, 1]), multipliers)  # once and twice the prior
    (rates,) = found.of([np.array([0.25, 0.25, 0.5])], [[0, 1, 1]])
    np.testing.assert_allclose(rates, [0.2, 0.4, 0.8])


def test_scores_that_are_rates_stay_as_they_are():
    (rates,) = RateMap.of_rates(2).of([np.array([0.003, 0.2, 0.71])], [[0, 1, 1]])
    np.testing.assert_allclose(rates, [0.003, 0.2, 0.71])


def drawn(kappa, seed=3):
    """Validation cells whose true rates vary around the predicted ones with a known concentration."""
    generator = np.random.default_rng(seed)
    predicted = generator.uniform(0.1, 0.6, (40, 30))
    true = generator.beta(kappa * predicted, kappa * (1 - predicted))
    impressions = generator.integers(10, 60, true.shape)
    rates = generator.binomial(impressions, true) / impressions
    return predicted, true, cells([list(range(30))] * 40, list(rates), list(impressions), list(np.ones(true.shape)))


@pytest.mark.parametrize("kappa", [8.0, 60.0])
def test_intervals_cover_the_true_rates(kappa):
    predicted, true, held_out = drawn(kappa)
    levels = np.linspace(0, 1, 21)
    training = rows(levels.tolist(), levels.tolist())
    learned = PredictedRates.fit(RateMap.fit(training, np.ones(30)), held_out, list(predicted))
    assert learned.concentration == pytest.approx(kappa, rel=0.25)
    lower, upper = learned.interval(predicted.ravel())
    assert np.mean((true.ravel() >= lower) & (true.ravel() <= upper)) == pytest.approx(0.9, abs=0.03)


def test_without_validation_the_concentration_is_an_assumption():
    nothing = Cells([], [], [], [], [])
    learned = PredictedRates.fit(RateMap.fit(rows([0.1, 0.9], [0.1, 0.9]), np.ones(3)), nothing, [])
    assert learned.concentration == ASSUMED_CONCENTRATION


def test_it_is_read_as_it_was_written(tmp_path):
    predicted, _, held_out = drawn(20.0)
    training = rows([0.1, 0.5, 0.9], [0.1, 0.5, 0.8])
    written = PredictedRates.fit(RateMap.fit(training, np.linspace(0.5, 1, 30)), held_out, list(predicted))
    written.save(tmp_path)
    read = PredictedRates.load(tmp_path)
    arguments = (list(predicted), held_out.candidates)
    for first, second in zip(written.rates(*arguments), read.rates(*arguments), strict=True):
        np.testing.assert_array_equal(first, second)
    assert read.concentration == written.concentration
