"""Cheap predictors of what a history likes, from ids without words: additive affinity, and its low-rank form.

Both are fitted to the training rows alone, weighted by their evidence, and give one score per (history, cluster). They
are strong where feedback is dense, and know nothing of clusters that were never served: those get the mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from models.arrays import BoolArray, Float64Array, IntArray

PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # in rows of mean weight
FOLDS = 5
RANK = 8
FACTOR_ITERATIONS = 200
TINY = 1e-12  # without a single history nothing is left


@dataclass(frozen=True, eq=False)
class AdditiveAffinity:
    """Score of C after S = bias[C] + sum over c in S of affinity[c, C].

    Attributes:
        bias: [clusters].
        affinity: [clusters, clusters], member by offered cluster.
        penalty: of the ridge that they were fitted with.
        left_out: [rows] what each training row is predicted to be by a fit without its history, with the same penalty.
    """

    bias: Float64Array
    affinity: Float64Array
    penalty: float = float("nan")
    left_out: Float64Array = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def fit(cls, rows: pl.DataFrame, clusters: int) -> "AdditiveAffinity":
        """Ridge on the affinities, with the penalty of least squared error on left-out histories.

        Biases are weighted means of the cluster's training scores; the affinities of each cluster then fit what is
        left.

        Args:
            rows: training rows with ``history``, ``cluster_id``, ``score`` and ``weight``.
            clusters: N.
        """
        data = Rows(rows, clusters)
        left_out = left_out_scores(data)
        best = int(np.argmin((left_out - data.score) ** 2 @ data.weight))
        everything = np.ones(len(data.score), dtype=np.bool_)
        return cls(*fit_additive(data, everything, PENALTIES[best]), PENALTIES[best], left_out[best])

    def scores(self, histories: Sequence[Sequence[int]], candidates: Sequence[Sequence[int]]) -> list[Float64Array]:
        """Score of each candidate of each history."""
        return [
            np.asarray(self.bias[list(clusters)] + self.affinity[np.ix_(list(history), list(clusters))].sum(axis=0))
            for history, clusters in zip(histories, candidates, strict=True)
        ]

    def scores_of_rows(self, histories: IntArray, clusters: IntArray) -> Float64Array:
        """[rows] score of one candidate each: ``clusters`` [rows] after ``histories`` [rows, K]."""
        return np.asarray(self.bias[clusters] + self.affinity[histories, clusters[:, None]].sum(axis=1))


class Factorisation:
    """Score of C after S = bias[C] + (sum over c in S of u[c]) . v[C]: history embedding times cluster embedding.

    Least squares with a ridge on both embeddings, by L-BFGS from a seeded start; the penalty is the one of least error
    on one fold of left-out histories.

    Args:
        rows: as of :meth:`AdditiveAffinity.fit`.
        clusters: N.
        seed: of the start.
    """

    def __init__(self, rows: pl.DataFrame, clusters: int, seed: int) -> None:
        data = Rows(rows, clusters)
        out = data.history % FOLDS == 0
        errors = []
        for penalty in PENALTIES:
            bias, left, right = fit_factors(data, ~out, penalty, seed)
            predicted = bias[data.cluster] + (data.members @ left)[data.history] * right[data.cluster] @ np.ones(RANK)
            errors.append(float(data.weight[out] @ (predicted - data.score)[out] ** 2))
        self.penalty = PENALTIES[int(np.argmin(errors))]
        everything = np.ones(len(data.score), dtype=np.bool_)
        self.bias, self.left, self.right = fit_factors(data, everything, self.penalty, seed)

    def scores(self, histories: Sequence[Sequence[int]], candidates: Sequence[Sequence[int]]) -> list[Float64Array]:
        """Score of each candidate of each history."""
        return [
            np.asarray(self.bias[list(clusters)] + self.right[list(clusters)] @ self.left[list(history)].sum(axis=0))
            for history, clusters in zip(histories, candidates, strict=True)
        ]


class Rows:
    """Training rows as arrays: ``history`` [rows] (which), ``cluster``, ``score``, ``weight`` (mean 1), ``members``.

    ``members`` is the sparse [histories, clusters] matrix of which clusters make up each history.
    """

    def __init__(self, rows: pl.DataFrame, clusters: int) -> None:
        histories = rows["history"].to_list()
        distinct = sorted({tuple(history) for history in histories})
        place = {history: index for index, history in enumerate(distinct)}
        self.history: IntArray = np.array([place[tuple(history)] for history in histories])
        self.cluster: IntArray = rows["cluster_id"].to_numpy().astype(np.int64)
        self.score: Float64Array = rows["score"].to_numpy().astype(np.float64)
        weight = rows["weight"].to_numpy().astype(np.float64)
        self.weight: Float64Array = weight / weight.mean()
        self.clusters = clusters
        lengths = [len(history) for history in distinct]
        columns = [cluster for history in distinct for cluster in history]
        self.members = csr_matrix(
            (np.ones(len(columns)), (np.repeat(np.arange(len(distinct)), lengths), columns)),
            shape=(len(distinct), clusters),
        )

    def members_of(self, rows: IntArray) -> tuple[Float64Array, IntArray]:
        """[rows, members] which clusters make up the histories of some rows, and [members] which clusters these are.

        A cluster in none of these histories has no affinity to learn: where cells are few, systems are far smaller than
        the number of clusters.
        """
        part = self.members[self.history[rows]]
        members = np.unique(part.indices).astype(np.int64)
        return part[:, members].toarray(), members


def _biases(data: Rows, kept: BoolArray) -> Float64Array:
    """[clusters] weighted mean score of each cluster, shrunk to the mean of all by one row of mean weight."""
    weight, cluster = data.weight[kept], data.cluster[kept]
    mean = float(weight @ data.score[kept] / weight.sum())
    total = np.bincount(cluster, weights=weight * data.score[kept], minlength=data.clusters)
    return np.asarray((total + mean) / (np.bincount(cluster, weights=weight, minlength=data.clusters) + 1.0))


def fit_additive(data: Rows, kept: BoolArray, penalty: float) -> tuple[Float64Array, Float64Array]:
    """Biases [clusters] and affinities [member, cluster] by one small ridge regression per cluster."""
    bias = _biases(data, kept)
    affinity = np.zeros((data.clusters, data.clusters))
    for cluster in np.unique(data.cluster[kept]):
        rows = np.flatnonzero(kept & (data.cluster == cluster))
        x, members = data.members_of(rows)
        weighted = x * data.weight[rows, None]
        gram = weighted.T @ x + penalty * np.eye(len(members))
        affinity[members, cluster] = np.linalg.solve(gram, weighted.T @ (data.score[rows] - bias[cluster]))
    return bias, affinity


def left_out_scores(data: Rows) -> Float64Array:
    """[penalties, rows] what :func:`fit_additive` predicts for each row when its history is left out.

    A history has one row of each cluster. Without it the inverse of the cluster's Gram matrix changes by one rank
    (Sherman and Morrison 1950), so one decomposition for each cluster gives all penalties and all rows exactly.
    """
    found = np.empty((len(PENALTIES), len(data.score)))
    totals = [np.bincount(data.history, weights=values) for values in (data.weight, data.weight * data.score)]
    weight_without, score_without = (total.sum() - total for total in totals)
    mean_without = score_without / np.maximum(weight_without, TINY)
    for cluster in np.unique(data.cluster):
        rows = np.flatnonzero(data.cluster == cluster)
        weight, score = data.weight[rows], data.score[rows]
        rest = mean_without[data.history[rows]]
        bias = (weight @ score - weight * score + rest) / (weight.sum() - weight + 1.0)
        x, _ = data.members_of(rows)
        spectrum, basis = np.linalg.eigh((x * weight[:, None]).T @ x)
        turned = x @ basis
        for index, penalty in enumerate(PENALTIES):
            solved = turned / (np.maximum(spectrum, 0.0) + penalty)
            fitted, shown = solved @ (turned.T @ (weight * score)), solved @ (turned.T @ weight)
            own = weight * (solved * turned).sum(axis=1)
            found[index, rows] = bias + (fitted - bias * shown - own * (score - bias)) / (1.0 - own)
    return found


def fit_factors(
    data: Rows, kept: BoolArray, penalty: float, seed: int
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Biases [clusters] and embeddings [clusters, RANK] of members and of candidates."""
    bias = _biases(data, kept)
    history, cluster, weight = data.history[kept], data.cluster[kept], data.weight[kept]
    target = data.score[kept] - bias[cluster]
    shape = (2, data.clusters, RANK)
    start = np.random.default_rng(seed).normal(0, 0.1, shape)

    def loss(flat: Float64Array) -> tuple[float, Float64Array]:
        left, right = flat.reshape(shape)
        embedded = data.members @ left
        error = np.einsum("nr,nr->n", embedded[history], right[cluster]) - target
        residual = csr_matrix((2 * weight * error, (history, cluster)), shape=data.members.shape)
        gradient = np.stack([data.members.T @ (residual @ right), residual.T @ embedded])
        value = float(weight @ error**2 + penalty * (flat @ flat))
        return value, (gradient + 2 * penalty * flat.reshape(shape)).ravel()

    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": FACTOR_ITERATIONS})
    left, right = found.x.reshape(shape)
    return bias, left, right
