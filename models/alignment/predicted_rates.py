"""From the model's scores L to rates, and to the intervals of true rates.

L is a normalised score. Training cells show which rate of the signal belongs to it. Rankings use L itself, times the
cluster's multiplier where scores are lifts. A stack predicts rates, and they stay as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import beta as beta_distribution

from models.arrays import Float64Array, IntArray
from models.feedback.priors import CREDIBLE_MASS, fit_concentration
from models.files import replacing

Lists = Sequence[Sequence[int]]

FILE = "predicted_rates.npz"
LEAST_RATE, MOST_RATE = 1e-4, 1 - 1e-4  # a prediction of exactly 0 or 1 leaves no interval


@dataclass(frozen=True, eq=False)
class RateMap:
    """Mean shrunk rate of the training cells at each level of L, in units of the cluster's multiplier.

    Attributes:
        levels: [levels] scores L, rising.
        rates: [levels] rates, not falling.
        multipliers: [N]; all 1 where scores are not relative to their cluster.
    """

    levels: Float64Array
    rates: Float64Array
    multipliers: Float64Array

    @classmethod
    def fit(cls, rows: pl.DataFrame, multipliers: Float64Array) -> "RateMap":
        """Fit the map to training rows (``cluster_id``, ``score``, ``shrunk_rate``, ``weight``)."""
        relative = rows["shrunk_rate"].to_numpy() / multipliers[rows["cluster_id"].to_numpy()]
        levels, place = np.unique(rows["score"].to_numpy(), return_inverse=True)
        weight = rows["weight"].to_numpy()
        means = np.bincount(place, weights=weight * relative) / np.bincount(place, weights=weight)
        return cls(levels, np.maximum.accumulate(means), multipliers)

    @classmethod
    def of_rates(cls, clusters: int) -> "RateMap":
        """The map of scores that are rates."""
        return cls(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.ones(clusters))

    def of(self, scores: Sequence[Float64Array], candidates: Lists) -> list[Float64Array]:
        """Rates of predicted scores, linear between the levels."""
        return [
            np.clip(
                np.interp(values, self.levels, self.rates) * self.multipliers[list(clusters)], LEAST_RATE, MOST_RATE
            )
            for values, clusters in zip(scores, candidates, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Cells:
    """Held-out cells by history: cluster ids, raw rates, impressions, and evidence weights of each candidate."""

    histories: Lists
    candidates: Lists
    rates: Sequence[Float64Array]
    impressions: Sequence[IntArray]
    weights: Sequence[Float64Array]


@dataclass(frozen=True, eq=False)
class PredictedRates:
    """All that turns the model's scores into ranking values, rates and intervals.

    Attributes:
        rate_map: from L to rates.
        concentration: kappa of the true rates around the predicted ones, in impressions.
    """

    rate_map: RateMap
    concentration: float

    @classmethod
    def fit(cls, rate_map: RateMap, cells: Cells, scores: Sequence[Float64Array]) -> "PredictedRates":
        """Fit to the validation cells, that the model did not learn from.

        Args:
            rate_map: from the model's scores to rates.
            cells: of the validation histories; without any, the concentration is an assumption.
            scores: of the same cells, by the model.
        """
        fitted = rate_map.of(scores, cells.candidates)
        impressions = np.concatenate([np.zeros(0), *cells.impressions])
        positives = np.rint(impressions * np.concatenate([np.zeros(0), *cells.rates]))
        means = np.concatenate([np.zeros(0), *fitted])
        return cls(rate_map, fit_concentration(positives, impressions, means))

    def rates(self, scores: Sequence[Float64Array], candidates: Lists) -> list[Float64Array]:
        """Predicted rate of the signal for each candidate."""
        return self.rate_map.of(scores, candidates)

    def ranking_values(self, scores: Sequence[Float64Array], candidates: Lists) -> list[Float64Array]:
        """What rankings use: L times the multiplier (never constant at the ends, as rates are)."""
        multipliers = self.rate_map.multipliers
        return [values * multipliers[list(clusters)] for values, clusters in zip(scores, candidates, strict=True)]

    def interval(self, rates: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Central 90% of the true rate where ``rates`` [n] is predicted: Beta(kappa r, kappa (1 - r)).

        kappa is fitted by maximum likelihood of the beta-binomial to cells of the validation histories, whose counts
        vary by the model's error and by chance: the rest after chance is the model's error.
        """
        tail = (1 - CREDIBLE_MASS) / 2
        alpha, beta = self.concentration * rates, self.concentration * (1 - rates)
        lower, upper = (np.asarray(beta_distribution.ppf(share, alpha, beta)) for share in (tail, 1 - tail))
        return lower, upper

    def save(self, folder: Path) -> None:
        """Write ``predicted_rates.npz`` into the folder of the checkpoint."""
        arrays = {
            "levels": self.rate_map.levels,
            "rates": self.rate_map.rates,
            "multipliers": self.rate_map.multipliers,
            "concentration": np.array(self.concentration),
        }
        with replacing(folder / FILE) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, folder: Path) -> "PredictedRates":
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: the folder holds no such file.
        """
        with np.load(folder / FILE) as arrays:
            rate_map = RateMap(arrays["levels"], arrays["rates"], arrays["multipliers"])
            return cls(rate_map, float(arrays["concentration"]))
