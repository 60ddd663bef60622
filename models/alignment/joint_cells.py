"""The cells that a stack is fitted to, and what is known of them before any fit."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import logit

from models.alignment.examples import ServedHistory
from models.alignment.label_features import label_features
from models.alignment.linear_head import LEAST_MEAN
from models.arrays import AnyFloatArray, Float64Array, IntArray
from models.shards import evenly_spread

MOST_CELLS = 100_000  # that are fitted without states: with 768 label features about 3 GB
TINY = 1e-6  # a coordinate that never varies has no scale


@dataclass(frozen=True, eq=False)
class JointCells:
    """Cells, in rows: one for each cluster that was served after a history.

    Members are sparse, K of them in a row: work and memory follow the cells, not their number times N.

    Attributes:
        states: [rows, hidden] what the language model read.
        members: [rows, N] of their histories.
        histories: [rows] the number of the history.
        clusters: [rows].
        rates: [rows].
        weights: [rows].
        vectors: [N, dimensions] of all labels; [N, 0] where they are not to be used.
    """

    states: Float64Array
    members: csr_matrix
    histories: IntArray
    clusters: IntArray
    rates: Float64Array
    weights: Float64Array
    vectors: Float64Array

    @classmethod
    def of(
        cls,
        states: Float64Array,
        served: Sequence[ServedHistory],
        clusters: int,
        vectors: AnyFloatArray | None = None,
    ) -> "JointCells":
        """Cells of the served histories, whose states are given in order; N is ``clusters``."""
        members = [row.history for row in served for _ in row.clusters]
        ends = np.cumsum([0, *map(len, members)])
        columns = np.fromiter(chain.from_iterable(members), np.int64, ends[-1])
        return cls(
            states=states,
            members=csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(members), clusters)),
            histories=np.repeat(np.arange(len(served)), [len(row.clusters) for row in served]),
            clusters=np.concatenate([np.array(row.clusters, dtype=np.int64) for row in served]),
            rates=np.concatenate([row.rates for row in served]),
            weights=np.concatenate([row.weights for row in served]),
            vectors=np.zeros((clusters, 0)) if vectors is None else np.asarray(vectors, dtype=np.float64),
        )

    @classmethod
    def without_states(
        cls, served: Sequence[ServedHistory], clusters: int, vectors: AnyFloatArray | None
    ) -> "JointCells":
        """Likewise where nothing was read: the states have no columns.

        Where there are more than ``MOST_CELLS``, they are of histories that are spread evenly over all.
        """
        cells = sum(len(row.clusters) for row in served)
        kept = evenly_spread(served, max(1, len(served) * MOST_CELLS // max(cells, MOST_CELLS)))
        return cls.of(np.zeros((sum(len(row.clusters) for row in kept), 0)), kept, clusters, vectors)

    def taken(self, rows: IntArray) -> "JointCells":
        """The cells of these rows, in their order."""
        by_row = {field.name: getattr(self, field.name)[rows] for field in fields(self) if field.name != "vectors"}
        return JointCells(**by_row, vectors=self.vectors)

    def affinities(self, affinity: Float64Array) -> Float64Array:
        """[rows] sum of the affinities [member, offered] of the members of a row with its cluster."""
        row = np.repeat(np.arange(len(self.clusters)), np.diff(self.members.indptr))
        found = affinity[self.members.indices, self.clusters[row]]
        return np.bincount(row, weights=found, minlength=len(self.clusters)).astype(np.float64)

    def label_features(self) -> Float64Array:
        """[rows, 2 dimensions] what the vectors of the labels say, see ``label_features``."""
        return label_features(self.vectors, self.members, self.clusters)

    def mean_log_odds(self) -> float:
        """Log-odds of the mean rate."""
        mean = np.average(self.rates, weights=self.weights)
        return float(logit(np.clip(mean, LEAST_MEAN, 1 - LEAST_MEAN)))


def standards(x: Float64Array, weights: Float64Array) -> tuple[Float64Array, Float64Array]:
    """[columns] means and scales of x [rows, columns] that give every column an equal share of a head's spread."""
    middle = np.average(x, axis=0, weights=weights)
    variance = np.average((x - middle) ** 2, axis=0, weights=weights)
    return middle, np.sqrt(variance * x.shape[1]) + TINY
