"""What comes next by counting: a law over the clusters outside a history, from their affinities to its members.

    log p(C | S) = bias[C] + sum over c in S of affinity[c, C] - log of the sum over the clusters outside S
    affinity[c, C] = own[c, C] + v[c] . W v[C]

v are vectors of the labels, so that clusters whose words are alike share what is known of them. Everything is normal
around 0, and the most probable values are found (a multinomial logistic regression with a ridge). Affinities are mostly
mutual: who likes c and then C might have found them in the other order. So the symmetric part of own and W has a spread
of its own, and members of a history count as what came next, too, with a weight and a bias of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.optimize import minimize

from models.arrays import AnyFloatArray, Float64Array
from models.language.prompts import History
from models.novelty.transitions import (
    BothWays,
    TransitionCounts,
    masked_log_softmax,
    mean_loss,
    member_matrix,
)
from models.progress import Log, Progress, silent

BIAS_SPREAD = 1.0
ITERATIONS = 200
TOLERANCE, CHOOSING_TOLERANCE = 1e-6, 1e-5
"""Shares of the log posterior: with the coarser one losses differ by 0.0003 nats, in half of the rounds."""
LEAST_LENGTH = 1e-6  # of a direction, as a share of the longest: shorter ones are rounding


@dataclass(frozen=True)
class Spreads:
    """Prior standard deviations in nats, and how much the members of histories count.

    Attributes:
        mutual: of the symmetric part of an own affinity; 0 leaves them out.
        one_way: of the other part, as a share of ``mutual``; 1 is the plain ridge.
        members: what a member counts as the next cluster, in transitions.
        words: of what the label vectors add to an affinity.
    """

    mutual: float
    one_way: float = 1.0
    members: float = 0.0
    words: float = 0.0


MUTUAL_SPREADS = (0.05, 0.1, 0.2, 0.3, 0.45, 0.7)
ONE_WAY_SHARES = (0.1, 0.3, 1.0)
MEMBER_WEIGHTS = (0.0, 0.3, 1.0)
WORD_SPREADS = (0.0, 0.1, 0.2, 0.4, 0.8)
START = Spreads(mutual=0.2, one_way=0.3, members=0.3, words=0.2)
GRID = (
    ("mutual", MUTUAL_SPREADS), ("one_way", ONE_WAY_SHARES), ("members", MEMBER_WEIGHTS), ("words", WORD_SPREADS),
    ("mutual", MUTUAL_SPREADS),
)  # fmt: skip
"""One kind after the other; the own affinities are chosen again once the words take their part."""


@dataclass(frozen=True, eq=False)
class LabelCoordinates:
    """How label vectors become coordinates: centred, scaled, and turned to the main directions of the labels.

    Attributes:
        middle: [dimensions].
        turn: [dimensions, coordinates].
    """

    middle: Float64Array
    turn: Float64Array

    @classmethod
    def of(cls, vectors: AnyFloatArray) -> "LabelCoordinates":
        """Of the labels with these vectors [clusters, dimensions]: their coordinates have a mean square of 1 in all.

        So a spread of W is about that of the affinities that it makes.
        """
        middle = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - middle
        scale = centred.std(axis=0) + np.finfo(np.float32).eps
        left, lengths, directions = np.linalg.svd(centred / scale, full_matrices=False)
        kept = lengths > lengths[0] * LEAST_LENGTH
        size = np.sqrt((lengths[kept] ** 2).sum() / len(left))
        return cls(middle, directions[kept].T / scale[:, None] / size)

    def __call__(self, vectors: AnyFloatArray) -> Float64Array:
        """[labels, coordinates]."""
        return np.asarray((vectors - self.middle) @ self.turn)


@dataclass(frozen=True, eq=False)
class AffinityLaw:
    """What was fitted.

    Attributes:
        bias: [clusters].
        own: [clusters, clusters], member by next cluster.
        coordinates: [clusters, coordinates] of the labels.
        words: [coordinates, coordinates] W.
        spreads: that it was fitted with.
    """

    bias: Float64Array
    own: Float64Array
    coordinates: Float64Array
    words: Float64Array
    spreads: Spreads

    def scores(self, histories: Sequence[History]) -> Float64Array:
        """[histories, clusters] in nats, before the clusters of the histories are masked."""
        members = member_matrix(histories, len(self.bias))
        by_words = members @ self.coordinates @ self.words @ self.coordinates.T
        return np.asarray(self.bias + members @ self.own + by_words)

    def log_probabilities(self, histories: Sequence[History]) -> Float64Array:
        """[histories, clusters], minus infinity inside a history."""
        return self.at_temperature(histories, 1.0)

    def at_temperature(self, histories: Sequence[History], temperature: float) -> Float64Array:
        """The same with the scores divided by a temperature."""
        return masked_log_softmax(self.scores(histories) / temperature, member_matrix(histories, len(self.bias)))

    def with_labels(self, coordinates: Float64Array) -> "AffinityLaw":
        """The law with more clusters, which nobody has met: their words alone speak for them.

        Args:
            coordinates: [new clusters, coordinates] of their labels. Each has the mean bias.
        """
        more = len(coordinates)
        return replace(
            self,
            bias=np.concatenate([self.bias, np.full(more, self.bias.mean())]),
            own=np.pad(self.own, (0, more)),
            coordinates=np.concatenate([self.coordinates, coordinates]),
        )


def fit_affinity_law(
    taught: BothWays,
    spreads: Spreads,
    coordinates: Float64Array | None = None,
    least_gain: float = TOLERANCE,
) -> AffinityLaw:
    """Find the most probable biases and affinities.

    Args:
        taught: the transitions.
        spreads: how far they may lie from 0.
        coordinates: [clusters, coordinates] of the labels, for the words.
        least_gain: the fit ends when a round gains less than this share of the log posterior.
    """
    parts = [Part(taught.came, 1.0)]
    if spreads.members:
        parts.append(Part(taught.members_came, spreads.members))
    if coordinates is None or not spreads.words:
        coordinates = np.zeros((taught.came.clusters, 0))
    objective = _Objective(parts, coordinates, spreads)
    start, ends = np.zeros(objective.size), {"maxiter": ITERATIONS, "ftol": least_gain}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=ends)
    biases, own, words = objective.unpack(found.x)
    return AffinityLaw(parts[0].base + biases[0], own, coordinates, words, spreads)


@dataclass(frozen=True, eq=False)
class Part:
    """Counted transitions that share the affinities, and their weight."""

    transitions: TransitionCounts
    weight: float

    @cached_property
    def base(self) -> Float64Array:
        """[clusters] the biases that the fit starts from."""
        return self.transitions.log_popularity()


class _Objective:
    """Minus the log posterior, and its gradient, as a function of biases, own affinities and W in one vector."""

    def __init__(self, parts: Sequence[Part], coordinates: Float64Array, spreads: Spreads) -> None:
        self.parts, self.coordinates, self.spreads = parts, coordinates, spreads
        self.clusters, self.dimensions = coordinates.shape
        self.size = len(parts) * self.clusters + self.clusters**2 + self.dimensions**2

    def unpack(self, flat: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Biases [parts, N], own affinities [N, N], W [dimensions, dimensions]."""
        n = self.clusters
        biases, own, words = np.split(flat, [len(self.parts) * n, len(self.parts) * n + n * n])
        return biases.reshape(-1, n), own.reshape(n, n), words.reshape(self.dimensions, self.dimensions)

    def __call__(self, flat: Float64Array) -> tuple[float, Float64Array]:
        biases, own, words = self.unpack(flat)
        affinity = own + self.coordinates @ words @ self.coordinates.T
        value, slope_of_affinity, slopes = 0.0, np.zeros_like(affinity), []
        for part, bias in zip(self.parts, biases, strict=True):
            loss, slope, along_affinity = _likelihood(part, bias, affinity)
            value += loss
            slope_of_affinity += along_affinity
            slopes.append(slope + bias / BIAS_SPREAD**2)
        value += float((biases**2).sum()) / (2 * BIAS_SPREAD**2)
        along_words = self.coordinates.T @ slope_of_affinity @ self.coordinates
        own_value, along_own = _with_prior(slope_of_affinity, own, self.spreads.mutual, self.spreads.one_way)
        words_value, along_words = _with_prior(along_words, words, self.spreads.words, self.spreads.one_way)
        gradient = np.concatenate([np.stack(slopes).ravel(), along_own.ravel(), along_words.ravel()])
        return value + own_value + words_value, gradient


def _likelihood(part: Part, bias: Float64Array, affinity: Float64Array) -> tuple[float, Float64Array, Float64Array]:
    """Minus the log likelihood, and its slopes along biases [N] and affinities [N, N]."""
    value, slope, along_affinity = 0.0, np.zeros_like(bias), np.zeros_like(affinity)
    biases, affinity = (part.base + bias).astype(np.float32), affinity.astype(np.float32)
    for block in part.transitions.blocks:
        loss, excess = block.loss_and_excess(biases + block.members @ affinity)
        value += part.weight * loss
        slope += part.weight * excess.sum(axis=0, dtype=np.float64)
        along_affinity += part.weight * (block.members.T @ excess)
    return value, slope, along_affinity


def _with_prior(slope: Float64Array, matrix: Float64Array, spread: float, one_way: float) -> tuple[float, Float64Array]:
    """Minus the log prior of a matrix whose symmetric part has another spread than the rest, and the slope with it.

    With a spread of 0 the matrix stays at 0, where it started.
    """
    if not spread:
        return 0.0, np.zeros_like(slope)
    same, other = (matrix + matrix.T) / 2, (matrix - matrix.T) / 2
    precision, other_precision = spread**-2, (spread * one_way) ** -2
    value = (precision * (same**2).sum() + other_precision * (other**2).sum()) / 2
    return float(value), slope + precision * same + other_precision * other


def choose_spreads(
    taught: BothWays,
    validation: TransitionCounts,
    start: Spreads,
    grid: Sequence[tuple[str, Sequence[float]]],
    coordinates: Float64Array | None = None,
    log: Log = silent,
) -> Spreads:
    """The spreads of least loss on validation transitions, one kind after the other while the others stand.

    Args:
        taught: transitions to fit to.
        validation: transitions of other users.
        start: where to begin, and where to stay without validation transitions.
        grid: kinds in order, with their values.
        coordinates: [clusters, coordinates] of the labels.
        log: receives progress lines.
    """
    if not validation.histories:
        return start
    losses: dict[Spreads, float] = {}
    progress = Progress(sum(len(values) for _, values in grid), "spreads", log)
    for kind, values in grid:
        for spreads in [replace(start, **{kind: value}) for value in values]:
            if spreads not in losses:
                law = fit_affinity_law(taught, spreads, coordinates, CHOOSING_TOLERANCE)
                losses[spreads] = mean_loss(law.log_probabilities, validation)
            progress.advance(note=f"{kind} {getattr(spreads, kind):g}, validation loss {losses[spreads]:.4f}")
        start = min((replace(start, **{kind: value}) for value in values), key=lambda spreads: losses[spreads])
    return start
