"""Evaluations on the validation histories while the alignment model trains, and which makes the best checkpoint.

A training may do harm, and its evaluations on few histories move by chance. So a later checkpoint counts only if it
ranks the validation histories better than step 0 by more than chance, by NDCG@k and a paired bootstrap. Each of several
looks has its chance to be lucky, so the intervals hold for all of them together (Bonferroni). In one demo the first of
three looks had a lead of +0.002 to +0.031 on 25 histories by an interval of its own, and the next two none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.special import expit

from models.alignment.candidate_reader import Clusters
from models.alignment.examples import ServedHistory
from models.alignment.losses import soft_label_loss
from models.arrays import Float64Array
from models.evaluation.figures import figure_text, interval_text
from models.evaluation.metrics import evaluate_ranking
from models.evaluation.ranking_contest import BOOTSTRAP_MASS, bootstrap_interval, mean_intervals


@dataclass(frozen=True)
class ValidationPoint:
    """One evaluation on the validation histories; a figure is None where it could not be measured.

    ``training_loss`` is the mean over the steps since the point before (None at step 0), ``seconds`` the time of all
    steps so far, without the evaluations. ``histories`` qualified for F1 and NDCG, whose 95% intervals over histories
    are ``intervals``; ``lead`` is that of the lead in NDCG over step 0 (None at step 0). ``spreads`` are those of the
    stack that was fitted for it, see ``joint_head.Spreads``; None: no stack.
    """

    step: int
    training_loss: float | None
    validation_loss: float | None
    f1_at_k: float | None
    ndcg_at_k: float | None
    seconds: float = field(default=0.0, compare=False)
    spreads: dict[str, float] | None = None
    histories: int = 0
    intervals: dict[str, list[float]] = field(default_factory=dict)
    lead: list[float] | None = None

    def told(self, measure: str) -> str:
        """F1 or NDCG as text, with its interval where the histories are few."""
        return interval_text(getattr(self, measure), self.intervals.get(measure), self.histories)


def is_better(point: ValidationPoint, selected: ValidationPoint) -> bool:
    """Whether a later point makes the better checkpoint: by NDCG@k, else by validation loss, else because it is later.

    By NDCG@k, its lead over step 0 must lie above 0.
    """
    if point.ndcg_at_k is not None:
        proven = point.lead is not None and point.lead[0] > 0
        return proven and point.ndcg_at_k > (selected.ndcg_at_k or 0.0)
    if point.validation_loss is not None and selected.validation_loss is not None:
        return point.validation_loss < selected.validation_loss
    return True


def lead_of(ndcg: Float64Array, first: Float64Array, looks: int) -> list[float] | None:
    """Interval of the mean lead in NDCG@k over the same histories at step 0; None where nothing was measured.

    The intervals of all looks hold together with 95%.
    """
    differences = ndcg - first
    differences = differences[np.isfinite(differences)]
    mass = 1 - (1 - BOOTSTRAP_MASS) / looks
    return list(bootstrap_interval(differences, seed=0, mass=mass)) if len(differences) else None


def describe(point: ValidationPoint) -> str:
    """The figures of a point that exist, in words for the log."""
    figures = {
        "training loss": figure_text(point.training_loss),
        "validation loss": figure_text(point.validation_loss),
        "F1": point.told("f1_at_k"),
        "NDCG": point.told("ndcg_at_k"),
        "its lead over step 0": figure_text(None) if point.lead is None else "{:+.3f} to {:+.3f}".format(*point.lead),
    }
    return ", ".join(f"{name} {text}" for name, text in figures.items() if text != figure_text(None)) or "no figures"


def validation_point(
    logits: Sequence[Float64Array],
    served: Sequence[ServedHistory],
    k: int,
    step: int,
    training_loss: float | None,
    multipliers: Float64Array,
) -> tuple[ValidationPoint, Float64Array]:
    """Loss (pointwise, whatever the training uses) and ranking of the validation histories by the logits of each.

    Returns:
        The point, and [histories] their NDCG.
    """
    if not served:
        return ValidationPoint(step, training_loss, None, None, None), np.zeros(0)
    clusters = [row.clusters for row in served]
    loss = soft_label_loss(
        torch.from_numpy(np.concatenate(logits)),
        torch.from_numpy(np.concatenate([row.scores for row in served])),
        torch.from_numpy(np.concatenate([row.weights for row in served])),
    )
    ranking = evaluate_ranking(rank_scores(logits, clusters, multipliers), [row.rates for row in served], k)
    point = ValidationPoint(
        step,
        training_loss,
        float(loss),
        ranking.f1_at_k,
        ranking.ndcg_at_k,
        histories=ranking.histories,
        intervals=mean_intervals(ranking, seed=0),
    )
    return point, ranking.history_ndcg


def rank_scores(
    logits: Sequence[Float64Array], clusters: Sequence[Clusters], multipliers: Float64Array
) -> list[Float64Array]:
    """Predicted scores L, times the multiplier of each cluster: what the language model ranks by."""
    return [expit(values) * multipliers[list(chosen)] for values, chosen in zip(logits, clusters, strict=True)]


def selection_rule(selected: ValidationPoint, validation_histories: int, k: int) -> tuple[str, list[str]]:
    """Name the rule that chose the checkpoint, and why it was not NDCG@k."""
    if selected.ndcg_at_k is not None:
        return "ndcg_at_k", []
    if selected.validation_loss is not None:
        why = f"none of {validation_histories} validation histories has {2 * k} supported clusters"
        return "validation_loss", [f"{why}: the checkpoint of lowest validation loss was selected"]
    return "last_step", ["there are no validation histories: the last step was selected"]
