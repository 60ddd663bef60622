"""Calibration: whether predicted scores agree with what is observed."""

from dataclasses import dataclass

import numpy as np

from models.arrays import Float64Array

BINS = 10


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predictions in bins of equal weight: mean prediction, mean truth and weight of each bin that is not empty."""

    predicted: Float64Array
    observed: Float64Array
    weight: Float64Array

    @property
    def expected_calibration_error(self) -> float:
        """Weighted mean distance between prediction and truth over the bins (Naeini et al. 2015)."""
        return float(np.average(np.abs(self.predicted - self.observed), weights=self.weight))


def reliability(
    predictions: Float64Array, observed: Float64Array, weights: Float64Array, bins: int = BINS
) -> Reliability:
    """Bin predictions by rank into ``bins`` bins of about equal weight.

    Args:
        predictions: [n] in [0, 1].
        observed: [n] the scores that were to be predicted.
        weights: [n] above 0.
        bins: how many.

    Raises:
        ValueError: there is nothing to bin.
    """
    if len(predictions) == 0:
        raise ValueError("there are no predictions whose calibration could be judged")
    order = np.argsort(predictions, kind="stable")
    before = np.cumsum(weights[order]) - weights[order]
    place = np.minimum((before / weights.sum() * bins).astype(np.int64), bins - 1)
    total: Float64Array = np.bincount(place, weights=weights[order], minlength=bins).astype(np.float64)
    filled = total > 0
    means = [
        np.bincount(place, weights=(weights * values)[order], minlength=bins)[filled] / total[filled]
        for values in (predictions, observed)
    ]
    return Reliability(means[0], means[1], total[filled])
