"""From rates to soft labels in [0, 1]: four monotone maps, and the interval that scores are rounded to."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm as normal_distribution

from models.arrays import Float64Array

Method = Literal["quantile", "rate", "z_score", "lift"]


LIFT_LIMIT = 4.0  # times the cluster's prior: such a rate, or a higher one, becomes the label 1


DIGITS = 10  # rates that differ by less are equal: the same sum in another order


INTERVALS = (0.01, 0.02, 0.05, 0.1, 0.2)  # the choice where the rounding follows from the posteriors


@dataclass(frozen=True)
class Normalisation:
    """One monotone map from rates to soft labels in [0, 1], fitted on the signal's global distribution.

    Attributes:
        method: ``quantile``, ``rate``, ``z_score`` or ``lift``, each a function below.
        reference: [cells] the rates that it is fitted on.
        weights: [cells] their impressions.

    Raises:
        ValueError: for another method, or no reference cells where the map needs some.
    """

    method: Method
    reference: Float64Array
    weights: Float64Array

    def __post_init__(self) -> None:
        if self.method not in ("quantile", "rate", "z_score", "lift"):
            raise ValueError(f"unknown normalisation {self.method!r}: use 'quantile', 'rate', 'z_score' or 'lift'")
        if len(self.reference) == 0 and self.method in ("quantile", "z_score"):
            raise ValueError(f"the {self.method} map has no reference cells to fit on")

    def scores(self, rates: Float64Array, prior_rates: Float64Array) -> Float64Array:
        """Scores of rates, whose clusters have the prior rates."""
        if self.method == "quantile":
            return quantile_scores(rates, self.reference, self.weights)
        if self.method == "z_score":
            return z_scores(rates, self.reference, self.weights)
        return lift_scores(rates, prior_rates) if self.method == "lift" else rates


def quantile_scores(rates: Float64Array, reference: Float64Array, weights: Float64Array) -> Float64Array:
    """The weighted mid-rank distribution function of the reference, F(x) = (W(< x) + W(= x) / 2) / W.

    With the reference cells' impressions as weights, the score of a cell is the share of impressions in worse cells,
    with its equals counted by half. Between two reference rates F is linear; outside it stays at its ends.
    """
    knots, inverse = np.unique(np.round(reference, DIGITS), return_inverse=True)
    mass = np.bincount(inverse, weights=weights)
    mid_ranks = (np.cumsum(mass) - mass / 2.0) / mass.sum()
    scores: Float64Array = np.interp(np.round(rates, DIGITS), knots, mid_ranks)
    return scores


def z_scores(rates: Float64Array, reference: Float64Array, weights: Float64Array) -> Float64Array:
    """Phi((x - m) / s): the standard score of a rate in the weighted reference, as a normal probability.

    m and s are the weighted mean and standard deviation of the reference; where it does not vary every score is 1/2.
    """
    mean = float(np.average(reference, weights=weights))
    spread = math.sqrt(float(np.average((reference - mean) ** 2, weights=weights)))
    if spread < 10.0**-DIGITS:
        return np.full(len(rates), 0.5)
    return np.asarray(normal_distribution.cdf((rates - mean) / spread))


def lift_scores(rates: Float64Array, prior_rates: Float64Array) -> Float64Array:
    """min(x / prior, 4) / 4: how many times the cluster's prior rate a rate is; the prior itself is 1/4."""
    return np.minimum(rates / np.maximum(prior_rates, 1e-12), LIFT_LIMIT) / LIFT_LIMIT


def posterior_interval(lower: Float64Array, upper: Float64Array) -> float:
    """The largest of ``INTERVALS`` that is at most half the median width of the scores' credible intervals.

    Rounding then changes less than the feedback leaves uncertain.

    Args:
        lower: [cells] normalised lower ends of the posteriors.
        upper: [cells] normalised upper ends.
    """
    width = float(np.median(upper - lower)) if len(lower) else 0.0
    return max((interval for interval in INTERVALS if interval <= width / 2), default=INTERVALS[0])


def round_to_interval(scores: Float64Array, interval: float) -> Float64Array:
    """Round scores in [0, 1] to the nearest multiple of ``interval``, halves upwards.

    Raises:
        ValueError: when the interval is not in (0, 1].
    """
    if not 0.0 < interval <= 1.0:
        raise ValueError(f"the rounding interval is {interval}; it must be above 0 and at most 1")
    # A score such as 0.075 / 0.05 may come out just below its half; ten digits are exact enough for any score.
    steps = np.floor(np.round(scores / interval, 10) + 0.5)
    return np.clip(np.round(steps * interval, 10), 0.0, 1.0)
