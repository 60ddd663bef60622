"""Reliability: by hand, and on predictions that are right, shifted, and random."""

import numpy as np
import pytest

from models.evaluation.calibration import reliability


def test_by_hand():
    found = reliability(np.array([0.9, 0.1, 0.2, 0.8]), np.array([1.0, 0.3, 0.1, 0.6]), np.ones(4), bins=2)
    np.testing.assert_allclose(found.predicted, [0.15, 0.85])
    np.testing.assert_allclose(found.observed, [0.2, 0.8])
    assert found.expected_calibration_error == pytest.approx(0.05)


def test_weights_count():
    found = reliability(np.array([0.2, 0.4]), np.array([0.0, 1.0]), np.array([3.0, 1.0]), bins=1)
    assert found.predicted[0] == pytest.approx(0.25)
    assert found.observed[0] == pytest.approx(0.25)
    assert found.expected_calibration_error == pytest.approx(0.0)


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_bins_without_a_prediction_are_left_out(weight):
    found = reliability(np.array([0.2, 0.4]), np.array([0.0, 1.0]), np.full(2, weight), bins=10)
    assert (found.predicted.tolist(), found.observed.tolist()) == ([0.2, 0.4], [0.0, 1.0])
    assert found.weight.tolist() == [weight, weight]


def test_equal_predictions_are_binned_in_their_order():
    predictions, observed = np.tile([0.6, 0.3], 500), np.arange(1000.0)
    found = reliability(predictions, observed, np.ones(1000), bins=4)
    np.testing.assert_allclose(found.observed, [250, 750, 249, 749])


@pytest.mark.parametrize("shift", [0.0, 0.1, -0.2])
def test_a_shift_is_the_error(shift):
    rng = np.random.default_rng(0)
    true = rng.uniform(0.3, 0.7, 50_000)
    observed = rng.binomial(50, true) / 50
    found = reliability(true + shift, observed, np.ones(len(true)))
    assert found.expected_calibration_error == pytest.approx(abs(shift), abs=0.005)
    np.testing.assert_allclose(found.weight, 5_000, atol=1)


def test_nothing_to_judge_is_refused():
    with pytest.raises(ValueError, match="no predictions"):
        reliability(np.zeros(0), np.zeros(0), np.zeros(0))
