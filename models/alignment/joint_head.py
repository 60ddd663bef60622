"""The stack: the alignment model's linear head and an additive affinity model, fitted together to the training cells.

    log-odds of the rate of C after S = constant + head . x(S, C) + bias[C] + sum over c in S of affinity[c, C]
    affinity[c, C] = u[c] . v[C] + own[c, C]

x is the language model's state. Head, biases, embeddings u and v, and own affinities are normal around 0, each kind
with a spread of its own: a generalised linear mixed model, fitted by penalised iteratively reweighted least squares
(Breslow and Clayton 1993, "Approximate Inference in Generalized Linear Mixed Models", section 2). What the words
explain goes to the head, which all clusters share; the rest goes to the effects of single clusters. The embeddings
shrink the affinities towards a low rank, because tastes have few dimensions: without them a factorisation alone ranked
better than the stack. Two predictions mixed afterwards (stacked regression) ranked worse than one fit: the affinities
then have already explained, each with its own noise, what the words could have explained for all of them. A cluster
that was never served has a head of its own, see ``never_served``.

It is fitted to raw rates, each with its evidence. Labels L are already shrunk: with those, the fitted spreads are too
wide, because there is no noise left that would make them smaller. The spreads are those of least deviance on validation
histories, which the body never learned from: left-out histories that taught the body make the head look too good.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import expit, logit

from models.alignment.candidate_reader import CandidateStates
from models.alignment.examples import ServedHistory
from models.alignment.linear_head import LEAST_MEAN
from models.arrays import Float64Array, IntArray
from models.feedback.affinity import AdditiveAffinity
from models.files import replacing

BIAS_SPREAD = 0.6
HEAD_SPREADS = (0.06, 0.1, 0.18, 0.32, 0.6)
HEAD_SPREADS_ALONE = (*HEAD_SPREADS, 1.0, 1.8, 3.2)  # without biases, the head has to separate the clusters too
EMBEDDING_SPREADS = (0.1, 0.15, 0.2, 0.3)
AFFINITY_SPREADS = (0.03, 0.06, 0.12)
RANK = 8
ALONE_FILE = "language_model_alone.npz"
CHOOSING_ITERATIONS, ITERATIONS = 4, 10
START = 0.2  # length of the coordinates of u in the first round
TINY = 1e-6  # a spread of 0 has no precision


@dataclass(frozen=True)
class Spreads:
    """Prior standard deviations in log-odds: of the head's whole share, of a bias, of one own affinity.

    ``embedding`` is that of one coordinate of u and v: the product of two has the spread embedding^2 * sqrt(RANK).
    """

    head: float
    bias: float
    embedding: float
    affinity: float


@dataclass(frozen=True, eq=False)
class JointHead:
    """What was fitted.

    Attributes:
        head: [hidden].
        offsets: constant and biases in one, and affinities, in log-odds.
        spreads: that they were fitted with.
        middle: [hidden] weighted mean state of the training cells.
    """

    head: Float64Array
    offsets: AdditiveAffinity
    spreads: Spreads
    middle: Float64Array

    def save(self, path: Path) -> None:
        """Write it beside a checkpoint."""
        arrays = {"head": self.head, "bias": self.offsets.bias, "affinity": self.offsets.affinity}
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays, middle=self.middle, spreads=np.array(astuple(self.spreads)))

    @classmethod
    def load(cls, path: Path) -> "JointHead":
        """Read what :meth:`save` wrote."""
        with np.load(path) as arrays:
            offsets = AdditiveAffinity(arrays["bias"], arrays["affinity"])
            return cls(arrays["head"], offsets, Spreads(*arrays["spreads"].tolist()), arrays["middle"])


@dataclass(frozen=True, eq=False)
class JointCells:
    """Cells: states [rows, hidden], members [rows, N] of their histories, clusters, rates, weights [rows]."""

    states: Float64Array
    members: Float64Array
    clusters: IntArray
    rates: Float64Array
    weights: Float64Array

    @classmethod
    def of(cls, states: Float64Array, served: Sequence[ServedHistory], clusters: int) -> "JointCells":
        """Cells of the served histories, whose states are given in order; N is ``clusters``."""
        members = np.zeros((len(served), clusters))
        for place, row in enumerate(served):
            members[place, row.history] = 1.0
        repeated = np.repeat(np.arange(len(served)), [len(row.clusters) for row in served])
        return cls(
            states=states,
            members=members[repeated],
            clusters=np.concatenate([np.array(row.clusters, dtype=np.int64) for row in served]),
            rates=np.concatenate([row.rates for row in served]),
            weights=np.concatenate([row.weights for row in served]),
        )


def choose_spreads(training: JointCells, validation: JointCells | None) -> Spreads:
    """The spreads of least deviance on the validation cells; without any, the middle ones.

    One kind after the other, while the others are at their middle or already chosen.
    """
    chosen = Spreads(HEAD_SPREADS[2], BIAS_SPREAD, EMBEDDING_SPREADS[1], AFFINITY_SPREADS[1])
    for kind, values in (("embedding", EMBEDDING_SPREADS), ("affinity", AFFINITY_SPREADS), ("head", HEAD_SPREADS)):
        chosen = _best_on_validation(training, validation, chosen, kind, values)
    return chosen


def spreads_of_head_alone(training: JointCells, validation: JointCells | None) -> Spreads:
    """Likewise of a fit without biases and affinities: the language model alone."""
    start = Spreads(HEAD_SPREADS[-1], 0.0, 0.0, 0.0)
    return _best_on_validation(training, validation, start, "head", HEAD_SPREADS_ALONE)


def _best_on_validation(
    training: JointCells, validation: JointCells | None, spreads: Spreads, kind: str, values: Sequence[float]
) -> Spreads:
    """The spreads with the best value of one kind on the validation cells; unchanged without any."""
    if validation is None:
        return spreads
    candidates = [replace(spreads, **{kind: value}) for value in values]
    deviances = [deviance(fit_joint_head(training, each, CHOOSING_ITERATIONS), validation) for each in candidates]
    return candidates[int(np.argmin(deviances))]


def fit_joint_head(cells: JointCells, spreads: Spreads, iterations: int = ITERATIONS) -> JointHead:
    """Fit head, biases and affinities together.

    Each round first solves the weighted least-squares system of head, biases, v and own affinities exactly, then that
    of u. Effects of one cluster meet those of another only through the head, so they are eliminated cluster by cluster
    (the Schur complement), and the head's own system, [hidden, hidden], is solved last.

    Args:
        cells: to learn from; weights count as impressions.
        spreads: see :class:`Spreads`; 0 leaves a kind out.
        iterations: rounds, each with new weights.
    """
    middle, scale = _standards(cells)
    x = (cells.states - middle) / scale
    clusters = cells.members.shape[1]
    constant = float(logit(np.clip(np.average(cells.rates, weights=cells.weights), LEAST_MEAN, 1 - LEAST_MEAN)))
    rows = [np.flatnonzero(cells.clusters == cluster) for cluster in range(clusters)]
    head, effects = np.zeros(x.shape[1]), np.zeros((clusters, 1 + RANK + clusters))
    u = np.zeros((clusters, RANK))
    for iteration in range(iterations):
        design = np.concatenate([np.ones((len(x), 1)), cells.members @ u, cells.members], axis=1)
        eta = x @ head + (design * effects[cells.clusters]).sum(axis=1)
        weights, working = _reweighted(cells, constant, eta)
        head, effects = _solve_head(x, design, rows, weights, working, spreads)
        if spreads.embedding and iteration == 0:
            u = _leading_sides(effects[:, 1 + RANK :])
        elif spreads.embedding:
            own = np.concatenate([effects[:, :1], effects[:, 1 + RANK :]], axis=1)
            design = np.delete(design, np.s_[1 : 1 + RANK], axis=1)
            left = working - x @ head - (design * own[cells.clusters]).sum(axis=1)
            u = _solve_embeddings(cells.members, rows, effects[:, 1 : 1 + RANK], weights, left, spreads.embedding)
    unscaled = head / scale
    bias = effects[:, 0] + constant - float(middle @ unscaled)
    affinity = u @ effects[:, 1 : 1 + RANK].T + effects[:, 1 + RANK :].T
    return JointHead(unscaled, AdditiveAffinity(bias, np.ascontiguousarray(affinity)), spreads, middle)


def stack_scores(read: CandidateStates, head: Float64Array, offsets: AdditiveAffinity) -> list[Float64Array]:
    """Predicted rates of the candidates that were read, by history, under a head [hidden] and its offsets."""
    if not read.batches:
        return [np.zeros(0) for _ in read.candidates]
    parts = zip(read.by_history(read.array() @ head), offsets.scores(read.histories, read.candidates), strict=True)
    return [expit(part + offset) for part, offset in parts]


def _reweighted(cells: JointCells, constant: float, eta: Float64Array) -> tuple[Float64Array, Float64Array]:
    """[rows] weights and targets of the least-squares problem that the deviance has around eta."""
    means = expit(constant + eta)
    variances = means * (1 - means)
    return cells.weights * variances, eta + (cells.rates - means) / variances


def _solve_head(
    x: Float64Array,
    design: Float64Array,
    rows: list[IntArray],
    weights: Float64Array,
    working: Float64Array,
    spreads: Spreads,
) -> tuple[Float64Array, Float64Array]:
    """Head [hidden] and effects [N, 1 + RANK + N] of least squares, with u fixed."""
    clusters = len(rows)
    sizes = [spreads.bias, *[spreads.embedding] * RANK, *[spreads.affinity] * clusters]
    precision = np.diag(1 / np.maximum(sizes, TINY) ** 2)
    gram, moment = np.eye(x.shape[1]) / max(spreads.head, TINY) ** 2, np.zeros(x.shape[1])
    solved: list[Float64Array] = []
    for own in rows:
        z, weighted = design[own], x[own] * weights[own, None]
        cross, right = z.T @ weighted, z.T @ (weights[own] * working[own])
        solution = np.linalg.solve(
            (z * weights[own, None]).T @ z + precision, np.concatenate([cross, right[:, None]], axis=1)
        )
        gram += weighted.T @ x[own] - cross.T @ solution[:, :-1]
        moment += weighted.T @ working[own] - cross.T @ solution[:, -1]
        solved.append(solution)
    head = np.asarray(np.linalg.solve(gram, moment))
    return head, np.stack([solution[:, -1] - solution[:, :-1] @ head for solution in solved])


def _solve_embeddings(
    members: Float64Array,
    rows: list[IntArray],
    v: Float64Array,
    weights: Float64Array,
    targets: Float64Array,
    spread: float,
) -> Float64Array:
    """u [N, RANK] of least squares, with everything else fixed."""
    size = v.size
    gram, moment = np.eye(size) / max(spread, TINY) ** 2, np.zeros(v.shape)
    for own, side in zip(rows, v, strict=True):
        weighted = members[own] * weights[own, None]
        gram += np.kron(weighted.T @ members[own], np.outer(side, side))
        moment += np.outer(weighted.T @ targets[own], side)
    return np.asarray(np.linalg.solve(gram, moment.ravel())).reshape(v.shape)


def _leading_sides(own: Float64Array) -> Float64Array:
    """[N, RANK] where u starts: the leading singular vectors of affinities [offered, member], of equal length."""
    sides = np.linalg.svd(own.T, full_matrices=True)[0][:, :RANK]
    found = np.zeros((len(own), RANK))
    found[:, : sides.shape[1]] = sides * np.sqrt(len(own)) * START
    return found


def _standards(cells: JointCells) -> tuple[Float64Array, Float64Array]:
    """[hidden] means and scales that give every state coordinate an equal share of the head's spread."""
    middle = np.average(cells.states, axis=0, weights=cells.weights)
    variance = np.average((cells.states - middle) ** 2, axis=0, weights=cells.weights)
    return middle, np.sqrt(variance * cells.states.shape[1]) + TINY


def deviance(fitted: JointHead, cells: JointCells) -> float:
    """Weighted mean of -(rate log p + (1 - rate) log(1 - p))."""
    affinities = np.einsum("rn,nr->r", cells.members, fitted.offsets.affinity[:, cells.clusters])
    eta = cells.states @ fitted.head + fitted.offsets.bias[cells.clusters] + affinities
    return float(np.average(np.logaddexp(0, eta) - cells.rates * eta, weights=cells.weights))
