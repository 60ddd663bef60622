"""How the alignment model and the yardsticks rank the days after those that they learned from."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from models.alignment.pointwise_examples import training_rows
from models.alignment.report import yardstick_scores
from models.alignment.served_yardsticks import fit_yardsticks
from models.arrays import AnyFloatArray, Float64Array
from models.evaluation.ranking_contest import MODEL, Contest, hold_contest

MOST_HISTORIES = 200


def contest_of_later_days(
    later: pl.DataFrame,
    examples: pl.DataFrame,
    rank: Callable[[list[list[int]], list[list[int]]], Sequence[Float64Array]],
    *,
    minimum_impressions: int,
    clusters: int,
    label_embeddings: AnyFloatArray,
    k: int,
    seed: int,
) -> Contest:
    """Rank the later cells of histories and clusters that were learned from, by their raw rates.

    Args:
        later: cells of the later days: ``history``, ``cluster_id``, ``impressions``, ``positives``.
        examples: what the model learned from, see ``pointwise_examples``.
        rank: the model: from histories and candidates of each to ranking values.
        minimum_impressions: a later cell with fewer is left out.
        clusters: N.
        label_embeddings: [N, dimensions] of the labels, rows of length 1.
        k: the cut of the metrics.
        seed: of the choice of at most ``MOST_HISTORIES`` histories, of bootstrap and factorisation.
    """
    known = training_rows(examples)
    histories, candidates, rates = _later_rates(later, known, minimum_impressions, seed)
    scores = {MODEL: rank(histories, candidates)}
    served = fit_yardsticks(known, clusters)
    for name, score in yardstick_scores(known, served, clusters, label_embeddings, seed).items():
        scores[name] = score(histories, candidates)
    return hold_contest(scores, rates, k, seed)


def _later_rates(
    later: pl.DataFrame, known: pl.DataFrame, minimum_impressions: int, seed: int
) -> tuple[list[list[int]], list[list[int]], list[Float64Array]]:
    """Histories, and of each the clusters and their raw rates."""
    cells = (
        later.join(known.select("history").unique(), on="history")
        .filter(pl.col("cluster_id").is_in(known["cluster_id"].unique().implode()))
        .filter(pl.col("impressions") >= minimum_impressions)
        .sort("history", "cluster_id")
    )
    chosen = cells["history"].unique().sort().sample(min(MOST_HISTORIES, cells["history"].n_unique()), seed=seed)
    grouped = (
        cells.filter(pl.col("history").is_in(chosen.implode()))
        .group_by("history", maintain_order=True)
        .agg("cluster_id", (pl.col("positives") / pl.col("impressions")).alias("rate"))
    )
    rates = [np.array(values, dtype=np.float64) for values in grouped["rate"].to_list()]
    return grouped["history"].to_list(), grouped["cluster_id"].to_list(), rates
