"""From counted feedback cells (history S, cluster C) to training scores L: filter, shrink, normalise, round.

One row of a frame of cells is one transition (S, C): ``history`` (list of cluster ids), ``cluster_id``,
``impressions``, ``users`` (distinct) and ``positives`` (impressions with the signal). Nothing here knows which signal
is counted. Metrics never use these scores as truth: they compare with the raw rate of held-out cells.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from models.arrays import BoolArray, Float64Array
from models.feedback.affinity import FOLDS
from models.feedback.normalisation import Method, Normalisation, posterior_interval, round_to_interval
from models.feedback.priors import AffinityPrior, ClusterPriors, fit_cluster_priors, shrink

Prior = Literal["cluster", "affinity"]


@dataclass(frozen=True)
class ScoreOptions:
    """How cells become scores.

    Attributes:
        minimum_impressions: a cell with fewer impressions is dropped, however small the log.
        minimum_share_of_mean: a cell with fewer impressions than this share of the mean cell is dropped too: the limit
            rises with the log, so that twice the traffic keeps the same cells.
        minimum_users: a cell with fewer distinct users is dropped.
        prior: what a cell is shrunk towards: ``cluster``, the prior rate of its cluster, or ``affinity``, what cells
            that share a cluster of the history tell about it, see ``priors.AffinityPrior``.
        normalisation: see ``normalisation.Normalisation``.
        interval: scores are rounded to multiples of this; None: of ``normalisation.posterior_interval``.
    """

    minimum_impressions: int
    minimum_share_of_mean: float
    minimum_users: int
    prior: Prior
    normalisation: Method
    interval: float | None


@dataclass(frozen=True)
class FilteredCells:
    """The cells with enough feedback, the limits they passed, and the shares of cells and impressions that survive.

    The shares are None where there was nothing to filter.
    """

    kept: pl.DataFrame
    minimum_impressions: int
    minimum_users: int
    cell_share: float | None
    impression_share: float | None


def filter_cells(
    cells: pl.DataFrame, minimum_impressions: int, minimum_users: int, minimum_share_of_mean: float
) -> FilteredCells:
    """Keep cells with at least m impressions and ``minimum_users`` distinct users.

    m = max(``minimum_impressions``, ceil(``minimum_share_of_mean`` * mean impressions of a cell)).
    """
    mean = float(np.mean(cells["impressions"].to_numpy())) if cells.height else 0.0
    # The tolerance keeps 0.1 * 30 from asking for 4 impressions.
    bar = max(minimum_impressions, math.ceil(minimum_share_of_mean * mean - 1e-9))
    kept = cells.filter((pl.col("impressions") >= bar) & (pl.col("users") >= minimum_users))
    impressions = int(cells["impressions"].sum())
    return FilteredCells(
        kept=kept,
        minimum_impressions=bar,
        minimum_users=minimum_users,
        cell_share=kept.height / cells.height if cells.height else None,
        impression_share=int(kept["impressions"].sum()) / impressions if impressions else None,
    )


@dataclass(frozen=True)
class TransitionScores:
    """The scored cells, and what a reader needs to judge them.

    ``scores`` has the columns history, cluster_id, impressions, users, positives, raw_rate, prior_rate, shrunk_rate,
    lower, upper, score (and ``split`` where the cells had it), in the order of the cells. ``interval`` is what scores
    were rounded to. ``notes`` names every degenerate case that was met.
    """

    scores: pl.DataFrame
    filtered: FilteredCells
    priors: ClusterPriors
    interval: float
    notes: list[str]


def transition_scores(cells: pl.DataFrame, options: ScoreOptions) -> TransitionScores:
    """Turn counted cells into scores: filter, shrink, normalise, round.

    Where cells carry a column ``split``, priors, the map and the rounding interval are fitted on its ``train`` rows
    alone (and, with a column ``unseen``, on those that are not), so that no held-out feedback leaks into training
    scores. What a cell is shrunk towards never holds the cell itself. Credible intervals overlap by design: they are
    per cell, not simultaneous.

    Raises:
        ValueError: when a cell has more positives than impressions, or a negative count.
    """
    counts = cells.select("impressions", "users", "positives")
    bad = counts.filter((pl.col("positives") > pl.col("impressions")) | (pl.min_horizontal(pl.all()) < 0))
    if bad.height:
        raise ValueError(f"{bad.height} cells have more positives than impressions, or a negative count: {bad.row(0)}")
    # A cell needs an impression to have a rate at all.
    filtered = filter_cells(
        cells, max(options.minimum_impressions, 1), options.minimum_users, options.minimum_share_of_mean
    )
    kept = filtered.kept
    taught = _taught(kept)
    fitted = kept.filter(taught)
    priors = fit_cluster_priors(fitted)
    notes = [priors.hyper_prior.note] if priors.hyper_prior.note else []
    affinities = None
    if options.prior == "affinity":
        if fitted["history"].n_unique() >= FOLDS:
            affinities = AffinityPrior(fitted, priors, _cluster_count(kept))
        else:
            notes.append(f"fewer than {FOLDS} histories show no affinities: cells are shrunk towards their clusters")
    shrunk = shrink(kept, taught, priors, affinities)
    scored, interval = normalise_scores(shrunk, options.normalisation, options.interval)
    if not cells.height:
        notes.append("no cells: nothing was counted yet")
    elif not kept.height:
        notes.append(f"none of {cells.height} cells has {filtered.minimum_impressions} impressions and enough users")
    elif kept.height > 1 and scored["score"].n_unique() == 1:
        notes.append(
            f"all {kept.height:,} scores are {scored['score'][0]:g} by {options.normalisation} and interval "
            f"{interval:g}: they tell no cells apart"
        )
    return TransitionScores(scored, filtered, priors, interval, notes)


def scores_of_signal(counted: pl.DataFrame, signal: str, options: ScoreOptions) -> TransitionScores:
    """:func:`transition_scores` of one of several signals that were counted in the same cells.

    Args:
        counted: ``history``, ``cluster_id``, ``impressions``, ``novel_impressions`` (which are only carried along),
            ``users``, and for each signal a column of its name with the impressions that had it; counts of any integer
            type.
        signal: which.
        options: how cells become scores.
    """
    counts = pl.col("impressions", "novel_impressions", "users").cast(pl.Int64)
    positives = pl.col(signal).cast(pl.Int64).alias("positives")
    return transition_scores(counted.select("history", "cluster_id", counts, positives), options)


def normalise_scores(cells: pl.DataFrame, normalisation: Method, interval: float | None) -> tuple[pl.DataFrame, float]:
    """Set the column ``score`` of shrunken cells: their rates normalised, then rounded.

    Map and interval follow from training cells alone, see :func:`transition_scores`. Nothing else of a cell changes, so
    that two normalisations of the same cells have the same splits and the same truth.

    Args:
        cells: ``impressions`` and the columns that ``priors.shrink`` adds.
        normalisation: see ``normalisation.Normalisation``.
        interval: scores are rounded to multiples of this; None: of ``normalisation.posterior_interval``.

    Returns:
        The cells, and what their scores were rounded to.
    """
    reference = cells.filter(_taught(cells))
    fitted = Normalisation(
        normalisation if reference.height else "rate",
        reference["shrunk_rate"].to_numpy(),
        reference["impressions"].to_numpy().astype(np.float64),
    )

    def scored(rows: pl.DataFrame, name: str) -> Float64Array:
        return fitted.scores(rows[name].to_numpy(), rows["prior_rate"].to_numpy())

    if interval is None:
        interval = posterior_interval(scored(reference, "lower"), scored(reference, "upper"))
    rounded = round_to_interval(scored(cells, "shrunk_rate"), interval)
    return cells.with_columns(pl.Series("score", rounded, dtype=pl.Float64)), interval


def _cluster_count(cells: pl.DataFrame) -> int:
    """One more than the highest cluster id, offered or in a history."""
    return 1 + max(int(cells["cluster_id"].max()), int(cells["history"].explode().max()))  # type: ignore[arg-type]


def _taught(cells: pl.DataFrame) -> BoolArray:
    """[cells] where cells are split, those that a fit may see; else all."""
    taught = np.ones(cells.height, dtype=np.bool_)
    if "unseen" in cells.columns:
        taught &= ~cells["unseen"].to_numpy()
    if "split" in cells.columns:
        taught &= (cells["split"] == "train").to_numpy()
    return taught
