"""Novel transitions as counts: the distinct histories, the clusters that make them up, and what came next how often."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix
from scipy.special import logsumexp

from models.arrays import Float32Array, Float64Array, IntArray
from models.language.prompts import History

Law = Callable[[Sequence[History]], Float64Array]  # [histories, clusters] log probabilities

ROWS_AT_ONCE = 1024  # histories: 3 MB of float32 for 761 clusters, which stay in the cache


@dataclass(frozen=True, eq=False)
class TransitionCounts:
    """Counted transitions.

    Attributes:
        histories: distinct, each sorted, in ascending order.
        members: [histories, clusters] 1 where the cluster is of the history.
        counts: [histories, clusters] how often the cluster came next.
    """

    histories: Sequence[tuple[int, ...]]
    members: csr_matrix
    counts: csr_matrix

    @classmethod
    def of(cls, rows: pl.DataFrame, clusters: int) -> "TransitionCounts":
        """Count transitions.

        Args:
            rows: ``history`` and ``cluster_id``, one row for each transition.
            clusters: N.
        """
        found = rows.select(pl.col("history").list.sort(), "cluster_id").group_by("history", "cluster_id").len()
        histories, at = distinct_histories(found)
        counts = csr_matrix(
            (found["len"].to_numpy().astype(np.float64), (at, found["cluster_id"].to_numpy())),
            shape=(len(histories), clusters),
        )
        return cls(histories, member_matrix(histories, clusters), counts)

    @property
    def clusters(self) -> int:
        """N."""
        return int(self.counts.shape[1])

    def log_popularity(self) -> Float64Array:
        """[clusters] logarithm of each cluster's share of the transitions, with one more to each."""
        totals = np.asarray(self.counts.sum(axis=0), dtype=np.float64).ravel() + 1.0
        return np.asarray(np.log(totals / totals.sum()))

    @cached_property
    def blocks(self) -> tuple["Block", ...]:
        """Some histories at a time, in the precision of fits."""
        starts = range(0, len(self.histories), ROWS_AT_ONCE)
        return tuple(Block.of(self, slice(start, start + ROWS_AT_ONCE)) for start in starts)


@dataclass(frozen=True, eq=False)
class Block:
    """Some of the counted transitions, in float32: with float64 a fit of 768 clusters took six times as long.

    Attributes:
        members: [histories, clusters].
        inside: the places of ``members`` that are 1.
        came: the places of what came next.
        counts: [places] how often it did.
        totals: [histories, 1] transitions.
    """

    members: csr_matrix
    inside: tuple[IntArray, IntArray]
    came: tuple[IntArray, IntArray]
    counts: Float32Array
    totals: Float32Array

    @classmethod
    def of(cls, transitions: TransitionCounts, rows: slice) -> "Block":
        """Of these rows."""
        members, counts = transitions.members[rows].astype(np.float32), transitions.counts[rows].astype(np.float32)
        totals = np.asarray(counts.sum(axis=1), dtype=np.float32)
        places = counts.tocoo()
        return cls(members, members.nonzero(), (places.row, places.col), places.data, totals)

    def loss_and_excess(self, scores: Float32Array) -> tuple[float, Float32Array]:
        """Minus the log likelihood under a softmax outside each history, and its slope along the scores.

        Args:
            scores: [histories, clusters]; overwritten.
        """
        scores[self.inside] = -np.inf
        scores -= scores.max(axis=1, keepdims=True)
        gained = self.counts.astype(np.float64) @ scores[self.came]
        np.exp(scores, out=scores)
        sums = scores.sum(axis=1, keepdims=True)
        loss = float((self.totals * np.log(sums)).sum(dtype=np.float64) - gained)
        scores *= self.totals / sums
        scores[self.came] -= self.counts
        return loss, scores


@dataclass(frozen=True, eq=False)
class BothWays:
    """Transitions as they came, and as if each member of the history had come next."""

    came: TransitionCounts
    members_came: TransitionCounts

    @classmethod
    def of(cls, rows: pl.DataFrame, clusters: int) -> "BothWays":
        """Count transitions (``history``, ``cluster_id``) between ``clusters`` clusters."""
        return cls(TransitionCounts.of(rows, clusters), TransitionCounts.of(members_next(rows), clusters))


def members_next(rows: pl.DataFrame) -> pl.DataFrame:
    """The same interests as if each member of the history had come next, after the others and the target.

    Whoever likes three clusters tells of each how it goes with the other two, in whatever order they were found.
    """
    numbered = rows.select("history", "cluster_id", pl.struct("history", "cluster_id").alias("row"))
    exploded = numbered.explode("history").rename({"history": "member"})
    others = pl.concat_list(pl.col("row").struct.field("history"), pl.col("cluster_id")).list.set_difference(
        pl.concat_list("member")
    )
    return exploded.select(others.list.sort().alias("history"), pl.col("member").alias("cluster_id"))


def member_matrix(histories: Sequence[History], clusters: int) -> csr_matrix:
    """[histories, clusters] 1 where the cluster is of the history."""
    lengths = np.array([len(history) for history in histories], dtype=np.int64)
    columns = np.array([cluster for history in histories for cluster in history], dtype=np.int64)
    rows = np.repeat(np.arange(len(histories)), lengths)
    return csr_matrix((np.ones(len(columns)), (rows, columns)), shape=(len(histories), clusters))


def masked_log_softmax(scores: Float64Array, members: csr_matrix) -> Float64Array:
    """[histories, clusters] log probabilities over the clusters outside each history, minus infinity inside."""
    masked = np.where(members.toarray() > 0, -np.inf, scores)
    return np.asarray(masked - logsumexp(masked, axis=1, keepdims=True))


def mean_loss(law: Law, counted: TransitionCounts) -> float:
    """Nats per transition: minus the mean log probability of what came next."""
    counts = counted.counts.tocoo()
    log_p = law(counted.histories)[counts.row, counts.col]
    return float(-(counts.data @ log_p) / counts.data.sum())


def distinct_histories(rows: pl.DataFrame) -> tuple[list[tuple[int, ...]], IntArray]:
    """The distinct histories of some rows, sorted, and [rows] the place of each row's own."""
    own = [tuple(sorted(history)) for history in rows["history"].to_list()]
    histories = sorted(set(own))
    place = {history: index for index, history in enumerate(histories)}
    return histories, np.array([place[history] for history in own], dtype=np.int64)
