"""Prior rates of cells, fitted to the log, and the posterior rates that cells shrink to.

A cell is a pair (history S, cluster C) with its counted feedback. Clusters lie around one hyper-prior, cells around the
prior of their cluster, or around what an additive affinity model says of the cluster after the history.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.optimize import minimize, minimize_scalar
from scipy.special import betaln, expit, logit
from scipy.stats import beta as beta_distribution

from models.arrays import BoolArray, Float64Array
from models.feedback.affinity import AdditiveAffinity

# The strength of a prior, in impressions. A weaker prior has no effect; a stronger one overrules any cell.
LEAST_CONCENTRATION, MOST_CONCENTRATION = 0.5, 1e5
# The strength assumed where the data cannot show one: a single cell, or no positive (or no negative) at all.
ASSUMED_CONCENTRATION = 10.0
CREDIBLE_MASS = 0.90  # of the central interval of a posterior


@dataclass(frozen=True)
class BetaPrior:
    """A beta distribution of rates, as mean and concentration (alpha + beta, in impressions).

    ``note`` is empty after a fit; otherwise it says why the data showed no prior and what was assumed.
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


def log_likelihood(
    positives: ArrayLike, impressions: ArrayLike, mean: ArrayLike, concentration: float, cells: ArrayLike = 1.0
) -> float:
    """Beta-binomial log likelihood without its binomial coefficients (constant in the parameters).

    log B(y + alpha, n - y + beta) - log B(alpha, beta), summed; see Gelman et al., Bayesian Data Analysis, section 5.3.
    Counts need not be integers. ``cells`` is how many cells have each pair of counts.
    """
    y, n, mu = (np.asarray(values, dtype=np.float64) for values in (positives, impressions, mean))
    alpha, beta = mu * concentration, (1.0 - mu) * concentration
    return float(np.sum(cells * (betaln(y + alpha, n - y + beta) - betaln(alpha, beta))))


def fit_beta_prior(positives: ArrayLike, impressions: ArrayLike) -> BetaPrior:
    """Fit the beta prior of cells' rates by maximum likelihood of the beta-binomial (over mean and concentration).

    The concentration stays within 0.5 and 100,000 impressions: cells that differ no more than coin flips have no finite
    maximum. Without cells the prior is uniform; a single cell, and cells without a positive or without a negative,
    show no spread: the mean is then Jeffreys' (y + 1/2) / (n + 1) and the concentration 10 impressions, as ``note``
    says.
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

    # Of 100,000 cells with 5 to 60 impressions 98% have the counts of another one: each pair is computed once.
    (y, n), cells = np.unique(np.stack([y, n]), axis=1, return_counts=True)

    def loss(parameters: Float64Array) -> float:
        return -log_likelihood(y, n, expit(parameters[0]), float(np.exp(parameters[1])), cells)

    start = np.array([logit(pooled), math.log(fit_concentration(y, n, pooled, cells))])
    bounds = [(-15.0, 15.0), (math.log(LEAST_CONCENTRATION), math.log(MOST_CONCENTRATION))]
    best = minimize(loss, start, method="Nelder-Mead", bounds=bounds, options={"xatol": 1e-6, "fatol": 1e-9})
    return BetaPrior(float(expit(best.x[0])), float(np.exp(best.x[1])))


def fit_concentration(positives: ArrayLike, impressions: ArrayLike, means: ArrayLike, cells: ArrayLike = 1.0) -> float:
    """Fit the one concentration of cells whose prior means are given, by maximum likelihood within the same bounds."""
    y, n = np.asarray(positives, dtype=np.float64), np.asarray(impressions, dtype=np.float64)
    if np.broadcast_to(cells, y.shape).sum() < 2 or y.sum() == 0 or y.sum() == n.sum():
        return ASSUMED_CONCENTRATION

    def loss(log_concentration: float) -> float:
        return -log_likelihood(y, n, means, math.exp(log_concentration), cells)

    # The likelihood is flat at strong priors: a gradient step from far away ends there and stays. Hence the scan first.
    grid = np.linspace(math.log(LEAST_CONCENTRATION), math.log(MOST_CONCENTRATION), 40)
    best = int(np.argmin([loss(value) for value in grid]))
    around = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    return math.exp(minimize_scalar(loss, bounds=around, options={"xatol": 1e-6}).x)


@dataclass(frozen=True)
class ClusterPriors:
    """Prior means per cluster.

    Attributes:
        hyper_prior: that they are shrunk to.
        cluster_means: of all cells of each cluster.
        left_out: [cells that were fitted] the mean of the cluster by its other cells: what a cell is shrunk towards, or
            its own noise would count twice.
        concentration: of cells around ``left_out``.
    """

    hyper_prior: BetaPrior
    cluster_means: dict[int, float]
    left_out: Float64Array = field(compare=False)
    concentration: float

    def means(self, cluster_ids: Sequence[int]) -> Float64Array:
        """Prior mean of each cluster; a cluster without feedback has the hyper-prior's mean."""
        return np.array([self.cluster_means.get(cluster, self.hyper_prior.mean) for cluster in cluster_ids])


def fit_cluster_priors(cells: pl.DataFrame) -> ClusterPriors:
    """Fit the two levels of the prior: clusters under one hyper-prior, cells around their cluster.

    1. kappa_0: the concentration of all cells under one global beta prior. Each cell counts with its
       :func:`effective_impressions`: a few huge cells do not make the cluster's rate certain.
    2. The hyper-prior Beta(mu tau, (1 - mu) tau): a beta-binomial fit to the clusters' effective totals (E, Y). The
       prior mean of a cluster is its posterior mean (Y + mu tau) / (E + tau).
    3. The concentration of cells around what the other cells of their cluster say, one for all clusters.
    """
    n = cells["impressions"].to_numpy().astype(np.float64)
    y = cells["positives"].to_numpy().astype(np.float64)
    effective = effective_impressions(n, fit_beta_prior(y, n).concentration)
    clusters, inverse = np.unique(cells["cluster_id"].to_numpy(), return_inverse=True)
    impressions = np.bincount(inverse, weights=effective)
    positives = np.bincount(inverse, weights=effective * y / n)
    hyper = fit_beta_prior(positives, impressions)
    means = (positives + hyper.alpha) / (impressions + hyper.concentration)
    # A cluster of one cell has no others: subtraction leaves a rest of rounding, which may be below 0.
    others, liked = (
        np.maximum(total[inverse] - own, 0.0)
        for total, own in ((impressions, effective), (positives, effective * y / n))
    )
    left_out = (liked + hyper.alpha) / (others + hyper.concentration)
    return ClusterPriors(
        hyper_prior=hyper,
        cluster_means={int(cluster): float(mean) for cluster, mean in zip(clusters, means, strict=True)},
        left_out=left_out,
        concentration=fit_concentration(y, n, left_out),
    )


def effective_impressions(impressions: Float64Array, concentration: float) -> Float64Array:
    """n (kappa + 1) / (n + kappa): how many independent impressions would tell as much about the mean of the cells.

    This is the design effect of the beta-binomial; it is never more than kappa + 1.
    """
    return np.asarray(impressions * (concentration + 1.0) / (impressions + concentration))


class AffinityPrior:
    """Prior means of cells by cluster and by the members of the history: the third level, below cluster and all.

    m(S, C) is the additive affinity model (``affinity.AdditiveAffinity``) of raw rates, each with its effective
    impressions; ``concentration`` is that of cells around it. Shrinking towards the cluster's prior alone removes most
    of what distinguishes a cell from its cluster, and a model that learns such scores ranks by the prior: on a
    simulated log with 14 impressions a cell, additive affinities of scores shrunk that way correlated 0.79 with the
    true rates, those of raw rates 0.89.

    Args:
        cells: to fit, of at least ``FOLDS`` histories.
        priors: of the same cells.
        clusters: N.

    Attributes:
        left_out: [cells] the mean of each by a fit without it: fitted values follow the noise of their cells.
        concentration: of cells around ``left_out``. Around fitted values cells would seem to vary by chance alone.
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
        self.left_out = self._bounded(self.model.left_out)
        self.concentration = fit_concentration(y, n, self.left_out)

    def means(self, cells: pl.DataFrame) -> Float64Array:
        """Prior mean of cells that were not fitted, within the bounds of a rate.

        Clusters never served have the hyper-prior's mean.
        """
        clusters = cells["cluster_id"].to_list()
        means = np.concatenate(
            [np.zeros(0), *self.model.scores(cells["history"].to_list(), [[cluster] for cluster in clusters])]
        )
        known = np.array([cluster in self.served for cluster in clusters], dtype=np.bool_)
        return np.where(known, self._bounded(means), self.hyper_prior.mean)

    def _bounded(self, means: Float64Array) -> Float64Array:
        """Within the bounds of a rate: an additive model has none, and a mean of 0 would exclude positive feedback."""
        return np.clip(means, self.hyper_prior.mean / 10, 0.95)


def shrink(
    cells: pl.DataFrame, fitted: BoolArray, priors: ClusterPriors, affinities: AffinityPrior | None = None
) -> pl.DataFrame:
    """Add ``raw_rate``, ``prior_rate``, ``shrunk_rate`` (posterior mean), ``lower`` and ``upper`` (central 90%).

    The posterior of a cell is Beta(kappa m + y, kappa (1 - m) + n - y), m being the prior rate of its cluster, or the
    mean from ``affinities`` where they are given, and kappa the concentration of cells around it. Of cells that were
    fitted m is the mean that is left when they are left out.

    Args:
        cells: ``history``, ``cluster_id``, ``impressions``, ``positives``.
        fitted: [cells] whether the priors were fitted to the cell; those cells in order.
        priors: of the clusters; ``prior_rate`` is theirs, all their cells included.
        affinities: a nearer mean; None: none.
    """
    n = cells["impressions"].to_numpy().astype(np.float64)
    y = cells["positives"].to_numpy().astype(np.float64)
    prior = priors.means(cells["cluster_id"].to_list())
    mean = prior.copy() if affinities is None else affinities.means(cells)
    nearest = priors if affinities is None else affinities
    mean[fitted], kappa = nearest.left_out, nearest.concentration
    alpha, beta = mean * kappa + y, (1.0 - mean) * kappa + n - y
    rate = alpha / (alpha + beta)
    lower, upper = credible_interval(alpha, beta)
    return cells.with_columns(
        pl.Series("raw_rate", y / n, dtype=pl.Float64),
        pl.Series("prior_rate", prior, dtype=pl.Float64),
        pl.Series("shrunk_rate", rate, dtype=pl.Float64),
        pl.Series("lower", lower, dtype=pl.Float64),
        pl.Series("upper", upper, dtype=pl.Float64),
    )


def credible_interval(alpha: Float64Array, beta: Float64Array) -> tuple[Float64Array, Float64Array]:
    """The central 90% of Beta(alpha, beta), as a lower and an upper rate: 0 <= lower <= upper <= 1.

    At the edge quantiles underflow one by one: those of Beta(7.3e-5, 10) at 5% and 95% come out as 2.2e-308 and 0.
    Where they cannot be computed at all, the distribution is a point, its mean.
    """
    tail = (1.0 - CREDIBLE_MASS) / 2.0
    ends = np.stack([beta_distribution.ppf(tail, alpha, beta), beta_distribution.ppf(1.0 - tail, alpha, beta)])
    lower, upper = np.sort(np.clip(np.where(np.isnan(ends), alpha / (alpha + beta), ends), 0.0, 1.0), axis=0)
    return lower, upper
