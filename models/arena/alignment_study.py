"""Figures of the study of the alignment model: how near it comes to the known truth, and which loss is faster."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from models.alignment.scoring import CandidatePredictions
from models.arena.truth import at_the_level_of, noise_ceiling
from models.evaluation.ranking_contest import headroom_share

Predict = Callable[[list[list[int]], list[list[int]]], CandidatePredictions]
LOSS_FIGURES = ("f1_at_k", "ndcg_at_k", "ece")


def truth_figures(
    examples: pl.DataFrame, true_rates: pl.DataFrame, predict: Predict, reported: Mapping[str, Any], k: int
) -> dict[str, float | None]:
    """Ceilings, shares of the way to them, and how good intervals and predicted rates are, by the known rates.

    Args:
        examples: see ``pointwise_examples``; the test rows are read.
        true_rates: ``history``, ``cluster_id``, ``positive_rate``.
        predict: the model: from histories and candidates of each to its predictions.
        reported: figures of the model on the test histories, as ``report.Judgement`` names them.
        k: the cut of the metrics.

    Returns:
        ``f1_at_k_ceiling``, ``ndcg_at_k_ceiling`` and the shares of :func:`share_name`, for clusters that were served
        and, with ``unseen_``, for those kept from training, where there are such; ``correlation_with_truth`` and
        ``interval_coverage`` (share of the true rates inside the 90% intervals) of the served ones.
    """
    test = examples.filter(pl.col("split") == "test")
    cells = test.join(true_rates, on=["history", "cluster_id"]).sort("history", "cluster_id")
    seen = cells.filter(~pl.col("unseen"))
    figures: dict[str, float | None] = {}
    for part, prefix in ((seen, ""), (cells.filter("unseen"), "unseen_")):
        if part.is_empty():
            continue
        for measure, ceiling in noise_ceiling(part, k, seed=0).items():
            name = f"{prefix}{measure}"
            figures[f"{name}_ceiling"] = ceiling
            figures[share_name(prefix, measure)] = headroom_share(reported[name], reported[f"{name}_random"], ceiling)
    return figures | _prediction_figures(seen, predict)


def share_name(prefix: str, measure: str) -> str:
    """The name of the share of the way from random to the ceiling."""
    short = {"f1_at_k": "f1", "ndcg_at_k": "ndcg"}[measure]
    if prefix:
        return "unseen_cluster_headroom_share" + ("" if short == "ndcg" else "_f1")
    return f"headroom_share_{short}"


def compare_losses(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """Seconds of the losses to the F1@k that all reach, and the ranking and calibration of each.

    Args:
        arms: of each loss the ``curve`` (points with ``seconds`` and ``f1_at_k``) and the ``figures`` of its training.
    """
    equal = min(max((point["f1_at_k"] or 0.0 for point in arm["curve"]), default=0.0) for arm in arms.values())
    found: dict[str, float | None] = {}
    for name, arm in arms.items():
        found[f"{name}_seconds_to_equal_f1"] = seconds_to(arm["curve"], equal)
        found |= {f"{name}_{figure}": arm["figures"].get(figure) for figure in LOSS_FIGURES}
    return found


def seconds_to(curve: Sequence[Mapping[str, Any]], target: float) -> float | None:
    """Training seconds at the first evaluation whose F1@k reaches the target; None if none does."""
    reached = [point["seconds"] for point in curve if (point["f1_at_k"] or 0.0) >= target]
    return reached[0] if reached else None


def _prediction_figures(cells: pl.DataFrame, predict: Predict) -> dict[str, float | None]:
    grouped = cells.group_by("history", maintain_order=True).agg("cluster_id")
    found = predict(grouped["history"].to_list(), grouped["cluster_id"].to_list())
    predicted, lower, upper = (np.concatenate(lists) for lists in (found.rates, found.lower, found.upper))
    rested = cells["positive_rate"].to_numpy()
    # The log's users were tired of what they had just seen; the truth's are rested.
    true = at_the_level_of(rested, cells["raw_rate"].to_numpy(), cells["impressions"].to_numpy())
    return {
        "correlation_with_truth": float(np.corrcoef(predicted, rested)[0, 1]),
        "interval_coverage": float(np.mean((true >= lower) & (true <= upper))),
    }
