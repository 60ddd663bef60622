"""How good the alignment model is on histories that it never saw: yardsticks, calibration, rate errors, new clusters.

Everything here is measured on the raw rates of held-out cells, neither shrunk nor rounded. Yardsticks learn from the
same training cells as the model: from their raw rates, each with its evidence, because shrunken ones make them worse.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.special import logit

from models.alignment.candidate_reader import CandidateStates, Clusters
from models.alignment.examples import ServedHistory, group_by_history
from models.alignment.predicted_rates import PredictedRates
from models.alignment.served_yardsticks import fit_yardsticks
from models.alignment.stack_offsets import StackOffsets
from models.arrays import AnyFloatArray, Float64Array
from models.evaluation.calibration import Reliability, reliability
from models.evaluation.label_regression import LabelRegression, nearest_label_scores
from models.evaluation.metrics import evaluate_ranking
from models.evaluation.ranking_contest import (
    LANGUAGE_MODEL,
    MEASURES,
    MODEL,
    Contest,
    flat_names,
    headroom_share,
    hold_contest,
    mean_intervals,
    split_half_ceiling,
)
from models.evaluation.rate_errors import errors_by, predictive_coverage, rewarded_words
from models.evaluation.words_share import words_share
from models.evaluation.yardsticks import TrainingMeans, random_scores
from models.feedback.affinity import AdditiveAffinity, Factorisation
from models.feedback.priors import CREDIBLE_MASS
from models.language.prompts import History

Score = Callable[[Sequence[History], Sequence[Clusters]], list[Float64Array]]
"""Scores the candidates of histories."""

FURTHER_CUTS = (1, 3, 5, 10)
CERTAIN = 1e-12  # scores nearer to 0 or 1 have no log-odds to speak of


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the held-out histories say.

    Attributes:
        figures: ``f1_at_k`` and ``ndcg_at_k`` of the model and, with a suffix, of each yardstick (``_random``,
            ``_prior``, ``_training_means``, ``_additive``, ``_factorisation``, ``_label_regression``), of the language
            model alone where the model is a stack (``_language_model``), and of the split halves of the held-out log
            (``_split_half``, a low estimate of the noise ceiling); ``split_half_share_f1`` and ``_ndcg`` (of the way
            from random to it); ``yardsticks_beaten_share`` (those whose lead intervals exclude 0 by both measures);
            ``ece`` (expected calibration error of predicted rates); ``predictive_coverage`` (share of held-out counts
            inside the 90% that the intervals predict for them); ``interval_width`` (median, of the true rate);
            ``unseen_f1_at_k`` and ``unseen_ndcg_at_k`` of clusters that were kept from training, with ``_random`` and
            ``_nearest_label`` beside them; with ``_users_apart`` before the contestant the contest of ``users_apart``;
            ``words_share`` and what stands beside it, see ``words_share.words_share``. None where nothing could be
            measured.
        intervals: by the name of a figure of F1 or NDCG its 95% interval, by bootstrap over histories.
        model: what the figures without a suffix are of.
        held_out_histories: test histories that qualify (at least 2k supported clusters).
        leads: of the model over each contestant, by measure: [low, high] of the 95% interval.
        leads_over_random: likewise of each other contestant.
        yardsticks: those that may rank a table, see ``served_yardsticks``, as they were judged.
        by_cut: F1 and NDCG of model and random at other cuts.
        calibration: of the test cells; None without any.
        predicted: [cells] rates of the test cells.
        observed: [cells] their raw rates.
        errors: see ``rate_errors.errors_by``, by ``impressions`` of the cell and ``popularity`` of the cluster.
        words: see ``rate_errors.rewarded_words``.
        notes: every reason why a figure is missing.
    """

    figures: dict[str, float | None]
    intervals: dict[str, list[float]]
    model: str
    held_out_histories: int
    leads: dict[str, dict[str, list[float]]]
    leads_over_random: dict[str, dict[str, list[float]]]
    yardsticks: dict[str, AdditiveAffinity]
    by_cut: dict[int, dict[str, float | None]]
    calibration: Reliability | None
    predicted: Float64Array
    observed: Float64Array
    errors: dict[str, list[dict[str, float]]]
    words: list[dict[str, Any]]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class JudgedModel:
    """A trained model that is to be judged.

    Attributes:
        read: reads the candidates of histories.
        score: predicted scores L of what was read.
        rates: what makes ranking values and rates of scores.
        structure: what scores, in words.
        offsets: of a stack, what its head is added to; None: the model is no stack.
        score_alone: scores by the language model of a stack, without its affinities; None: there is none.
    """

    read: Callable[[Sequence[History], Sequence[Clusters]], CandidateStates]
    score: Callable[[CandidateStates], list[Float64Array]]
    rates: PredictedRates
    structure: str = "language model"
    offsets: StackOffsets | None = None
    score_alone: Callable[[CandidateStates], list[Float64Array]] | None = None


def judge(
    model: JudgedModel,
    examples: pl.DataFrame,
    labels: Sequence[str],
    k: int,
    label_embeddings: AnyFloatArray | None,
    seed: int,
) -> Judgement:
    """Judge a trained model on the test histories.

    Args:
        model: what to judge.
        examples: see the head of ``examples``.
        labels: the label of cluster i at index i.
        k: the cut of the metrics.
        label_embeddings: [N, dimensions] of the labels, rows of length 1; None leaves out what needs them.
        seed: of bootstrap, split halves and factorisation.
    """
    seen = examples.filter(~pl.col("unseen"))
    test = group_by_history(seen, len(labels))["test"]
    rows = seen.filter(pl.col("split") == "train").sort("history", "cluster_id")  # sums of floats follow their order
    served = fit_yardsticks(rows, len(labels))
    yardsticks = yardstick_scores(rows, served, len(labels), label_embeddings, seed)
    read = model.read([row.history for row in test], [row.clusters for row in test])
    scores, rates = model.score(read), [row.rates for row in test]
    contestants = _contestants(model, read, scores, yardsticks)
    contest = hold_contest(contestants, rates, k, seed)
    halves = split_half_ceiling(rates, [row.impressions for row in test], k, seed)
    unseen, unseen_intervals, unseen_notes = _unseen_figures(
        model, examples, len(labels), k, label_embeddings, yardsticks
    )
    errors = _rate_errors(model.rates.rates(scores, read.candidates), model.rates, test, rows, labels)
    figures = {
        **_contest_figures(contest, halves),
        **errors.pop("figures"),
        **_words_figures(model, scores, read, k),
        **unseen,
    }
    return Judgement(
        figures=figures,
        intervals=flat_names(contest.intervals) | unseen_intervals,
        model=model.structure,
        held_out_histories=contest.histories,
        leads=_lists(contest.leads),
        leads_over_random=_lists(contest.leads_over_random),
        yardsticks=served,
        by_cut=_by_cut(contestants, rates),
        **errors,
        notes=(*([f"no figures on test histories: {contest.reason}"] if contest.reason else []), *unseen_notes),
    )


def _lists(leads: Mapping[str, Mapping[str, tuple[float, float]]]) -> dict[str, dict[str, list[float]]]:
    return {name: {measure: list(interval) for measure, interval in found.items()} for name, found in leads.items()}


def _contestants(
    model: JudgedModel, read: CandidateStates, scores: Sequence[Float64Array], yardsticks: Mapping[str, Score]
) -> dict[str, list[Float64Array]]:
    """Ranking values of the candidates that were read, by contestant."""
    found = {
        MODEL: model.rates.ranking_values(scores, read.candidates),
        **{name: score(read.histories, read.candidates) for name, score in yardsticks.items()},
    }
    if model.score_alone is not None:
        found[LANGUAGE_MODEL] = model.rates.ranking_values(model.score_alone(read), read.candidates)
    return found


def _words_figures(
    model: JudgedModel, scores: Sequence[Float64Array], read: CandidateStates, k: int
) -> dict[str, float | None]:
    """What the ranking owes to the words, in log-odds of the scores; all of it where there are no offsets."""
    log_odds = [logit(np.clip(values, CERTAIN, 1 - CERTAIN)) for values in scores]
    words = log_odds
    if model.offsets is not None:
        asked = read.histories, read.candidates
        parts = zip(log_odds, model.offsets.scores(*asked), model.offsets.label_words(*asked), strict=True)
        words = [whole - offset + told for whole, offset, told in parts]
    ranked = [place for place, values in enumerate(log_odds) if len(values) >= 2 * k]
    return words_share([log_odds[place] for place in ranked], [words[place] for place in ranked])


def _rate_errors(
    predicted: Sequence[Float64Array],
    predicted_rates: PredictedRates,
    test: Sequence[ServedHistory],
    rows: pl.DataFrame,
    labels: Sequence[str],
) -> dict[str, Any]:
    """Errors of the predicted rates of the test cells: the fields of a judgement that tell them."""
    if not test:
        figures = dict.fromkeys(("ece", "predictive_coverage", "interval_width"))
        nothing = np.zeros(0)
        return {"figures": figures, "calibration": None, "predicted": nothing, "observed": nothing} | {
            "errors": {},
            "words": [],
        }
    rates, observed = np.concatenate(predicted), np.concatenate([row.rates for row in test])
    impressions = np.concatenate([row.impressions for row in test])
    clusters = np.concatenate([row.clusters for row in test])
    calibration = reliability(rates, observed, np.concatenate([row.weights for row in test]))
    lower, upper = predicted_rates.interval(rates)
    served = rows.group_by("cluster_id").agg(pl.col("impressions").sum())
    popularity = np.zeros(len(labels))
    popularity[served["cluster_id"].to_numpy()] = served["impressions"].to_numpy()
    return {
        "figures": {
            "ece": calibration.expected_calibration_error,
            "predictive_coverage": predictive_coverage(
                rates, predicted_rates.concentration, observed, impressions, CREDIBLE_MASS
            ),
            "interval_width": float(np.median(upper - lower)),
        },
        "calibration": calibration,
        "predicted": rates,
        "observed": observed,
        "errors": {
            "impressions": errors_by(impressions, rates, observed, impressions),
            "popularity": errors_by(popularity[clusters], rates, observed, impressions),
        },
        "words": rewarded_words(labels, clusters, rates, observed, impressions),
    }


def yardstick_scores(
    rows: pl.DataFrame,
    served: Mapping[str, AdditiveAffinity],
    labels: int,
    label_embeddings: AnyFloatArray | None,
    seed: int,
) -> dict[str, Score]:
    """Predictors without the language model, fitted to the rates of the training cells.

    Args:
        rows: training rows of clusters that were served.
        served: :func:`fit_yardsticks` of the same rows.
        labels: N.
        label_embeddings: as of :func:`judge`.
        seed: of the factorisation.
    """
    raw = rows.with_columns(score=pl.col("raw_rate"))
    found: dict[str, Score] = {
        "random": lambda _, candidates: random_scores(candidates),
        "prior": served["prior"].scores,
        "training_means": TrainingMeans(rows).scores,
        "additive": served["additive"].scores,
        "factorisation": Factorisation(raw, labels, seed).scores,
    }
    if label_embeddings is not None:
        found["label_regression"] = LabelRegression(raw, label_embeddings).scores
    return found


def _contest_figures(contest: Contest, halves: dict[str, float | None]) -> dict[str, float | None]:
    figures = flat_names(contest.values)
    for measure, short in zip(MEASURES, ("f1", "ndcg"), strict=True):
        figures[f"{measure}_split_half"] = halves[measure]
        figures[f"split_half_share_{short}"] = headroom_share(
            figures[measure], figures[f"{measure}_random"], halves[measure]
        )
    figures["yardsticks_beaten_share"] = contest.beaten_share
    return figures


def _by_cut(scores: dict[str, list[Float64Array]], rates: Sequence[Float64Array]) -> dict[int, dict[str, float | None]]:
    found: dict[int, dict[str, float | None]] = {}
    for cut in FURTHER_CUTS:
        found[cut] = {}
        for name in (MODEL, "random"):
            ranking = evaluate_ranking(scores[name], rates, cut)
            suffix = "" if name == MODEL else "_random"
            found[cut] |= {f"f1{suffix}": ranking.f1_at_k, f"ndcg{suffix}": ranking.ndcg_at_k}
    return found


def _unseen_figures(
    model: JudgedModel,
    examples: pl.DataFrame,
    labels: int,
    k: int,
    label_embeddings: AnyFloatArray | None,
    yardsticks: dict[str, Score],
) -> tuple[dict[str, float | None], dict[str, list[float]], list[str]]:
    """The clusters kept from training, ranked among themselves for the test histories: figures, intervals, notes."""
    kept = examples.filter(pl.col("unseen"))
    if kept.is_empty():
        return {}, {}, []
    # Only the test rows are read; the others make the frame a complete set of examples.
    test = group_by_history(kept.with_columns(split=pl.lit("train")), labels)["train"]
    held = set(map(tuple, kept.filter(pl.col("split") == "test")["history"].to_list()))
    test = [row for row in test if tuple(row.history) in held]
    if not test:
        return {}, {}, ["no figures on clusters never served: there are no test histories"]
    histories, candidates, rates = zip(*((row.history, row.clusters, row.rates) for row in test), strict=True)
    ranking_values = model.rates.ranking_values(model.score(model.read(histories, candidates)), candidates)
    scores: dict[str, list[Float64Array]] = {"": ranking_values, "_random": random_scores(candidates)}
    if label_embeddings is not None:
        served = examples.filter(~pl.col("unseen") & (pl.col("split") == "train"))["cluster_id"].to_list()
        scores["_nearest_label"] = nearest_label_scores(
            histories, candidates, served, label_embeddings, yardsticks["additive"]
        )
    figures: dict[str, float | None] = {}
    intervals: dict[str, list[float]] = {}
    notes: list[str] = []
    for suffix, values in scores.items():
        ranking = evaluate_ranking(values, rates, k)
        figures |= {f"unseen_f1_at_k{suffix}": ranking.f1_at_k, f"unseen_ndcg_at_k{suffix}": ranking.ndcg_at_k}
        intervals |= {f"unseen_{measure}{suffix}": found for measure, found in mean_intervals(ranking, seed=0).items()}
        if ranking.reason and not notes:
            notes.append(f"no figures on clusters never served: {ranking.reason}")
    return figures, intervals, notes
