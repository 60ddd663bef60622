"""From the language model's scores L to rates: what the stack, the intervals and the calibration go by.

L is a normalised score. Its meaning in the signal's own unit, the rate, is read off the training cells. Rankings by the
language model alone go by L itself, times the cluster's multiplier where scores are lifts; a stack ranks by rates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import beta as beta_distribution

from models.affinity import AdditiveAffinity
from models.files import replacing
from models.transition_scores import CREDIBLE_MASS, fit_concentration

Array = NDArray[np.float64]
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

    levels: Array
    rates: Array
    multipliers: Array

    @classmethod
    def fit(cls, rows: pl.DataFrame, multipliers: Array) -> "RateMap":
        """Read the map off training rows (``cluster_id``, ``score``, ``shrunk_rate``, ``weight``)."""
        relative = rows["shrunk_rate"].to_numpy() / multipliers[rows["cluster_id"].to_numpy()]
        levels, place = np.unique(rows["score"].to_numpy(), return_inverse=True)
        weight = rows["weight"].to_numpy()
        means = np.bincount(place, weights=weight * relative) / np.bincount(place, weights=weight)
        return cls(levels, np.maximum.accumulate(means), multipliers)

    def of(self, scores: Sequence[Array], candidates: Lists) -> list[Array]:
        """Rates of predicted scores, straight between the levels."""
        return [
            np.clip(
                np.interp(values, self.levels, self.rates) * self.multipliers[list(clusters)], LEAST_RATE, MOST_RATE
            )
            for values, clusters in zip(scores, candidates, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Stack:
    """constant + language_model * (its rate) + additive * (additive affinity's rate), fitted to held-out rates.

    Attributes:
        language_model, additive: weights, not negative (stacked regression, Breiman 1996).
        constant: added.
        affinity: of raw rates.
    """

    language_model: float
    additive: float
    constant: float
    affinity: AdditiveAffinity

    @classmethod
    def fit(cls, affinity: AdditiveAffinity, cells: "Cells", rates: Sequence[Array]) -> "Stack":
        """Weighted least squares of raw rates on both predictions; cells of histories that neither of the two saw."""
        columns = [np.concatenate(rates), np.concatenate(affinity.scores(cells.histories, cells.candidates))]
        # nnls fits no free constant: one column of ones and one of minus ones give it either sign.
        design = np.stack([*columns, np.ones_like(columns[0]), -np.ones_like(columns[0])], axis=1)
        root = np.sqrt(np.concatenate(cells.weights))
        found, _ = nnls(design * root[:, None], np.concatenate(cells.rates) * root)
        return cls(float(found[0]), float(found[1]), float(found[2] - found[3]), affinity)

    def of(self, rates: Sequence[Array], histories: Lists, candidates: Lists) -> list[Array]:
        """Stacked rates from the language model's."""
        return [
            np.clip(self.constant + self.language_model * own + self.additive * other, LEAST_RATE, MOST_RATE)
            for own, other in zip(rates, self.affinity.scores(histories, candidates), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Cells:
    """Held-out cells by history: cluster ids, raw rates, impressions, and evidence weights of each candidate."""

    histories: Lists
    candidates: Lists
    rates: Sequence[Array]
    impressions: Sequence[NDArray[np.int64]]
    weights: Sequence[Array]


@dataclass(frozen=True, eq=False)
class PredictedRates:
    """All that turns the language model's scores into ranking values, rates and intervals.

    Attributes:
        rate_map: from L to rates.
        stack: with the additive affinity model; None: the language model alone.
        concentration: kappa of the true rates around the predicted ones, in impressions.
    """

    rate_map: RateMap
    stack: Stack | None
    concentration: float

    @classmethod
    def fit(
        cls,
        rows: pl.DataFrame,
        multipliers: Array,
        affinity: AdditiveAffinity | None,
        cells: Cells,
        scores: Sequence[Array],
    ) -> "PredictedRates":
        """Fit to training rows and to the validation cells that the model did not learn from.

        Args:
            rows: training rows.
            multipliers: [N], all 1 without lifts.
            affinity: to stack with; None: no stack.
            cells: of the validation histories; of none, there is no stack and the concentration is an assumption.
            scores: L of the same cells, by the language model.
        """
        rate_map = RateMap.fit(rows, multipliers)
        rates = rate_map.of(scores, cells.candidates)
        stack = Stack.fit(affinity, cells, rates) if affinity is not None and len(cells.histories) else None
        fitted = cls(rate_map, stack, 0.0).rates(scores, cells.histories, cells.candidates)
        impressions = np.concatenate([np.zeros(0), *cells.impressions])
        positives = np.rint(impressions * np.concatenate([np.zeros(0), *cells.rates]))
        means = np.concatenate([np.zeros(0), *fitted])
        return cls(rate_map, stack, fit_concentration(positives, impressions, means))

    def rates(self, scores: Sequence[Array], histories: Lists, candidates: Lists) -> list[Array]:
        """Predicted rate of the signal for each candidate."""
        own = self.rate_map.of(scores, candidates)
        return own if self.stack is None else self.stack.of(own, histories, candidates)

    def ranking_values(self, scores: Sequence[Array], histories: Lists, candidates: Lists) -> list[Array]:
        """What rankings go by: L times the multiplier (never flat at the ends, as rates are), or stacked rates."""
        if self.stack is not None:
            return self.rates(scores, histories, candidates)
        multipliers = self.rate_map.multipliers
        return [values * multipliers[list(clusters)] for values, clusters in zip(scores, candidates, strict=True)]

    def interval(self, rates: Array) -> tuple[Array, Array]:
        """Central 90% of the true rate where ``rates`` [n] is predicted: Beta(kappa r, kappa (1 - r)).

        kappa is fitted by maximum likelihood of the beta-binomial to cells of the validation histories, whose counts
        hold both the model's error and chance: what is left after chance is the model's.
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
        if self.stack is not None:
            weights = [self.stack.language_model, self.stack.additive, self.stack.constant]
            affinity = self.stack.affinity
            arrays |= {"stack": np.array(weights), "bias": affinity.bias, "affinity": affinity.affinity}
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
            stack = None
            if "stack" in arrays:
                affinity = AdditiveAffinity(arrays["bias"], arrays["affinity"])
                own, other, constant = arrays["stack"].tolist()
                stack = Stack(own, other, constant, affinity)
            return cls(rate_map, stack, float(arrays["concentration"]))
