"""The contest on held-out histories: the alignment model against every yardstick, each difference with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from models.arrays import Float64Array, IntArray
from models.evaluation.metrics import RankingEvaluation, evaluate_ranking

MODEL, RANDOM = "model", "random"
LANGUAGE_MODEL = "language_model"  # of a stack, without its affinities; it is not a yardstick
OF_HISTORIES = {"f1_at_k": "history_f1", "ndcg_at_k": "history_ndcg"}
MEASURES = tuple(OF_HISTORIES)
BOOTSTRAP_DRAWS = 2_000
BOOTSTRAP_MASS = 0.95
HALVINGS = 20
Value = TypeVar("Value")


@dataclass(frozen=True)
class Contest:
    """Metrics of the model and of the yardsticks on the same histories.

    Attributes:
        histories: how many qualify (at least 2k supported clusters).
        reason: why nothing could be measured; None if it could.
        values: ``f1_at_k`` and ``ndcg_at_k`` of each contestant, None where nothing could be measured.
        intervals: of each value 95% by bootstrap over histories; a value of None has none.
        leads: for each yardstick and measure the 95% interval of the model's lead, by paired bootstrap over histories.
        leads_over_random: likewise of the lead that each other contestant has over random.
    """

    histories: int
    reason: str | None
    values: Mapping[str, Mapping[str, float | None]]
    intervals: Mapping[str, Mapping[str, list[float]]]
    leads: Mapping[str, Mapping[str, tuple[float, float]]]
    leads_over_random: Mapping[str, Mapping[str, tuple[float, float]]]

    @property
    def beaten_share(self) -> float | None:
        """Share of the yardsticks whose intervals lie above 0 by both measures; None without any."""
        beaten = [
            all(low > 0 for low, _ in measures.values())
            for name, measures in self.leads.items()
            if name != LANGUAGE_MODEL
        ]
        return sum(beaten) / len(beaten) if beaten else None


def hold_contest(
    predictions: Mapping[str, Sequence[Float64Array]], rates: Sequence[Float64Array], k: int, seed: int
) -> Contest:
    """Judge all contestants on the raw rates of held-out histories.

    Args:
        predictions: of each contestant, one array per history; ``model`` and ``random`` are among them.
        rates: the held-out truth, one array per history.
        k: the cut.
        seed: of the bootstrap.
    """
    judged = {name: evaluate_ranking(scores, rates, k) for name, scores in predictions.items()}
    model = judged[MODEL]
    others = {name: found for name, found in judged.items() if name != MODEL and model.reason is None}
    leads = {name: _leads(model, other, seed) for name, other in others.items()}
    over_random = {name: _leads(other, judged[RANDOM], seed) for name, other in others.items() if name != RANDOM}
    values = {name: {measure: getattr(found, measure) for measure in MEASURES} for name, found in judged.items()}
    intervals = {name: mean_intervals(found, seed) for name, found in judged.items()}
    return Contest(model.histories, model.reason, values, intervals, leads, over_random)


def mean_intervals(judged: RankingEvaluation, seed: int) -> dict[str, list[float]]:
    """By measure the 95% interval of the mean over histories, where there is one."""
    found = {}
    for measure, name in OF_HISTORIES.items():
        values = getattr(judged, name)
        if np.isfinite(values).any():
            found[measure] = list(bootstrap_interval(values[np.isfinite(values)], seed))
    return found


def flat_names(values: Mapping[str, Mapping[str, Value]], infix: str = "") -> dict[str, Value]:
    """``{measure}{infix}_{contestant}``, of the model without its name, from a dictionary by contestant and measure."""
    return {
        f"{measure}{infix}" + ("" if name == MODEL else f"_{name}"): value
        for name, found in values.items()
        for measure, value in found.items()
    }


def bootstrap_interval(differences: Float64Array, seed: int, mass: float = BOOTSTRAP_MASS) -> tuple[float, float]:
    """Central mass of the mean of ``differences`` [histories] over resampled histories: Efron's percentile interval."""
    rng = np.random.default_rng(seed)
    means = differences[rng.integers(len(differences), size=(BOOTSTRAP_DRAWS, len(differences)))].mean(axis=1)
    return central_interval(means, mass)


def central_interval(samples: Float64Array, mass: float = BOOTSTRAP_MASS) -> tuple[float, float]:
    """Central mass of bootstrap samples."""
    low, high = np.quantile(samples, [(1 - mass) / 2, (1 + mass) / 2])
    return float(low), float(high)


def split_half_ceiling(
    rates: Sequence[Float64Array], impressions: Sequence[IntArray], k: int, seed: int
) -> dict[str, float | None]:
    """How well one half of the held-out impressions ranks the other: a low estimate of the noise ceiling.

    The positives of a cell are divided into two halves at random; the rates of one half rank those of the other. A
    model that knew the true rates would do better than half a log does, so the true ceiling is higher. Cells of one
    impression cannot be split and are left out.

    Args:
        rates: raw rates of the held-out cells, one array per history.
        impressions: of the same cells.
        k: the cut.
        seed: of the division; the mean of ``HALVINGS`` divisions is returned.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for _ in range(HALVINGS):
        halves: tuple[list[Float64Array], list[Float64Array]] = ([], [])
        for raw, counts in zip(rates, impressions, strict=True):
            kept = counts >= 2
            n, positives = counts[kept], np.rint(raw[kept] * counts[kept]).astype(np.int64)
            first = n // 2
            dealt = rng.hypergeometric(positives, n - positives, first)
            halves[0].append(dealt / first)
            halves[1].append((positives - dealt) / (n - first))
        judged = evaluate_ranking(*halves, k)
        for measure in MEASURES:
            if (value := getattr(judged, measure)) is not None:
                found[measure].append(value)
    return {measure: float(np.mean(values)) if values else None for measure, values in found.items()}


def headroom_share(value: float | None, random: float | None, ceiling: float | None) -> float | None:
    """How much of the way from random to the ceiling a value covers; None where one of them is unknown."""
    if value is None or random is None or ceiling is None or ceiling <= random:
        return None
    return (value - random) / (ceiling - random)


def _leads(ahead: RankingEvaluation, other: RankingEvaluation, seed: int) -> dict[str, tuple[float, float]]:
    """By measure the interval of the lead of one contestant over another, where there is one."""
    found = {}
    for measure, name in OF_HISTORIES.items():
        differences = getattr(ahead, name) - getattr(other, name)
        differences = differences[np.isfinite(differences)]
        if len(differences):
            found[measure] = bootstrap_interval(differences, seed)
    return found
