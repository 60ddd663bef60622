"""From counted feedback cells (history S, cluster C) to training scores L: filter, shrink, normalise, round.

One row of a frame of cells is one transition (S, C): ``history`` (list of cluster ids), ``cluster_id``,
``impressions``, ``users`` (distinct) and ``positives`` (impressions with the signal). Nothing here knows which signal
is counted. Metrics never use these scores as truth: they compare with the raw rate of held-out cells.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.optimize import minimize, minimize_scalar
from scipy.special import betaln, expit, logit
from scipy.stats import beta as beta_distribution
from scipy.stats import norm as normal_distribution

from models.arrays import Float64Array
from models.feedback.affinity import FOLDS, AdditiveAffinity

Method = Literal["quantile", "rate", "z_score", "lift"]
Prior = Literal["cluster", "affinity"]

# The strength of a prior, in impressions. Below the least a prior says nothing; above the most it overrules any cell.
LEAST_CONCENTRATION, MOST_CONCENTRATION = 0.5, 1e5
# The strength assumed where the data cannot show one: a single cell, or no positive (or no negative) at all.
ASSUMED_CONCENTRATION = 10.0
CREDIBLE_MASS = 0.90
LIFT_LIMIT = 4.0  # a soft label cannot exceed 1: a rate of four times the cluster's prior, or more, is 1
INTERVALS = (0.01, 0.02, 0.05, 0.1, 0.2)  # to choose among where the rounding follows from the posteriors


@dataclass(frozen=True)
class ScoreOptions:
    """How cells become scores.

    Attributes:
        minimum_impressions: a cell with fewer impressions is dropped, however small the log.
        minimum_share_of_mean: a cell with fewer impressions than this share of the mean cell is dropped too: the bar
            rises with the log, so that twice the traffic keeps the same cells.
        minimum_users: a cell with fewer distinct users is dropped.
        prior: what a cell is shrunk towards: ``cluster``, the prior rate of its cluster, or ``affinity``, what cells
            that share a cluster of the history say of it too, see :class:`AffinityPrior`.
        method: see :class:`Normalisation`.
        interval: scores are rounded to multiples of this; None: of :func:`posterior_interval`.
    """

    minimum_impressions: int = 5
    minimum_share_of_mean: float = 0.2
    minimum_users: int = 3
    prior: Prior = "cluster"
    method: Method = "quantile"
    interval: float | None = 0.05


@dataclass(frozen=True)
class FilteredCells:
    """The cells with enough feedback, the bars they passed, and the shares of cells and impressions that survive.

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
class BetaPrior:
    """A beta distribution of rates, as mean and concentration (alpha + beta, in impressions).

    ``note`` is empty after a fit, else says why the data could not show a prior and what was assumed.
    """

    mean: float
    concentration: float
    note: str = ""

    @property
    def alpha(self) -> float:
        """Pseudo-count of positives."""
        return self.mean * self.concentration

    @property
    def beta(self) -> float:
        """Pseudo-count of impressions that were not positive."""
        return (1.0 - self.mean) * self.concentration


def log_likelihood(positives: ArrayLike, impressions: ArrayLike, mean: ArrayLike, concentration: float) -> float:
    """Beta-binomial log likelihood without its binomial coefficients (constant in the parameters).

    log B(y + alpha, n - y + beta) - log B(alpha, beta), summed; see Gelman et al., Bayesian Data Analysis, section 5.3.
    Counts need not be integers.
    """
    y, n, mu = (np.asarray(values, dtype=np.float64) for values in (positives, impressions, mean))
    alpha, beta = mu * concentration, (1.0 - mu) * concentration
    return float(np.sum(betaln(y + alpha, n - y + beta) - betaln(alpha, beta)))


def fit_beta_prior(positives: ArrayLike, impressions: ArrayLike) -> BetaPrior:
    """Fit the beta prior of cells' rates by maximum likelihood of the beta-binomial (over mean and concentration).

    The concentration stays within 0.5 and 100,000 impressions: cells that differ no more than coin flips have no finite
    maximum. Without cells the prior is uniform; a single cell, and cells without a positive or without a negative,
    show no spread: the mean is then Jeffreys' (y + 1/2) / (n + 1) and the concentration 10 impressions; ``note`` tells.
    """
    y, n = np.asarray(positives, dtype=np.float64), np.asarray(impressions, dtype=np.float64)
    y, n = y[n > 0], n[n > 0]
    total = float(n.sum())
    pooled = (float(y.sum()) + 0.5) / (total + 1.0)
    if len(n) == 0:
        return BetaPrior(0.5, 2.0, "no cells with impressions: the uniform prior is assumed")
    if len(n) == 1:
        return BetaPrior(pooled, ASSUMED_CONCENTRATION, "one cell shows no spread: 10 impressions assumed")
    if y.sum() == 0 or y.sum() == total:
        which = "no positive" if y.sum() == 0 else "nothing but positives"
        return BetaPrior(pooled, ASSUMED_CONCENTRATION, f"{which} in any cell: 10 impressions assumed")

    def loss(parameters: Float64Array) -> float:
        return -log_likelihood(y, n, expit(parameters[0]), float(np.exp(parameters[1])))

    start = np.array([logit(pooled), math.log(fit_concentration(y, n, pooled))])
    bounds = [(-15.0, 15.0), (math.log(LEAST_CONCENTRATION), math.log(MOST_CONCENTRATION))]
    best = minimize(loss, start, method="Nelder-Mead", bounds=bounds, options={"xatol": 1e-6, "fatol": 1e-9})
    return BetaPrior(float(expit(best.x[0])), float(np.exp(best.x[1])))


def fit_concentration(positives: ArrayLike, impressions: ArrayLike, means: ArrayLike) -> float:
    """Fit the one concentration of cells whose prior means are given, by maximum likelihood within the same bounds."""
    y, n = np.asarray(positives, dtype=np.float64), np.asarray(impressions, dtype=np.float64)
    if len(n) < 2 or y.sum() == 0 or y.sum() == n.sum():
        return ASSUMED_CONCENTRATION

    def loss(log_concentration: float) -> float:
        return -log_likelihood(y, n, means, math.exp(log_concentration))

    # The likelihood is flat towards strong priors: a gradient step from far away lands there and stays. So scan first.
    grid = np.linspace(math.log(LEAST_CONCENTRATION), math.log(MOST_CONCENTRATION), 40)
    best = int(np.argmin([loss(value) for value in grid]))
    around = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    return math.exp(minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-6}).x)


@dataclass(frozen=True)
class ClusterPriors:
    """Prior means per cluster, the hyper-prior they are shrunk to, and the concentration of cells around them."""

    hyper_prior: BetaPrior
    cluster_means: dict[int, float]
    concentration: float

    def means(self, cluster_ids: Sequence[int]) -> Float64Array:
        """Prior mean of each cluster; a cluster without feedback has the hyper-prior's mean."""
        return np.array([self.cluster_means.get(cluster, self.hyper_prior.mean) for cluster in cluster_ids])


def fit_cluster_priors(cells: pl.DataFrame) -> ClusterPriors:
    """Fit the two levels of the prior: clusters under one hyper-prior, cells around their cluster.

    1. kappa_0: the concentration of all cells under one global beta prior. Each cell counts with its
       :func:`effective_impressions`: a few huge cells must not pass for certainty about the cluster.
    2. The hyper-prior Beta(mu tau, (1 - mu) tau): a beta-binomial fit to the clusters' effective totals (E, Y). The
       prior mean of a cluster is its posterior mean (Y + mu tau) / (E + tau).
    3. The concentration of cells around their cluster's prior mean, one for all clusters.
    """
    n = cells["impressions"].to_numpy().astype(np.float64)
    y = cells["positives"].to_numpy().astype(np.float64)
    effective = effective_impressions(n, fit_beta_prior(y, n).concentration)
    clusters, inverse = np.unique(cells["cluster_id"].to_numpy(), return_inverse=True)
    impressions = np.bincount(inverse, weights=effective, minlength=len(clusters))
    positives = np.bincount(inverse, weights=effective * y / n, minlength=len(clusters))
    hyper = fit_beta_prior(positives, impressions)
    means = (positives + hyper.alpha) / (impressions + hyper.concentration)
    return ClusterPriors(
        hyper_prior=hyper,
        cluster_means={int(cluster): float(mean) for cluster, mean in zip(clusters, means, strict=True)},
        concentration=fit_concentration(y, n, means[inverse]),
    )


def effective_impressions(impressions: Float64Array, concentration: float) -> Float64Array:
    """n (kappa + 1) / (n + kappa): as many independent impressions tell as much of the mean around which cells vary.

    The design effect of the beta-binomial; never more than kappa + 1.
    """
    return np.asarray(impressions * (concentration + 1.0) / (impressions + concentration))


class AffinityPrior:
    """Prior means of cells by cluster and by the members of the history: the third level, below cluster and all.

    m(S, C) is the additive affinity model (``affinity.AdditiveAffinity``) of raw rates, each with its effective
    impressions; ``concentration`` is that of cells around it. Shrinking towards the cluster's prior alone takes from
    every cell most of what sets it apart from its cluster, and a model that learns such scores ranks by the prior: on a
    simulated log with 14 impressions a cell, additive affinities of scores shrunk that way correlated 0.79 with the
    true rates, of raw rates 0.89.

    Args:
        cells: to fit, of at least ``FOLDS`` histories.
        priors: of the same cells.
        clusters: N.
    """

    def __init__(self, cells: pl.DataFrame, priors: ClusterPriors, clusters: int) -> None:
        n = cells["impressions"].to_numpy().astype(np.float64)
        y = cells["positives"].to_numpy().astype(np.float64)
        rows = cells.select(
            "history",
            "cluster_id",
            pl.Series("score", y / n, dtype=pl.Float64),
            pl.Series("weight", effective_impressions(n, priors.concentration), dtype=pl.Float64),
        )
        self.model = AdditiveAffinity.fit(rows, clusters)
        self.served = set(cells["cluster_id"].to_list())
        self.hyper_prior = priors.hyper_prior
        # Around what was said of each history while it was left out: fitted values follow their own noise, and cells
        # would seem to vary around them by chance alone.
        self.concentration = fit_concentration(y, n, self._bounded(self.model.left_out))

    def means(self, cells: pl.DataFrame) -> Float64Array:
        """Prior mean of each cell, within the bounds of a rate; clusters never served have the hyper-prior's mean."""
        clusters = cells["cluster_id"].to_list()
        means = np.concatenate(
            [np.zeros(0), *self.model.scores(cells["history"].to_list(), [[cluster] for cluster in clusters])]
        )
        known = np.array([cluster in self.served for cluster in clusters], dtype=np.bool_)
        return np.where(known, self._bounded(means), self.hyper_prior.mean)

    def _bounded(self, means: Float64Array) -> Float64Array:
        """An additive model knows no bounds: a mean of 0 would say that no feedback could ever be positive."""
        return np.clip(means, self.hyper_prior.mean / 10, 0.95)


def shrink(cells: pl.DataFrame, priors: ClusterPriors, affinities: AffinityPrior | None = None) -> pl.DataFrame:
    """Add ``raw_rate``, ``prior_rate``, ``shrunk_rate`` (posterior mean), ``lower`` and ``upper`` (central 90%).

    The posterior of a cell is Beta(kappa m + y, kappa (1 - m) + n - y), m being the prior rate of its cluster, or the
    mean that ``affinities`` give where there are some, and kappa the concentration of cells around it.
    """
    n = cells["impressions"].to_numpy().astype(np.float64)
    y = cells["positives"].to_numpy().astype(np.float64)
    prior = priors.means(cells["cluster_id"].to_list())
    mean, kappa = (
        (prior, priors.concentration) if affinities is None else (affinities.means(cells), affinities.concentration)
    )
    alpha, beta = mean * kappa + y, (1.0 - mean) * kappa + n - y
    tail = (1.0 - CREDIBLE_MASS) / 2.0
    return cells.with_columns(
        pl.Series("raw_rate", y / n, dtype=pl.Float64),
        pl.Series("prior_rate", prior, dtype=pl.Float64),
        pl.Series("shrunk_rate", alpha / (alpha + beta), dtype=pl.Float64),
        pl.Series("lower", beta_distribution.ppf(tail, alpha, beta), dtype=pl.Float64),
        pl.Series("upper", beta_distribution.ppf(1.0 - tail, alpha, beta), dtype=pl.Float64),
    )


@dataclass(frozen=True)
class Normalisation:
    """One monotone map from rates to soft labels in [0, 1], fitted on the signal's global distribution.

    Attributes:
        method: ``quantile``, ``rate``, ``z_score`` or ``lift``, each a function below.
        reference: [cells] the rates that it is fitted on.
        weights: [cells] their impressions.

    Raises:
        ValueError: for another method, or no reference cells where the map needs some.
    """

    method: Method
    reference: Float64Array
    weights: Float64Array

    def __post_init__(self) -> None:
        if self.method not in ("quantile", "rate", "z_score", "lift"):
            raise ValueError(f"unknown normalisation {self.method!r}: use 'quantile', 'rate', 'z_score' or 'lift'")
        if len(self.reference) == 0 and self.method in ("quantile", "z_score"):
            raise ValueError(f"the {self.method} map has no reference cells to fit on")

    def scores(self, rates: Float64Array, prior_rates: Float64Array) -> Float64Array:
        """Scores of rates, whose clusters have the prior rates."""
        if self.method == "quantile":
            return quantile_scores(rates, self.reference, self.weights)
        if self.method == "z_score":
            return z_scores(rates, self.reference, self.weights)
        return lift_scores(rates, prior_rates) if self.method == "lift" else rates


def quantile_scores(rates: Float64Array, reference: Float64Array, weights: Float64Array) -> Float64Array:
    """The weighted mid-rank distribution function of the reference, F(x) = (W(< x) + W(= x) / 2) / W.

    With the reference cells' impressions as weights, the score of a cell is the share of impressions in worse cells,
    with its equals counted by half. Between two reference rates F is linear; outside it stays at its ends.
    """
    knots, inverse = np.unique(reference, return_inverse=True)
    mass = np.bincount(inverse, weights=weights, minlength=len(knots))
    mid_ranks = (np.cumsum(mass) - mass / 2.0) / mass.sum()
    scores: Float64Array = np.interp(rates, knots, mid_ranks)
    return scores


def z_scores(rates: Float64Array, reference: Float64Array, weights: Float64Array) -> Float64Array:
    """Phi((x - m) / s): the standard score of a rate in the weighted reference, as a normal probability.

    m and s are the weighted mean and standard deviation of the reference; where it does not vary every score is 1/2.
    """
    mean = float(np.average(reference, weights=weights))
    spread = math.sqrt(float(np.average((reference - mean) ** 2, weights=weights)))
    if spread == 0.0:
        return np.full(len(rates), 0.5)
    return np.asarray(normal_distribution.cdf((rates - mean) / spread))


def lift_scores(rates: Float64Array, prior_rates: Float64Array) -> Float64Array:
    """min(x / prior, 4) / 4: how many times the cluster's prior rate a rate is; the prior itself is 1/4."""
    return np.minimum(rates / np.maximum(prior_rates, 1e-12), LIFT_LIMIT) / LIFT_LIMIT


def posterior_interval(lower: Float64Array, upper: Float64Array) -> float:
    """The largest of ``INTERVALS`` that is at most half the median width of the scores' credible intervals.

    Rounding then stays well inside what the feedback leaves open.

    Args:
        lower: [cells] normalised lower ends of the posteriors.
        upper: [cells] normalised upper ends.
    """
    width = float(np.median(upper - lower)) if len(lower) else 0.0
    return max((interval for interval in INTERVALS if interval <= width / 2), default=INTERVALS[0])


def round_to_interval(scores: Float64Array, interval: float) -> Float64Array:
    """Round scores in [0, 1] to the nearest multiple of ``interval``, halves upwards.

    Raises:
        ValueError: when the interval is not in (0, 1].
    """
    if not 0.0 < interval <= 1.0:
        raise ValueError(f"the rounding interval is {interval}; it must be above 0 and at most 1")
    # A score such as 0.075 / 0.05 may fall a hair short of its half; ten digits are exact enough for any score.
    steps = np.floor(np.round(scores / interval, 10) + 0.5)
    return np.clip(np.round(steps * interval, 10), 0.0, 1.0)


@dataclass(frozen=True)
class TransitionScores:
    """The scored cells, and what a reader must know to judge them.

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

    Where cells carry a column ``split``, priors and the quantile map are fitted on its ``train`` rows alone (and, with
    a column ``unseen``, on those that are not), so that no held-out feedback leaks into training scores. Intervals
    overlap by design: they are per cell, not simultaneous.

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
    fitted = _training_cells(kept)
    priors = fit_cluster_priors(fitted)
    notes = [priors.hyper_prior.note] if priors.hyper_prior.note else []
    affinities = None
    if options.prior == "affinity":
        if fitted["history"].n_unique() >= FOLDS:
            affinities = AffinityPrior(fitted, priors, _cluster_count(kept))
        else:
            notes.append(f"fewer than {FOLDS} histories show no affinities: cells are shrunk towards their clusters")
    scored, interval = normalise_scores(shrink(kept, priors, affinities), options.method, options.interval)
    if not cells.height:
        notes.append("no cells: nothing was counted yet")
    elif not kept.height:
        notes.append(f"none of {cells.height} cells has {filtered.minimum_impressions} impressions and enough users")
    return TransitionScores(scored, filtered, priors, interval, notes)


def normalise_scores(cells: pl.DataFrame, method: Method, interval: float | None) -> tuple[pl.DataFrame, float]:
    """Set the column ``score`` of shrunken cells: their rates normalised, then rounded.

    The map is fitted on training cells alone, see :func:`transition_scores`. Nothing else of a cell changes, so that
    two normalisations of the same cells have the same splits and the same truth.

    Args:
        cells: ``impressions`` and the columns that :func:`shrink` adds.
        method: see :class:`Normalisation`.
        interval: scores are rounded to multiples of this; None: of :func:`posterior_interval`.

    Returns:
        The cells, and what their scores were rounded to.
    """
    reference = _training_cells(cells)
    normalisation = Normalisation(
        method if reference.height else "rate",
        reference["shrunk_rate"].to_numpy(),
        reference["impressions"].to_numpy().astype(np.float64),
    )
    rates, lower, upper = (
        normalisation.scores(cells[name].to_numpy(), cells["prior_rate"].to_numpy())
        for name in ("shrunk_rate", "lower", "upper")
    )
    rounding = posterior_interval(lower, upper) if interval is None else interval
    return cells.with_columns(pl.Series("score", round_to_interval(rates, rounding), dtype=pl.Float64)), rounding


def _cluster_count(cells: pl.DataFrame) -> int:
    """One more than the highest cluster id, offered or in a history."""
    return 1 + max(int(cells["cluster_id"].max()), int(cells["history"].explode().max()))  # type: ignore[arg-type]


def _training_cells(cells: pl.DataFrame) -> pl.DataFrame:
    """Where cells are split, those that a fit may see; else all."""
    seen = cells.filter(~pl.col("unseen")) if "unseen" in cells.columns else cells
    return seen.filter(pl.col("split") == "train") if "split" in seen.columns else seen


def unseen_clusters(clusters: Sequence[int], share: float, seed: int) -> list[int]:
    """The clusters kept from training: ``share`` of them, rounded, by a stable hash of the seed and the id."""
    ordered = sorted(clusters, key=lambda cluster: hashlib.blake2b(f"{seed}:{cluster}".encode()).digest())
    return sorted(ordered[: round(share * len(clusters))])


def split_histories(
    histories: Sequence[Sequence[int]], validation_share: float, test_share: float, seed: int
) -> list[str]:
    """Assign each history, as a set, to ``train``, ``validation`` or ``test``.

    The choice is a stable hash of the seed and the cluster ids: it does not change when other histories come or go.
    Validation selects the checkpoint, test reports it: a figure that was maximised is no estimate.

    Raises:
        ValueError: when the shares leave nothing to train on.
    """
    if min(validation_share, test_share) < 0.0 or validation_share + test_share >= 1.0:
        raise ValueError(f"shares of {validation_share} and {test_share} leave no history to train on")

    def split(history: Sequence[int]) -> str:
        text = f"{seed}:{','.join(map(str, sorted(history)))}"
        place = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64
        if place < test_share:
            return "test"
        return "validation" if place < test_share + validation_share else "train"

    return [split(history) for history in histories]
