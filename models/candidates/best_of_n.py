"""Inference scaling: draw a pool of clusters for every history, and keep the k best by alignment score.

n independent draws from the label distribution, duplicates merged; *novelty alone* is the first k distinct clusters of
the same stream, so that the two policies differ in the choice alone.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from models.arrays import Float64Array, IntArray
from models.progress import Log, Progress, silent

POOL_SCHEMA: dict[str, pl.DataType] = {
    "history": pl.List(pl.Int64()),
    "draw_order": pl.Int64(),
    "cluster_id": pl.Int64(),
    "draws": pl.Int64(),
    "novelty_probability": pl.Float64(),
}


def history_stream(seed: int, history: Sequence[int]) -> np.random.Generator:
    """Random stream that belongs to (seed, the set of clusters): the same in every shard, order and process."""
    text = f"{seed}:{','.join(map(str, sorted(history)))}"
    key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())
    return np.random.Generator(np.random.PCG64(key))


def draw(probabilities: Float64Array, count: int, stream: np.random.Generator) -> IntArray:
    """Draw ``count`` independent indices by inverting the cumulative distribution; zero mass is never drawn."""
    cumulative = np.cumsum(probabilities)
    indices: IntArray = np.searchsorted(cumulative, stream.random(count) * cumulative[-1], side="right").astype(
        np.int64
    )
    # u < 1, but u * total may round up to the total itself.
    last = int(np.flatnonzero(probabilities)[-1])
    indices[indices > last] = last
    return indices


def draw_pool(
    probabilities: Float64Array, draws: int, distinct: int, stream: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Draw one pool: distinct cluster ids in order of first appearance, and how often each was drawn.

    Where ``draws`` draws leave fewer than ``distinct`` clusters, drawing continues without repeats: the next cluster
    that an independent stream has not shown yet follows the distribution restricted to the unseen ones. So the order
    has the distribution of an endless stream; a cluster that is found this way counts as one draw. Fewer than
    ``distinct`` clusters are returned only where no more have positive probability.
    """
    counts: dict[int, int] = {}
    for cluster in draw(probabilities, draws, stream).tolist():
        counts[cluster] = counts.get(cluster, 0) + 1
    unseen = probabilities.copy()
    unseen[list(counts)] = 0.0
    while len(counts) < distinct and unseen.any():
        cluster = int(draw(unseen, 1, stream)[0])
        counts[cluster] = 1
        unseen[cluster] = 0.0
    return list(counts), list(counts.values())


def draw_pools(
    probabilities: Float64Array,
    histories: Sequence[Sequence[int]],
    draws: int,
    distinct: int,
    *,
    seed: int,
    log: Log = silent,
) -> pl.DataFrame:
    """Draw the candidate pool of every history.

    Args:
        probabilities: label distribution [histories, clusters]; column c belongs to cluster id c; the clusters of a
            history have no mass in its row. Rows need not sum to 1 exactly.
        histories: cluster ids of each row.
        draws: n, the number of independent draws (5k by default in this project).
        distinct: k, the number of distinct clusters a pool holds at least, where that many have mass.
        seed: of the streams, one per history.
        log: receives progress.

    Returns:
        A frame with ``history`` (sorted), ``draw_order`` (1 = first to appear), ``cluster_id``, ``draws`` (times drawn)
        and ``novelty_probability``; histories in the order given.

    Raises:
        ValueError: when a count is not positive, shapes differ, or a row is not a distribution.
    """
    if draws < 1 or distinct < 1:
        raise ValueError(f"{draws} draws and {distinct} distinct clusters: both must be at least 1")
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if probabilities.ndim != 2 or len(probabilities) != len(histories):
        raise ValueError(f"probabilities of shape {probabilities.shape} for {len(histories)} histories")
    progress = Progress(len(histories), "histories", log)
    columns: dict[str, list[object]] = {name: [] for name in POOL_SCHEMA}
    for row, history in zip(probabilities, histories, strict=True):
        if not (np.isfinite(row).all() and (row >= 0).all() and row.any()):
            raise ValueError(f"history {list(history)}: its row of probabilities is not a distribution")
        clusters, counts = draw_pool(row, draws, distinct, history_stream(seed, history))
        append_pool(columns, history, clusters, counts, row / row.sum())
        progress.advance()
    return pl.DataFrame(columns, schema=POOL_SCHEMA)


def append_pool(
    columns: dict[str, list[object]],
    history: Sequence[int],
    clusters: list[int],
    counts: list[int],
    probabilities: Float64Array,
) -> None:
    """Add one pool to columns of :data:`POOL_SCHEMA`: clusters in order of appearance, and [N] probabilities of all."""
    columns["history"].extend([sorted(history)] * len(clusters))
    columns["draw_order"].extend(range(1, len(clusters) + 1))
    columns["cluster_id"].extend(clusters)
    columns["draws"].extend(counts)
    columns["novelty_probability"].extend(probabilities[clusters].tolist())


def novelty_alone(pools: pl.DataFrame, k: int) -> pl.DataFrame:
    """Keep the first k distinct clusters of each history's stream, with ``rank`` 1 to k in order of appearance."""
    return pools.filter(pl.col("draw_order") <= k).with_columns(rank=pl.col("draw_order"))


def select_best(pools: pl.DataFrame, k: int, score: str = "alignment_score") -> pl.DataFrame:
    """Keep the k clusters of highest score of each history, with ``rank`` 1 to k; ``score`` names the column.

    Ties go to the cluster drawn first. Histories keep the order of their first row.

    Raises:
        ValueError: when a score is missing or not a number: such a row would rank first or last by accident.
    """
    broken = pools.filter(pl.col(score).is_null() | pl.col(score).is_nan())
    if broken.height:
        raise ValueError(f"{broken.height} rows of the pools have no {score}, first: {broken.row(0)}")
    ranked = (
        pools.with_row_index("place")
        .with_columns(pl.col("place").min().over("history"))
        .sort(["place", score, "draw_order"], descending=[False, True, False])
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("history"))
    )
    return ranked.filter(pl.col("rank") <= k).drop("place")


def plan_transitions(candidates: pl.DataFrame, score: str | None, k: int) -> pl.DataFrame:
    """The rows of a transition table: k clusters for each history, each served with the same probability.

    Args:
        candidates: the pools, with ``alignment_score``, which may be null where something else ranks.
        score: column of :func:`select_best`; None is :func:`novelty_alone`.
        k: how many clusters of each history.

    Returns:
        ``history``, ``rank`` (from 1), ``cluster_id``, ``alignment_score``, ``novelty_probability`` and ``propensity``,
        sorted by history and rank.
    """
    planned = select_best(candidates, k, score) if score else novelty_alone(candidates, k)
    return planned.select(
        "history",
        "rank",
        "cluster_id",
        "alignment_score",
        "novelty_probability",
        (1.0 / pl.len().over("history")).alias("propensity"),
    ).sort("history", "rank")
