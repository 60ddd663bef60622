"""The stack: the alignment model's linear head and an additive affinity model, fitted together to the training cells.

    log-odds of L after (S, C) = constant + head . x(S, C) + bias[C] + sum over c in S of affinity[c, C]

x is the language model's state. Head, biases and affinities are normal around 0, each kind with a spread of its own: a
generalised linear mixed model, fitted by penalised iteratively reweighted least squares (Breslow and Clayton 1993,
"Approximate Inference in Generalized Linear Mixed Models", section 2). What the words tell goes to the head, which
every cluster shares; what they do not tell stays with the cluster, or the pair of clusters, that it was seen at. A
cluster that was never served has the head alone. Two predictions mixed afterwards (stacked regression) ranked worse:
there the affinities have already explained, each in its own noise, what the words could have told all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from models.affinity import AdditiveAffinity
from models.alignment_examples import ServedHistory
from models.linear_head import LEAST_MEAN

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

BIAS_SPREAD = 0.6
HEAD_SPREADS = (0.1, 0.18, 0.32, 0.6)
AFFINITY_SPREADS = (0.1, 0.18, 0.32)
FOLDS = 5
CHOOSING_ITERATIONS, ITERATIONS = 3, 6  # of reweighting: the deviance stands still in the fifth digit after three


@dataclass(frozen=True)
class Spreads:
    """Prior standard deviations in log-odds: of the head's whole share, of a bias, and of one affinity."""

    head: float
    bias: float
    affinity: float


@dataclass(frozen=True, eq=False)
class JointHead:
    """What was fitted.

    Attributes:
        head: [hidden].
        offsets: constant and biases in one, and affinities, in log-odds.
        spreads: that they were fitted with.
    """

    head: Array
    offsets: AdditiveAffinity
    spreads: Spreads


@dataclass(frozen=True, eq=False)
class JointCells:
    """Training cells: states [rows, hidden], members [rows, N] of their histories, clusters, scores, weights [rows].

    ``folds`` [rows] is the part that a row is left out with; all rows of a history share one.
    """

    states: Array
    members: Array
    clusters: IntArray
    scores: Array
    weights: Array
    folds: IntArray

    @classmethod
    def of(cls, states: Array, served: Sequence[ServedHistory], clusters: int) -> "JointCells":
        """Cells of the served histories, whose states are given in order; N is ``clusters``."""
        members = np.zeros((len(served), clusters))
        for place, row in enumerate(served):
            members[place, row.history] = 1.0
        repeated = np.repeat(np.arange(len(served)), [len(row.clusters) for row in served])
        return cls(
            states=states,
            members=members[repeated],
            clusters=np.concatenate([np.array(row.clusters, dtype=np.int64) for row in served]),
            scores=np.concatenate([row.scores for row in served]),
            weights=np.concatenate([row.weights for row in served]),
            folds=repeated % FOLDS,
        )

    def part(self, chosen: NDArray[np.bool_]) -> "JointCells":
        """Some of the rows."""
        return JointCells(**{name: values[chosen] for name, values in vars(self).items()})


def choose_spreads(cells: JointCells) -> Spreads:
    """The spreads of least deviance on left-out histories, one fifth of them; the middle ones where there are too few.

    First the head's, beside affinities of the middle spread, then the affinities': they hardly depend on each other.
    """
    chosen = Spreads(HEAD_SPREADS[1], BIAS_SPREAD, AFFINITY_SPREADS[1])
    out = cells.folds == 0
    if not (out.any() and (~out).any()):
        return chosen
    kept, left_out = cells.part(~out), cells.part(out)
    for name, values in (("head", HEAD_SPREADS), ("affinity", AFFINITY_SPREADS)):
        candidates = [replace(chosen, **{name: value}) for value in values]
        deviances = [_deviance(fit_joint_head(kept, spreads, CHOOSING_ITERATIONS), left_out) for spreads in candidates]
        chosen = candidates[int(np.argmin(deviances))]
    return chosen


def fit_joint_head(cells: JointCells, spreads: Spreads, iterations: int = ITERATIONS) -> JointHead:
    """Fit head, biases and affinities together.

    Each round solves the weighted least-squares system of all of them exactly: biases and affinities of one cluster
    meet those of another only through the head, so they are eliminated cluster by cluster (the Schur complement), and
    the head's own system, [hidden, hidden], is solved last.

    Args:
        cells: to learn from; weights count as impressions.
        spreads: see :class:`Spreads`; 0 leaves a kind out.
        iterations: of reweighting.
    """
    middle, scale = _standards(cells)
    x = (cells.states - middle) / scale
    clusters = cells.members.shape[1]
    constant = float(logit(np.clip(np.average(cells.scores, weights=cells.weights), LEAST_MEAN, 1 - LEAST_MEAN)))
    rows = [np.flatnonzero(cells.clusters == cluster) for cluster in range(clusters)]
    effects = [np.c_[np.ones(len(own)), cells.members[own]] for own in rows]
    precision = np.diag([1 / max(spreads.bias, TINY) ** 2, *[1 / max(spreads.affinity, TINY) ** 2] * clusters])
    head, own_effects = np.zeros(x.shape[1]), np.zeros((clusters, 1 + clusters))
    for _ in range(iterations):
        eta = x @ head
        for cluster, own in enumerate(rows):
            eta[own] += effects[cluster] @ own_effects[cluster]
        rates = expit(constant + eta)
        variances = rates * (1 - rates)
        working = eta + (cells.scores - rates) / variances
        weights = cells.weights * variances
        gram, moment = np.eye(x.shape[1]) / max(spreads.head, TINY) ** 2, np.zeros(x.shape[1])
        solved: list[Array] = []
        for own, z in zip(rows, effects, strict=True):
            weighted = x[own] * weights[own, None]
            cross, right = z.T @ weighted, z.T @ (weights[own] * working[own])
            solution = np.linalg.solve(
                (z * weights[own, None]).T @ z + precision, np.concatenate([cross, right[:, None]], axis=1)
            )
            gram += weighted.T @ x[own] - cross.T @ solution[:, :-1]
            moment += weighted.T @ working[own] - cross.T @ solution[:, -1]
            solved.append(solution)
        head = np.asarray(np.linalg.solve(gram, moment))
        own_effects = np.stack([solution[:, -1] - solution[:, :-1] @ head for solution in solved])
    unscaled = head / scale
    bias = own_effects[:, 0] + constant - float(middle @ unscaled)
    return JointHead(unscaled, AdditiveAffinity(bias, np.ascontiguousarray(own_effects[:, 1:].T)), spreads)


TINY = 1e-6  # a spread of 0 has no precision


def _standards(cells: JointCells) -> tuple[Array, Array]:
    """[hidden] means and scales that give every state coordinate an equal share of the head's spread."""
    middle = np.average(cells.states, axis=0, weights=cells.weights)
    variance = np.average((cells.states - middle) ** 2, axis=0, weights=cells.weights)
    return middle, np.sqrt(variance * cells.states.shape[1]) + TINY


def _deviance(fitted: JointHead, cells: JointCells) -> float:
    """Weighted mean of -(L log p + (1 - L) log(1 - p))."""
    affinities = np.einsum("rn,nr->r", cells.members, fitted.offsets.affinity[:, cells.clusters])
    eta = cells.states @ fitted.head + fitted.offsets.bias[cells.clusters] + affinities
    return float(np.average(np.logaddexp(0, eta) - cells.scores * eta, weights=cells.weights))
