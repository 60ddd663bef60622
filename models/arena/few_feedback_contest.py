"""The contest over how many pairs have feedback: from which density on, downwards, do words win?

The body of the language model is the pretrained one: its states are read once for all densities, and heads, affinities
and yardsticks are fitted to the feedback of each. All of them learn from all cells of a density; the spreads of the
stack are chosen on every fifth history of them first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from models.alignment.candidate_reader import CandidateStates
from models.alignment.examples import ServedHistory, group_by_history
from models.alignment.joint_cells import JointCells
from models.alignment.joint_head import choose_spreads, fit_joint_head, spreads_of_head_alone, stack_scores
from models.alignment.never_served import fit_never_served, stack_offsets
from models.alignment.report import yardstick_scores
from models.alignment.served_yardsticks import fit_yardsticks
from models.alignment.users_apart import ReadCells
from models.arena.few_feedback import FewFeedback, density_of, histories_for
from models.arrays import AnyFloatArray, Float64Array
from models.evaluation.ranking_contest import LANGUAGE_MODEL, MEASURES, MODEL, Contest, hold_contest
from models.feedback.priors import effective_impressions, fit_cluster_priors
from models.progress import Log

DENSITIES = (0.1, 0.03, 0.01, 0.003, 0.001)
COUNTS = ("prior", "training_means", "additive", "factorisation")  # the yardsticks that know no words
PARTS = {"served": False, "apart": True}  # judged clusters, and whether they are the ones that nobody was served
CHOOSING = 5  # of so many histories one chooses the spreads


def contest_at(
    density: float,
    feedback: FewFeedback,
    read: Sequence[CandidateStates],
    label_embeddings: AnyFloatArray,
    k: int,
    seed: int,
    log: Log,
) -> dict[str, Any]:
    """Fit all contestants to the feedback of one density, and judge them by the truth.

    Args:
        density: share of the pairs (member, candidate) with feedback.
        feedback: of the highest density.
        read: the states of all its cells.
        label_embeddings: [N, dimensions] of the labels, rows of length 1.
        k: the cut of the metrics.
        seed: of bootstrap and factorisation.
        log: receives a line.

    Returns:
        ``density``, the ``share`` that came out, ``histories``, ``cells``, ``impressions`` and ``clusters`` (with
        cells) that taught, ``spreads``; for ``served`` and ``apart`` clusters the ``values``, ``intervals`` and
        ``leads`` of a contest, and ``words_leads``, those of the language model alone.
    """
    clusters = len(label_embeddings)
    first = histories_for(feedback.taught, density, clusters)
    taught = feedback.taught.filter(pl.col("number") < first)
    log(f"density {density:g}: {first:,} histories, {taught.height:,} cells")
    examples = _examples(taught)
    states = ReadCells(read)
    fitted = _Fitted(group_by_history(examples, clusters), states, label_embeddings, k)
    rows = examples.sort("history", "cluster_id")  # sums of floats follow their order
    yardsticks = yardstick_scores(rows, fit_yardsticks(rows, clusters), clusters, label_embeddings, seed)
    found: dict[str, Any] = {
        "density": density,
        "share": density_of(taught, clusters),
        "histories": first,
        "cells": taught.height,
        "impressions": int(taught["impressions"].sum()),
        "clusters": taught["cluster_id"].n_unique(),
        "spreads": vars(fitted.joint.spreads),
    }
    for part, apart in PARTS.items():
        judged = _judged(feedback.judged.filter(pl.col("apart") == apart), examples, clusters)
        test = states.of(judged)
        scores = fitted.scores(test)
        scores |= {name: score(test.histories, test.candidates) for name, score in yardsticks.items()}
        rates = [row.rates for row in judged]
        contest = hold_contest(scores, rates, k, seed)
        words = hold_contest(scores | {MODEL: scores[LANGUAGE_MODEL]}, rates, k, seed)
        found[part] = _told(contest) | {"words_leads": _leads_over_counts(words)}
    return found


class _Fitted:
    """The stack and its language model alone, fitted to the cells of the histories that teach."""

    def __init__(
        self, served: Mapping[str, list[ServedHistory]], states: ReadCells, label_embeddings: AnyFloatArray, k: int
    ) -> None:
        clusters = len(label_embeddings)
        parts = (served["train"], served["validation"], [*served["train"], *served["validation"]])
        some, rest, cells = (JointCells.of(states.of(part).array(), part, clusters, label_embeddings) for part in parts)
        self.joint = fit_joint_head(cells, choose_spreads(some, rest, k))
        self.alone = fit_joint_head(cells, spreads_of_head_alone(some, rest))
        never_served = fit_never_served(cells, cells)
        self.heads = np.stack([self.joint.head, never_served.head])
        self.offsets = stack_offsets(cells, self.joint, never_served, self.heads)

    def scores(self, test: CandidateStates) -> dict[str, list[Float64Array]]:
        """Log-odds or rates, by contestant and history."""
        words = (test.array() * self.heads[self.offsets.heads(test.candidates)]).sum(axis=1)
        offsets = np.concatenate(self.offsets.scores(test.histories, test.candidates))
        return {
            MODEL: test.by_history(words + offsets),
            LANGUAGE_MODEL: stack_scores(test, self.alone.head, self.alone.offsets),
        }


def words_win_from(arms: Sequence[Mapping[str, Any]], part: str, leads: str, measure: str) -> float | None:
    """The highest density from which on, downwards, the leads over all counts have intervals above 0; None: nowhere.

    Args:
        arms: what :func:`contest_at` returned.
        part: of ``PARTS``.
        leads: ``leads`` (of the stack) or ``words_leads``.
        measure: of the contest.
    """
    found = None
    for arm in sorted(arms, key=lambda each: each["density"]):
        if any(arm[part][leads][name][measure][0] <= 0 for name in COUNTS):
            break
        found = float(arm["density"])
    return found


def figures_of(arms: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """``<measure>_<contestant>_<part>_<density>`` of every arm, and ``..._wins_from_<part>`` of stack and words."""
    figures = {
        f"{measure}_{name}_{part}_{arm['density']:g}": value
        for arm in arms
        for part in PARTS
        for name, values in arm[part]["values"].items()
        for measure, value in values.items()
    }
    for part in PARTS:
        for measure in MEASURES:
            figures[f"{measure}_stack_wins_from_{part}"] = words_win_from(arms, part, "leads", measure)
            figures[f"{measure}_words_win_from_{part}"] = words_win_from(arms, part, "words_leads", measure)
    return figures


def _told(contest: Contest) -> dict[str, Any]:
    return {name: getattr(contest, name) for name in ("histories", "values", "intervals", "leads")}


def _leads_over_counts(contest: Contest) -> dict[str, Any]:
    return {name: contest.leads[name] for name in (*COUNTS, "label_regression")}


def _examples(taught: pl.DataFrame) -> pl.DataFrame:
    """Examples of the alignment model: raw rates, each with its effective impressions."""
    concentration = fit_cluster_priors(taught).concentration
    weight = effective_impressions(taught["impressions"].to_numpy().astype(np.float64), concentration)
    rate = pl.col("positives") / pl.col("impressions")
    return taught.select(
        "history",
        "cluster_id",
        "impressions",
        raw_rate=rate,
        score=rate,
        weight=pl.Series(weight),
        split=pl.when(pl.col("number") % CHOOSING == CHOOSING - 1)
        .then(pl.lit("validation"))
        .otherwise(pl.lit("train")),
    )


def _judged(cells: pl.DataFrame, examples: pl.DataFrame, clusters: int) -> list[ServedHistory]:
    """Held-out histories with their true rates."""
    rows = cells.select(
        "history",
        "cluster_id",
        impressions="users",
        raw_rate="true_rate",
        score="true_rate",
        weight=pl.lit(1.0),
        split=pl.lit("test"),
    )
    return group_by_history(pl.concat([examples, rows], how="vertical_relaxed"), clusters)["test"]
