"""The stack: linear heads on the words, and an additive affinity model, fitted together to the training cells.

    log-odds of the rate of C after S
        = constant + head . s(S, C) + label head . x(S, C) + bias[C] + sum over c in S of affinity[c, C]
    affinity[c, C] = u[c] . v[C] + own[c, C]

s is the language model's state, and x what the vectors of the labels say (``label_features``). The heads, biases,
embeddings u and v, and own affinities are normal around 0, each kind with a spread of its own: a generalised linear
mixed model, fitted by penalised iteratively reweighted least squares (Breslow and Clayton 1993, "Approximate
Inference in Generalized Linear Mixed Models", section 2). What the words explain goes to the heads, which all
clusters share; the rest goes to the effects of single clusters. The embeddings shrink the affinities towards a low
rank, because tastes have few dimensions: without them a factorisation alone ranked better than the stack. Two
predictions mixed afterwards (stacked regression) ranked worse than one fit: the affinities then have already
explained, each with its own noise, what the words could have explained for all of them. A cluster that was never
served has a head of its own, see ``never_served``.

It is fitted to raw rates, each with its evidence. Labels L are already shrunk: with those, the fitted spreads are too
wide, because there is no noise left that would make them smaller. The spreads are those of least deviance on validation
histories, which the body never learned from: left-out histories that taught the body make the head look too good.

Reading a candidate by the language model costs a thousand times as much as looking its vectors up. So where there are
vectors, the head on the states has to earn its place: its spread is 0 unless it ranks the validation histories better,
by a lead in NDCG@k whose 95% interval lies above 0. The deviance proves too much: in one synthetic log of 768 clusters
it told a head on the states from 0, which moved NDCG@5 from 0.769 to 0.772.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import expit

from models.alignment.candidate_reader import CandidateStates
from models.alignment.joint_cells import JointCells, standards
from models.alignment.label_features import folded
from models.arrays import Float64Array, IntArray
from models.evaluation.metrics import evaluate_ranking
from models.feedback.affinity import AdditiveAffinity
from models.files import replacing
from models.progress import Log, Progress, silent

BIAS_SPREAD = 0.6
HEAD_SPREADS = (0.06, 0.1, 0.18, 0.32, 0.6)  # of either head
HEAD_SPREADS_ALONE = (*HEAD_SPREADS, 1.0, 1.8, 3.2)  # without biases, the head has to separate the clusters too
EMBEDDING_SPREADS = (0.1, 0.15, 0.2, 0.3)
AFFINITY_SPREADS = (0.03, 0.06, 0.12)
RANK = 8
ALONE_FILE = "language_model_alone.npz"
ADDITIVE = ("offsets", "label_words")  # parts of a joint head
CHOOSING_ITERATIONS, ITERATIONS = 4, 10
PROVEN = 1.96  # standard errors above 0
START = 0.2  # length of the coordinates of u in the first round
EMBEDDINGS_ERROR = 1e-10  # of u, relative, where conjugate gradients end: ten rounds then move no affinity by 1e-6


@dataclass(frozen=True)
class Spreads:
    """Prior standard deviations in log-odds: of each head's whole share, of a bias, of one own affinity.

    ``embedding`` is that of one coordinate of u and v: the product of two has the spread embedding^2 * sqrt(RANK).
    ``labels`` is that of the head on label vectors.
    """

    head: float
    bias: float
    embedding: float
    affinity: float
    labels: float = 0.0


@dataclass(frozen=True, eq=False)
class JointHead:
    """What was fitted.

    Attributes:
        head: [hidden] on the states.
        offsets: in log-odds, constant and biases in one, and affinities; what the vectors of the labels say is in both.
        label_words: the part of the offsets that the vectors of the labels say.
        spreads: that they were fitted with.
        middle: [hidden] weighted mean state of the training cells.
    """

    head: Float64Array
    offsets: AdditiveAffinity
    label_words: AdditiveAffinity
    spreads: Spreads
    middle: Float64Array

    def save(self, path: Path) -> None:
        """Write it beside a checkpoint."""
        arrays = {"head": self.head, "middle": self.middle, "spreads": np.array(astuple(self.spreads))}
        for name in ADDITIVE:
            part = getattr(self, name)
            arrays |= {f"{name}_bias": part.bias, f"{name}_affinity": part.affinity}
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> "JointHead":
        """Read what :meth:`save` wrote."""
        with np.load(path) as arrays:
            parts = {name: AdditiveAffinity(arrays[f"{name}_bias"], arrays[f"{name}_affinity"]) for name in ADDITIVE}
            return cls(arrays["head"], **parts, spreads=Spreads(*arrays["spreads"].tolist()), middle=arrays["middle"])


class _Problem:
    """What does not change between the fits to the same cells.

    Attributes:
        cells: in the order of their clusters.
        words: [rows, hidden + 2 dimensions] states and label features: all have mean 0, and those of a kind each an
            equal share of the spread of its head.
        hidden: how many of these columns are states.
        middle, scale: [hidden + 2 dimensions] what was subtracted and what they were divided by.
        constant: log-odds of the mean rate.
        parts: of each cluster with cells its number, its rows, their members (sparse) and which clusters these are. Any
            other member has the affinity 0: it meets nothing but its prior.
    """

    def __init__(self, cells: JointCells) -> None:
        self.cells = cells = cells.taken(np.argsort(cells.clusters, kind="stable"))
        kinds = cells.states, cells.label_features()
        self.hidden = cells.states.shape[1]
        found = [standards(x, cells.weights) for x in kinds]
        self.middle, self.scale = (np.concatenate(side) for side in zip(*found, strict=True))
        self.words = (np.concatenate(kinds, axis=1) - self.middle) / self.scale
        self.constant = cells.mean_log_odds()
        clusters, starts = np.unique(cells.clusters, return_index=True)
        self.parts: list[tuple[int, slice, csr_matrix, IntArray]] = []
        for cluster, start, end in zip(clusters.tolist(), starts, [*starts[1:], len(cells.clusters)], strict=True):
            members = cells.members[start:end]
            occurring = np.unique(members.indices).astype(np.int64)
            self.parts.append((cluster, slice(start, end), members[:, occurring], occurring))

    def columns(self, spreads: Spreads) -> slice:
        """The columns of the words that have a head: a spread of 0 leaves a kind out."""
        return slice(0 if spreads.head else self.hidden, None if spreads.labels else self.hidden)

    def precisions(self, spreads: Spreads) -> Float64Array:
        """[columns] of the coefficients of these columns."""
        sizes = self.hidden, self.words.shape[1] - self.hidden
        return np.asarray(np.repeat([spreads.head, spreads.labels], sizes)[self.columns(spreads)] ** -2.0)


def choose_spreads(
    training: JointCells, validation: JointCells | None, k: int, log: Log = silent, known: Spreads | None = None
) -> Spreads:
    """The spreads of least deviance on the validation cells; without any, the middle ones.

    One kind after the other, while the others are at their middle or already chosen. Where there are label vectors, the
    head on the states starts from 0, and stays there unless it proves better.

    Args:
        training: to learn from.
        validation: to choose by.
        k: the cut of NDCG.
        log: receives progress lines.
        known: what was chosen for the same cells with other states. Beside label vectors, all spreads but that of the
            head on the states are chosen without states, so they are the same.
    """
    middle = HEAD_SPREADS[2]
    chosen = Spreads(middle, BIAS_SPREAD, EMBEDDING_SPREADS[1], AFFINITY_SPREADS[1])
    kinds: dict[str, tuple[float, ...]] = {"embedding": EMBEDDING_SPREADS, "affinity": AFFINITY_SPREADS}
    if training.vectors.shape[1]:
        chosen = replace(chosen, head=0.0, labels=middle)
        kinds |= {"labels": HEAD_SPREADS, "head": (0.0, *HEAD_SPREADS)}
        if known is not None:
            chosen, kinds = replace(known, head=0.0), {"head": kinds["head"]}
    else:
        kinds["head"] = HEAD_SPREADS
    return _best_on_validation(training, validation, chosen, kinds, k, log)


def fit_stack_head(cells: JointCells, everything: JointCells, spreads: Spreads) -> JointHead:
    """Fit to the cells that were read; to all of them, without states, where the states have no head.

    Args:
        cells: a sample, with its states.
        everything: all training cells, with states of no columns.
        spreads: see :class:`Spreads`.
    """
    if spreads.head:
        return fit_joint_head(cells, spreads)
    nothing = np.zeros(cells.states.shape[1])
    return replace(fit_joint_head(everything, spreads), head=nothing, middle=nothing)


def spreads_of_head_alone(training: JointCells, validation: JointCells | None, log: Log = silent) -> Spreads:
    """Likewise of a fit without biases, affinities and label vectors: the language model alone."""
    start = Spreads(HEAD_SPREADS[-1], 0.0, 0.0, 0.0)
    return _best_on_validation(training, validation, start, {"head": HEAD_SPREADS_ALONE}, 1, log)


def _best_on_validation(
    training: JointCells,
    validation: JointCells | None,
    spreads: Spreads,
    kinds: Mapping[str, Sequence[float]],
    k: int,
    log: Log,
) -> Spreads:
    """The spreads with the best value of each kind on the validation cells; unchanged without any.

    A kind whose first value is 0 keeps it unless the best one proves better.
    """
    if validation is None:
        return spreads
    problem = _Problem(training)
    progress = Progress(sum(map(len, kinds.values())), "fits to choose spreads", log)
    for kind, values in kinds.items():
        candidates = [replace(spreads, **{kind: value}) for value in values]
        found = []
        for each in candidates:
            found.append(_log_odds(_fit(problem, each, CHOOSING_ITERATIONS), validation))
            progress.advance()
        best = int(np.argmin([_deviance(log_odds, validation) for log_odds in found]))
        if not values[0]:
            first, last = (_history_ndcg(found[place], validation, k) for place in (0, best))
            best = best if is_proven((last - first)[np.isfinite(last - first)]) else 0
        spreads = candidates[best]
    return spreads


def is_proven(gains: Float64Array) -> bool:
    """Whether the 95% interval of the mean of gains lies above 0, by the normal approximation."""
    return len(gains) > 1 and bool(gains.mean() > PROVEN * gains.std(ddof=1) / np.sqrt(len(gains)))


def fit_joint_head(cells: JointCells, spreads: Spreads, iterations: int = ITERATIONS) -> JointHead:
    """Fit heads, biases and affinities together.

    Each round first solves the weighted least-squares system of heads, biases, v and own affinities exactly, then that
    of u. Effects of one cluster meet those of another only through the heads, so they are eliminated cluster by
    cluster, and the heads' own system is solved last.

    Args:
        cells: to learn from; weights count as impressions.
        spreads: see :class:`Spreads`; 0 leaves a kind out.
        iterations: rounds, each with new weights.
    """
    return _fit(_Problem(cells), spreads, iterations)


def _fit(problem: _Problem, spreads: Spreads, iterations: int) -> JointHead:
    cells, clusters = problem.cells, problem.cells.members.shape[1]
    columns = problem.columns(spreads)
    words, heads = problem.words[:, columns], np.zeros(problem.words.shape[1])
    bias = np.zeros(clusters)
    u, v, own = np.zeros((clusters, RANK)), np.zeros((clusters, RANK)), np.zeros((clusters, clusters))
    for iteration in range(iterations):
        eta = words @ heads[columns] + bias[cells.clusters] + cells.affinities(u @ v.T + own)
        weights, working = _reweighted(cells, problem.constant, eta)
        heads[columns], bias, v, own = _solve_heads(problem, u, weights, working, spreads)
        if spreads.embedding and iteration == 0:
            u = _leading_sides(own)
        elif spreads.embedding:
            left = working - words @ heads[columns] - bias[cells.clusters] - cells.affinities(own)
            u = _solve_embeddings(cells, u, v, weights, left, spreads.embedding)
    heads /= problem.scale
    label_words = folded(cells.vectors, heads[problem.hidden :])
    bias += problem.constant - float(problem.middle @ heads) + label_words.bias
    offsets = AdditiveAffinity(bias, u @ v.T + own + label_words.affinity)
    return JointHead(heads[: problem.hidden], offsets, label_words, spreads, problem.middle[: problem.hidden])


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


def _solve_heads(
    problem: _Problem, u: Float64Array, weights: Float64Array, working: Float64Array, spreads: Spreads
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Heads [columns], biases [N], v [N, RANK] and own affinities [N, N] of least squares, with u fixed."""
    x, clusters = problem.words[:, problem.columns(spreads)], len(u)
    root = np.sqrt(weights)[:, None]
    solved = root * np.concatenate([x, working[:, None]], axis=1)
    for _, rows, members, occurring in problem.parts:
        z = root[rows] * _design(members, u[occurring], spreads)
        solved[rows] = root[rows] * _beside_effects(z, solved[rows])
    system = x.T @ solved
    gram = system[:, :-1] + np.diag(problem.precisions(spreads))
    heads = np.asarray(np.linalg.solve(gram, system[:, -1]))
    bias, v, own = np.zeros(clusters), np.zeros((clusters, RANK)), np.zeros((clusters, clusters))
    left = root * (working - x @ heads)[:, None]
    for cluster, rows, members, occurring in problem.parts:
        design = _design(members, u[occurring], spreads)
        effects = (design.T @ (root[rows] * _beside_effects(root[rows] * design, left[rows]))).ravel()
        bias[cluster] = spreads.bias * effects[0]
        v[cluster] = spreads.embedding * effects[1 : 1 + RANK]
        own[occurring, cluster] = spreads.affinity * effects[1 + RANK :]
    return heads, bias, v, own


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


def _log_odds(fitted: JointHead, cells: JointCells) -> Float64Array:
    """[rows] of the rates that are predicted."""
    offsets = fitted.offsets.bias[cells.clusters] + cells.affinities(fitted.offsets.affinity)
    return offsets + cells.states @ fitted.head if fitted.spreads.head else offsets


def _deviance(log_odds: Float64Array, cells: JointCells) -> float:
    """Weighted sum of -(rate log p + (1 - rate) log(1 - p))."""
    return float(cells.weights @ (np.logaddexp(0, log_odds) - cells.rates * log_odds))


def _history_ndcg(log_odds: Float64Array, cells: JointCells, k: int) -> Float64Array:
    """[histories] NDCG@k of the ranking of its cells; NaN where they are fewer than 2k, or none has a positive rate."""
    rows = [np.flatnonzero(cells.histories == history) for history in np.unique(cells.histories)]
    return evaluate_ranking([log_odds[own] for own in rows], [cells.rates[own] for own in rows], k).history_ndcg
