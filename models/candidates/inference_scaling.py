"""What more draws gain: alignment, novelty, true preference and coverage by n and temperature, computed exactly.

Everything follows from the label distributions and the scores, see ``best_of_n_distribution``, so no pool is drawn. The
question is that of the paper (Wang et al. 2025, section 5.4: five times as many draws as clusters, at high
temperature), and whether a novelty model of low confidence makes the selection worse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib import pyplot as plt

from models.alignment.scoring import CandidateScorer
from models.arrays import BoolArray, Float64Array
from models.candidates.best_of_n_distribution import (
    coverage,
    expected_top_score,
    first_distinct,
    selection_probabilities,
)
from models.drawing import GREY, draw_legend, save
from models.evaluation.ranking_contest import headroom_share
from models.novelty.label_distribution import label_distributions
from models.progress import Log, silent
from models.shards import evenly_spread

TEMPERATURES = (0.1, 0.3, 0.7, 1.0, 1.5, 2.0)
HISTORIES = 96
STREAMS = 1000
"""Of each history: the mean over 96 of them is then off by about 0.001 of the way."""
MULTIPLES = (1, 2, 5, 10, 20)  # draws per cluster to be served; the paper takes 5
PAPER = 5
TERCILES = ("low", "middle", "high")


@dataclass(frozen=True, eq=False)
class ScalingInputs:
    """What both models say of some histories.

    Attributes:
        distributions: by temperature, [histories, N] label distributions.
        scores: [histories, N] what the alignment model ranks by.
        novelty: [histories, N] label distribution at T = 1: how likely the novelty model finds a cluster.
        own: [histories, N] whether a cluster belongs to the history; those are never selected.
        true_rates: [histories, N], where they are known.
    """

    distributions: Mapping[float, Float64Array]
    scores: Float64Array
    novelty: Float64Array
    own: BoolArray
    true_rates: Float64Array | None = None


def scaling_inputs(
    novelty: Path,
    alignment: Path,
    labels: Sequence[str],
    planned: Sequence[tuple[int, ...]],
    temperature: float,
    true_rates: pl.DataFrame | None,
    log: Log = silent,
) -> ScalingInputs:
    """Read what both models say of at most ``HISTORIES`` histories, spread evenly over the planned ones.

    Args:
        novelty: folder of the novelty model.
        alignment: folder of the alignment model.
        labels: the label of cluster i at index i.
        planned: the histories of the table.
        temperature: of the pools; ``TEMPERATURES`` are read beside it.
        true_rates: ``history``, ``cluster_id`` and ``positive_rate`` of each history that a user has, and each
            cluster; other histories are then left out. None where they are unknown.
        log: receives progress lines.
    """
    histories = _spread_histories(planned, true_rates)
    temperatures = sorted({*TEMPERATURES, temperature})
    log(f"label distributions of {len(histories)} histories at {len(temperatures)} temperatures")
    distributions = label_distributions(novelty, labels, histories, temperatures, log).probabilities
    log("scores of all labels")
    scores, own = _scores_of_all_labels(CandidateScorer(alignment, labels, "packed"), histories, len(labels), log)
    known = None if true_rates is None else _rates_by_history(true_rates, histories)
    by_temperature = {each: distributions[row] for row, each in enumerate(temperatures)}
    return ScalingInputs(by_temperature, scores, by_temperature[1.0], own, known)


def _spread_histories(planned: Sequence[tuple[int, ...]], true_rates: pl.DataFrame | None) -> Sequence[tuple[int, ...]]:
    if true_rates is None:
        return evenly_spread(planned, HISTORIES)
    held = {tuple(history) for history in true_rates["history"].to_list()}
    return evenly_spread([history for history in planned if history in held], HISTORIES)


def _scores_of_all_labels(
    scorer: CandidateScorer, histories: Sequence[tuple[int, ...]], clusters: int, log: Log
) -> tuple[Float64Array, BoolArray]:
    """[histories, N] what the model ranks by, 0 for the clusters of the history, and whether a cluster is of those."""
    others = [[cluster for cluster in range(clusters) if cluster not in history] for history in histories]
    scores, own = np.zeros((len(histories), clusters)), np.ones((len(histories), clusters), dtype=np.bool_)
    found = scorer.predict(histories, others, log).ranking
    for row, (candidates, values) in enumerate(zip(others, found, strict=True)):
        scores[row, candidates], own[row, candidates] = values, False
    return scores, own


def _rates_by_history(true_rates: pl.DataFrame, histories: Sequence[tuple[int, ...]]) -> Float64Array:
    """[histories, N] true rates."""
    ordered = true_rates.sort("history", "cluster_id").group_by("history").agg("positive_rate")
    rates = {tuple(history): values for history, values in ordered.iter_rows()}
    return np.array([rates[history] for history in histories])


def scaling_points(inputs: ScalingInputs, k: int) -> list[dict[str, Any]]:
    """One row for each temperature and number of draws, and for each tercile of the novelty model's entropy.

    Returns:
        Rows with ``temperature``, ``draws_per_cluster`` (None: the k best of all labels by alignment alone),
        ``entropy`` (``all`` or a tercile) and the means over histories of ``alignment`` (of the selected clusters),
        ``top_score``, ``coverage`` (distinct clusters drawn), ``novelty`` (the novelty model's probability of the
        selected at T = 1) and ``true_rate`` (None where unknown).
    """
    entropies = -(inputs.novelty * np.log(np.maximum(inputs.novelty, 1e-300))).sum(axis=1)
    tercile = np.searchsorted(np.quantile(entropies, [1 / 3, 2 / 3]), entropies, side="right")
    groups = {"all": np.full(len(tercile), True)} | {name: tercile == place for place, name in enumerate(TERCILES)}
    rows: list[dict[str, Any]] = []
    for temperature, distribution in inputs.distributions.items():
        for multiple in MULTIPLES:
            found = [
                _selected(row, scores, multiple * k, k) for row, scores in zip(distribution, inputs.scores, strict=True)
            ]
            label = {"temperature": temperature, "draws_per_cluster": multiple}
            rows += _group_rows(inputs, found, groups, label)
    alone = [_best(scores, own, k) for scores, own in zip(inputs.scores, inputs.own, strict=True)]
    return rows + _group_rows(inputs, alone, groups, {"temperature": None, "draws_per_cluster": None})


def scaling_figures(points: Sequence[dict[str, Any]], temperature: float) -> dict[str, float]:
    """The known means over all histories at one temperature, by names such as ``coverage_5k_at_1.5``."""
    return {
        f"{name}_{point['draws_per_cluster']}k_at_{point['temperature']:g}": point[name]
        for point in points
        if point["entropy"] == "all" and point["temperature"] == temperature
        for name in ("alignment", "top_score", "coverage", "novelty", "true_rate")
        if point[name] is not None
    }


def truth_figures(inputs: ScalingInputs, k: int) -> dict[str, float | None]:
    """What is gained of all there is to gain, where the true rates are known; else nothing.

    Returns:
        ``true_rate_any``, of any cluster outside the history; ``true_rate_best``, of the k best; and, by temperature,
        ``novelty_alone_of_the_way_at_<T>``: how much of the way between them the first k distinct draws cover,
        whatever the alignment model says of them.
    """
    if inputs.true_rates is None:
        return {}
    rates = np.ma.array(inputs.true_rates, mask=inputs.own)
    any_rate = float(rates.mean(axis=1).mean())
    best_rate = float(np.mean([np.sort(row.compressed())[-k:].mean() for row in rates]))
    figures: dict[str, float | None] = {"true_rate_any": any_rate, "true_rate_best": best_rate}
    for temperature, distribution in inputs.distributions.items():
        shares = np.stack([first_distinct(row, k, STREAMS, place) for place, row in enumerate(distribution)])
        alone = float((shares * inputs.true_rates).sum(axis=1).mean())
        figures[f"novelty_alone_of_the_way_at_{temperature:g}"] = headroom_share(alone, any_rate, best_rate)
    return figures


def draw_scaling(points: Sequence[dict[str, Any]], k: int, path: Path) -> None:
    """Draw the curves of all temperatures over n, the paper's 5k marked, and alignment alone as a line."""
    panels = [("top_score", "expected best score of the pool"), ("coverage", "distinct clusters drawn")]
    panels += [("novelty", "novelty model on what is selected")]
    panels += [("alignment", "mean score of what is selected")]
    known = all(point["true_rate"] is not None for point in points)
    panels += [("true_rate", "true rate of what is selected")] if known else []
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 4.8), layout="constrained")
    overall = [point for point in points if point["entropy"] == "all"]
    for axis, (name, title) in zip(axes, panels, strict=True):
        temperatures = sorted({point["temperature"] for point in overall if point["temperature"] is not None})
        for place, temperature in enumerate(temperatures):
            curve = [point for point in overall if point["temperature"] == temperature]
            colour = plt.get_cmap("viridis")(0.85 * place / max(len(temperatures) - 1, 1))
            draws = [point["draws_per_cluster"] * k for point in curve]
            axis.plot(draws, [point[name] for point in curve], color=colour, marker="o", label=f"T = {temperature:g}")
            paper = next(point for point in curve if point["draws_per_cluster"] == PAPER)
            axis.plot(PAPER * k, paper[name], marker="o", markersize=11, fillstyle="none", color=colour)
        everything = next(point for point in overall if point["temperature"] is None)
        if everything[name] is not None:
            axis.axhline(everything[name], color=GREY, linestyle=":", label="alignment alone, all labels")
        axis.set(xscale="log", xlabel="draws n", title=title)
        axis.set_xticks([multiple * k for multiple in MULTIPLES], [f"{multiple}k" for multiple in MULTIPLES])
        axis.minorticks_off()
        draw_legend(axis)
    figure.suptitle(f"Best of n, k = {k}: the circles are n = {PAPER}k, as in the paper", fontsize=11)
    save(figure, list(axes), path)


def _selected(
    distribution: Float64Array, scores: Float64Array, draws: int, k: int
) -> tuple[Float64Array, float | None, float | None]:
    """[N] shares of the selection, the expected top score, and the coverage."""
    chances = selection_probabilities(distribution, scores, draws, k)
    return chances / chances.sum(), expected_top_score(distribution, scores, draws), coverage(distribution, draws)


def _best(scores: Float64Array, own: BoolArray, k: int) -> tuple[Float64Array, float | None, float | None]:
    allowed = np.where(own, -np.inf, scores)
    shares = np.zeros(len(scores))
    shares[np.argsort(-allowed, kind="stable")[:k]] = 1 / k
    return shares, float(allowed.max()), None


def _group_rows(
    inputs: ScalingInputs,
    found: Sequence[tuple[Float64Array, float | None, float | None]],
    groups: Mapping[str, BoolArray],
    label: dict[str, Any],
) -> list[dict[str, Any]]:
    shares = np.stack([share for share, _, _ in found])
    values: dict[str, Float64Array | None] = {
        "alignment": (shares * inputs.scores).sum(axis=1),
        "top_score": np.array([top for _, top, _ in found], dtype=np.float64),
        "coverage": None if found[0][2] is None else np.array([drawn for _, _, drawn in found], dtype=np.float64),
        "novelty": (shares * inputs.novelty).sum(axis=1),
        "true_rate": None if inputs.true_rates is None else (shares * inputs.true_rates).sum(axis=1),
    }
    return [
        {
            **label,
            "entropy": name,
            "histories": int(members.sum()),
            **{key: None if column is None else float(column[members].mean()) for key, column in values.items()},
        }
        for name, members in groups.items()
        if members.any()
    ]
