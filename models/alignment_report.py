"""How good the alignment model is on histories that it never saw: yardsticks, calibration, new clusters.

Everything here is measured on the raw rates of held-out cells, neither shrunk nor rounded. Yardsticks learn from the
same training rows as the model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.affinity import AdditiveAffinity, Factorisation
from models.alignment_examples import ServedHistory, group_by_history
from models.calibration import Reliability, reliability
from models.candidate_reader import Clusters
from models.label_regression import LabelRegression, nearest_label_scores
from models.metrics import evaluate_ranking
from models.prompts import History
from models.ranking_contest import MEASURES, MODEL, Contest, headroom_share, hold_contest, split_half_ceiling
from models.yardsticks import TrainingMeans, random_scores

Array = NDArray[np.float64]
Predict = Callable[[Sequence[History], Sequence[Clusters]], list[Array]]

FURTHER_CUTS = (1, 3, 5, 10)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the held-out histories say.

    Attributes:
        figures: ``f1_at_k`` and ``ndcg_at_k`` of the model and, with a suffix, of each yardstick (``_random``,
            ``_prior``, ``_training_means``, ``_additive``, ``_factorisation``, ``_label_regression``) and of the split
            halves of the held-out log (``_split_half``, a low estimate of the noise ceiling);
            ``split_half_share_f1`` and ``_ndcg`` (of the way from random to it); ``yardsticks_beaten_share`` (those
            whose lead intervals exclude 0 by both measures); ``ece`` (expected calibration error of the predicted
            scores against the held-out ones); ``unseen_f1_at_k`` and ``unseen_ndcg_at_k`` of clusters that were kept
            from training, with ``_random`` and ``_nearest_label`` beside them. None where nothing could be measured.
        held_out_histories: test histories that qualify (at least 2k supported clusters).
        leads: of the model over each yardstick, by measure: [low, high] of the 95% interval.
        by_cut: F1 and NDCG of model and random at other cuts.
        calibration: of the test cells; None without any.
        notes: every reason why a figure is missing.
    """

    figures: dict[str, float | None]
    held_out_histories: int
    leads: dict[str, dict[str, list[float]]]
    by_cut: dict[int, dict[str, float | None]]
    calibration: Reliability | None
    notes: tuple[str, ...]


def judge(
    predict: Predict,
    examples: pl.DataFrame,
    labels: int,
    k: int,
    multipliers: Array | None,
    label_embeddings: NDArray[np.floating] | None,
    seed: int,
) -> Judgement:
    """Judge a trained model on the test histories.

    Args:
        predict: the model: predicted scores L of candidates.
        examples: as ``alignment.train_alignment_model`` takes them.
        labels: N.
        k: the cut of the metrics.
        multipliers: [N] by which predicted scores are multiplied before they rank; None: not at all.
        label_embeddings: [N, dimensions] of the labels, rows of length 1; None leaves out what needs them.
        seed: of bootstrap, split halves and factorisation.
    """
    seen = examples.filter(~pl.col("unseen"))
    test = group_by_history(seen, labels)["test"]
    rows = seen.filter(pl.col("split") == "train")
    yardsticks = _yardsticks(rows, labels, label_embeddings, seed)
    histories, candidates = [row.history for row in test], [row.clusters for row in test]
    predicted = predict(histories, candidates)
    rates = [row.rates for row in test]
    scores = {MODEL: predicted, **{name: score(histories, candidates) for name, score in yardsticks.items()}}
    scaled = {name: _multiplied(values, candidates, multipliers, name) for name, values in scores.items()}
    contest = hold_contest(scaled, rates, k, seed)
    halves = split_half_ceiling(rates, [row.impressions for row in test], k, seed)
    calibration = _calibration(predicted, test)
    notes = [f"no figures on test histories: {contest.reason}"] if contest.reason else []
    unseen, unseen_notes = _unseen_figures(predict, examples, labels, k, label_embeddings, yardsticks)
    return Judgement(
        figures={
            **_contest_figures(contest, halves),
            "ece": calibration.expected_calibration_error if calibration else None,
            **unseen,
        },
        held_out_histories=contest.histories,
        leads={name: {m: list(interval) for m, interval in found.items()} for name, found in contest.leads.items()},
        by_cut=_by_cut(scaled, rates),
        calibration=calibration,
        notes=(*notes, *unseen_notes),
    )


def _yardsticks(
    rows: pl.DataFrame, labels: int, label_embeddings: NDArray[np.floating] | None, seed: int
) -> dict[str, Predict]:
    """What scores candidates without the language model, fitted to the training rows."""
    means = TrainingMeans(rows)
    found: dict[str, Predict] = {
        "random": lambda _, candidates: random_scores(candidates),
        "prior": lambda _, candidates: means.prior_scores(candidates),
        "training_means": means.scores,
        "additive": AdditiveAffinity(rows, labels).scores,
        "factorisation": Factorisation(rows, labels, seed).scores,
    }
    if label_embeddings is not None:
        found["label_regression"] = LabelRegression(rows, label_embeddings).scores
    return found


def _multiplied(
    scores: Sequence[Array], candidates: Sequence[Clusters], multipliers: Array | None, name: str
) -> list[Array]:
    """Scores on the scale of the labels become rates where labels are lifts; yardsticks of rates are rates already."""
    if multipliers is None or name in ("random", "prior", "training_means"):
        return list(scores)
    return [values * multipliers[list(clusters)] for values, clusters in zip(scores, candidates, strict=True)]


def _contest_figures(contest: Contest, halves: dict[str, float | None]) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    for name, values in contest.values.items():
        suffix = "" if name == MODEL else f"_{name}"
        figures |= {f"{measure}{suffix}": value for measure, value in values.items()}
    for measure, short in zip(MEASURES, ("f1", "ndcg"), strict=True):
        figures[f"{measure}_split_half"] = halves[measure]
        figures[f"split_half_share_{short}"] = headroom_share(
            figures[measure], figures[f"{measure}_random"], halves[measure]
        )
    figures["yardsticks_beaten_share"] = contest.beaten_share
    return figures


def _by_cut(scores: dict[str, list[Array]], rates: Sequence[Array]) -> dict[int, dict[str, float | None]]:
    found: dict[int, dict[str, float | None]] = {}
    for cut in FURTHER_CUTS:
        found[cut] = {}
        for name in (MODEL, "random"):
            ranking = evaluate_ranking(scores[name], rates, cut)
            suffix = "" if name == MODEL else "_random"
            found[cut] |= {f"f1{suffix}": ranking.f1_at_k, f"ndcg{suffix}": ranking.ndcg_at_k}
    return found


def _calibration(predicted: Sequence[Array], test: Sequence[ServedHistory]) -> Reliability | None:
    if not test:
        return None
    return reliability(
        np.concatenate(predicted),
        np.concatenate([row.scores for row in test]),
        np.concatenate([row.weights for row in test]),
    )


def _unseen_figures(
    predict: Predict,
    examples: pl.DataFrame,
    labels: int,
    k: int,
    label_embeddings: NDArray[np.floating] | None,
    yardsticks: dict[str, Predict],
) -> tuple[dict[str, float | None], list[str]]:
    """The clusters kept from training, ranked among themselves for the test histories."""
    kept = examples.filter(pl.col("unseen"))
    if kept.is_empty():
        return {}, []
    # Only the test rows are read; the others make the frame a complete set of examples.
    test = group_by_history(kept.with_columns(split=pl.lit("train")), labels)["train"]
    held = set(map(tuple, kept.filter(pl.col("split") == "test")["history"].to_list()))
    test = [row for row in test if tuple(row.history) in held]
    if not test:
        return {}, ["no figures on clusters never served: there are no test histories"]
    histories, candidates, rates = zip(*((row.history, row.clusters, row.rates) for row in test), strict=True)
    scores: dict[str, list[Array]] = {"": predict(histories, candidates), "_random": random_scores(candidates)}
    if label_embeddings is not None:
        served = examples.filter(~pl.col("unseen") & (pl.col("split") == "train"))["cluster_id"].to_list()
        scores["_nearest_label"] = nearest_label_scores(
            histories, candidates, served, label_embeddings, yardsticks["additive"]
        )
    figures: dict[str, Any] = {}
    notes: list[str] = []
    for suffix, values in scores.items():
        ranking = evaluate_ranking(values, rates, k)
        figures |= {f"unseen_f1_at_k{suffix}": ranking.f1_at_k, f"unseen_ndcg_at_k{suffix}": ranking.ndcg_at_k}
        if ranking.reason and not notes:
            notes.append(f"no figures on clusters never served: {ranking.reason}")
    return figures, notes
