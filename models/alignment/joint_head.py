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

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import LinearOperator, cg
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
EMBEDDINGS_ERROR = 1e-10  # of u, relative, where conjugate gradients end: ten rounds then move no affinity by 1e-6


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
    """Cells: states [rows, hidden], members [rows, N] of their histories, clusters, rates, weights [rows].

    Members are sparse, K of them in a row: work and memory follow the cells, not their number times N.
    """

    states: Float64Array
    members: csr_matrix
    clusters: IntArray
    rates: Float64Array
    weights: Float64Array

    @classmethod
    def of(cls, states: Float64Array, served: Sequence[ServedHistory], clusters: int) -> "JointCells":
        """Cells of the served histories, whose states are given in order; N is ``clusters``."""
        histories = [row.history for row in served for _ in row.clusters]
        ends = np.cumsum([0, *map(len, histories)])
        columns = np.fromiter(chain.from_iterable(histories), np.int64, ends[-1])
        return cls(
            states=states,
            members=csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(histories), clusters)),
            clusters=np.concatenate([np.array(row.clusters, dtype=np.int64) for row in served]),
            rates=np.concatenate([row.rates for row in served]),
            weights=np.concatenate([row.weights for row in served]),
        )

    def taken(self, rows: IntArray) -> "JointCells":
        """The cells of these rows, in their order."""
        return JointCells(**{name: values[rows] for name, values in vars(self).items()})

    def affinities(self, affinity: Float64Array) -> Float64Array:
        """[rows] sum of the affinities [member, offered] of the members of a row with its cluster."""
        row = np.repeat(np.arange(len(self.clusters)), np.diff(self.members.indptr))
        found = affinity[self.members.indices, self.clusters[row]]
        return np.bincount(row, weights=found, minlength=len(self.clusters)).astype(np.float64)


class _Problem:
    """What does not change between the fits to the same cells.

    Attributes:
        cells: in the order of their clusters; the states have mean 0, and each an equal share of the head's spread.
        middle: [hidden] weighted mean of the states as they were.
        scale: [hidden] by which they were divided.
        constant: log-odds of the mean rate.
        parts: of each cluster with cells its number, its rows, their members (sparse) and which clusters these are. Any
            other member has the affinity 0: it meets nothing but its prior.
    """

    def __init__(self, cells: JointCells) -> None:
        self.middle, self.scale = standards(cells)
        cells = cells.taken(np.argsort(cells.clusters, kind="stable"))
        self.cells = replace(cells, states=(cells.states - self.middle) / self.scale)
        self.constant = mean_log_odds(cells)
        found, starts = np.unique(cells.clusters, return_index=True)
        self.parts: list[tuple[int, slice, csr_matrix, IntArray]] = []
        for cluster, start, end in zip(found.tolist(), starts, [*starts[1:], len(cells.clusters)], strict=True):
            members = cells.members[start:end]
            occurring = np.unique(members.indices).astype(np.int64)
            self.parts.append((cluster, slice(start, end), members[:, occurring], occurring))


def choose_spreads(training: JointCells, validation: JointCells | None) -> Spreads:
    """The spreads of least deviance on the validation cells; without any, the middle ones.

    One kind after the other, while the others are at their middle or already chosen.
    """
    chosen = Spreads(HEAD_SPREADS[2], BIAS_SPREAD, EMBEDDING_SPREADS[1], AFFINITY_SPREADS[1])
    kinds = {"embedding": EMBEDDING_SPREADS, "affinity": AFFINITY_SPREADS, "head": HEAD_SPREADS}
    return _best_on_validation(training, validation, chosen, kinds)


def spreads_of_head_alone(training: JointCells, validation: JointCells | None) -> Spreads:
    """Likewise of a fit without biases and affinities: the language model alone."""
    start = Spreads(HEAD_SPREADS[-1], 0.0, 0.0, 0.0)
    return _best_on_validation(training, validation, start, {"head": HEAD_SPREADS_ALONE})


def _best_on_validation(
    training: JointCells, validation: JointCells | None, spreads: Spreads, kinds: Mapping[str, Sequence[float]]
) -> Spreads:
    """The spreads with the best value of each kind on the validation cells; unchanged without any."""
    if validation is None:
        return spreads
    problem = _Problem(training)
    for kind, values in kinds.items():
        candidates = [replace(spreads, **{kind: value}) for value in values]
        deviances = [deviance(_fit(problem, each, CHOOSING_ITERATIONS), validation) for each in candidates]
        spreads = candidates[int(np.argmin(deviances))]
    return spreads


def fit_joint_head(cells: JointCells, spreads: Spreads, iterations: int = ITERATIONS) -> JointHead:
    """Fit head, biases and affinities together.

    Each round first solves the weighted least-squares system of head, biases, v and own affinities exactly, then that
    of u. Effects of one cluster meet those of another only through the head, so they are eliminated cluster by cluster,
    and the head's own system, [hidden, hidden], is solved last.

    Args:
        cells: to learn from; weights count as impressions.
        spreads: see :class:`Spreads`; 0 leaves a kind out.
        iterations: rounds, each with new weights.
    """
    return _fit(_Problem(cells), spreads, iterations)


def _fit(problem: _Problem, spreads: Spreads, iterations: int) -> JointHead:
    cells, clusters = problem.cells, problem.cells.members.shape[1]
    head, bias = np.zeros(cells.states.shape[1]), np.zeros(clusters)
    u, v, own = np.zeros((clusters, RANK)), np.zeros((clusters, RANK)), np.zeros((clusters, clusters))
    for iteration in range(iterations):
        eta = cells.states @ head + bias[cells.clusters] + cells.affinities(u @ v.T + own)
        weights, working = _reweighted(cells, problem.constant, eta)
        head, bias, v, own = _solve_head(problem, u, weights, working, spreads)
        if spreads.embedding and iteration == 0:
            u = _leading_sides(own)
        elif spreads.embedding:
            left = working - cells.states @ head - bias[cells.clusters] - cells.affinities(own)
            u = _solve_embeddings(cells, u, v, weights, left, spreads.embedding)
    unscaled = head / problem.scale
    bias += problem.constant - float(problem.middle @ unscaled)
    return JointHead(unscaled, AdditiveAffinity(bias, u @ v.T + own), spreads, problem.middle)


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
    problem: _Problem, u: Float64Array, weights: Float64Array, working: Float64Array, spreads: Spreads
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Head [hidden], biases [N], v [N, RANK] and own affinities [N, N] of least squares, with u fixed."""
    x, clusters = problem.cells.states, len(u)
    root = np.sqrt(weights)[:, None]
    solved = root * np.concatenate([x, working[:, None]], axis=1)
    for _, rows, members, occurring in problem.parts:
        z = root[rows] * _design(members, u[occurring], spreads)
        solved[rows] = root[rows] * _beside_effects(z, solved[rows])
    system = x.T @ solved
    gram = system[:, :-1] + np.eye(x.shape[1]) / max(spreads.head, TINY) ** 2
    head = np.asarray(np.linalg.solve(gram, system[:, -1]))
    bias, v, own = np.zeros(clusters), np.zeros((clusters, RANK)), np.zeros((clusters, clusters))
    left = root * (working - x @ head)[:, None]
    for cluster, rows, members, occurring in problem.parts:
        design = _design(members, u[occurring], spreads)
        effects = (design.T @ (root[rows] * _beside_effects(root[rows] * design, left[rows]))).ravel()
        bias[cluster] = spreads.bias * effects[0]
        v[cluster] = spreads.embedding * effects[1 : 1 + RANK]
        own[occurring, cluster] = spreads.affinity * effects[1 + RANK :]
    return head, bias, v, own


def _design(members: csr_matrix, u: Float64Array, spreads: Spreads) -> Float64Array:
    """[rows, 1 + RANK + members] of one cluster's effects, each in units of its spread."""
    ones = np.full((members.shape[0], 1), spreads.bias)
    return np.concatenate([ones, spreads.embedding * (members @ u), spreads.affinity * members.toarray()], axis=1)


def _beside_effects(z: Float64Array, right: Float64Array) -> Float64Array:
    """(1 + z z^T)^-1 right: what the normal effects of a design z leave over.

    By the smaller of two systems that are equal (Woodbury 1950): rows are few where clusters are many. No eigenvalue is
    below 1, so the inverse itself is exact enough.
    """
    rows, effects = z.shape
    if rows <= effects:
        return np.asarray(np.linalg.inv(np.eye(rows) + z @ z.T) @ right)
    return np.asarray(right - z @ (np.linalg.inv(np.eye(effects) + z.T @ z) @ (z.T @ right)))


def _solve_embeddings(
    cells: JointCells, u: Float64Array, v: Float64Array, weights: Float64Array, targets: Float64Array, spread: float
) -> Float64Array:
    """u [N, RANK] of least squares, with everything else fixed: conjugate gradients from the u of the last round.

    Two members meet only where one history has both, so the system of each member alone is a good preconditioner.
    """
    members, sides = cells.members, v[cells.clusters]

    def gathered(rows: Float64Array) -> Float64Array:
        return np.asarray(members.T @ (rows[:, None] * sides))

    def normal(flat: Float64Array) -> Float64Array:
        each = flat.reshape(u.shape)
        return np.asarray((gathered(weights * ((members @ each) * sides).sum(axis=1)) + each / spread**2).ravel())

    squares = (sides[:, :, None] * sides[:, None, :]).reshape(len(sides), -1)
    alone = (members.T @ (weights[:, None] * squares)).reshape(-1, RANK, RANK) + np.eye(RANK) / spread**2
    inverse = np.linalg.inv(alone)

    def precondition(flat: Float64Array) -> Float64Array:
        return np.asarray(np.einsum("nij,nj->ni", inverse, flat.reshape(u.shape)).ravel())

    shape = (u.size, u.size)
    found, _ = cg(
        LinearOperator(shape, normal, dtype=np.float64),
        gathered(weights * targets).ravel(),
        u.ravel(),
        rtol=EMBEDDINGS_ERROR,
        M=LinearOperator(shape, precondition, dtype=np.float64),
    )
    return np.asarray(found).reshape(u.shape)


def _leading_sides(own: Float64Array) -> Float64Array:
    """[N, RANK] where u starts: the leading singular vectors of affinities [member, offered], of equal length."""
    sides = np.linalg.svd(own, full_matrices=True)[0][:, :RANK]
    found = np.zeros((len(own), RANK))
    found[:, : sides.shape[1]] = sides * np.sqrt(len(own)) * START
    return found


def mean_log_odds(cells: JointCells) -> float:
    """Log-odds of the mean rate."""
    mean = np.average(cells.rates, weights=cells.weights)
    return float(logit(np.clip(mean, LEAST_MEAN, 1 - LEAST_MEAN)))


def standards(cells: JointCells) -> tuple[Float64Array, Float64Array]:
    """[hidden] means and scales that give every state coordinate an equal share of the head's spread."""
    middle = np.average(cells.states, axis=0, weights=cells.weights)
    variance = np.average((cells.states - middle) ** 2, axis=0, weights=cells.weights)
    return middle, np.sqrt(variance * cells.states.shape[1]) + TINY


def deviance(fitted: JointHead, cells: JointCells) -> float:
    """Weighted mean of -(rate log p + (1 - rate) log(1 - p))."""
    offsets = fitted.offsets
    eta = cells.states @ fitted.head + offsets.bias[cells.clusters] + cells.affinities(offsets.affinity)
    return float(np.average(np.logaddexp(0, eta) - cells.rates * eta, weights=cells.weights))
