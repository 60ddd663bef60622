"""The examples of the alignment model: scored clusters gathered by history, and checked before any training."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.prompts import check_histories

Array = NDArray[np.float64]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class ServedHistory:
    """One history and the clusters served to its users.

    Attributes:
        history: the K cluster ids, sorted.
        clusters: [m] ids of the served clusters.
        scores: [m] soft labels L in [0, 1].
        weights: [m] evidence of each, above 0.
        rates: [m] raw rates, the truth of held-out histories.
    """

    history: list[int]
    clusters: list[int]
    scores: Array
    weights: Array
    rates: Array


def group_by_history(examples: pl.DataFrame, clusters: int) -> dict[str, list[ServedHistory]]:
    """Gather the examples of each history, by split; histories sorted, so that the order of rows does not matter.

    Raises:
        ValueError: naming the first example that no training can use.
    """
    _check_examples(examples, clusters)
    grouped = (
        examples.sort("history", "cluster_id")
        .group_by("split", "history", maintain_order=True)
        .agg("cluster_id", "score", "weight", "raw_rate")
    )
    served: dict[str, list[ServedHistory]] = {split: [] for split in SPLITS}
    for split, history, candidates, scores, weights, rates in grouped.iter_rows():
        served[split].append(
            ServedHistory(history, candidates, np.array(scores), np.array(weights, dtype=float), np.array(rates))
        )
    if not served["train"]:
        raise ValueError("there are no training examples: collect feedback first, or lower the filters of the scores")
    return served


def _check_examples(examples: pl.DataFrame, clusters: int) -> None:
    check_histories(examples["history"].to_list(), clusters)
    pair = ("history", "cluster_id")
    splits = pl.col("split").n_unique().over("history")
    faults = {
        f"has a split other than {', '.join(SPLITS)}": ~pl.col("split").is_in(SPLITS),
        "has a history that stands in two splits": splits > 1,
        "occurs twice": pl.struct(pair).is_duplicated(),
        "offers a cluster that does not exist": ~pl.col("cluster_id").is_between(0, clusters - 1),
        "offers a cluster of its own history": pl.col("history").list.contains(pl.col("cluster_id")),
        "has a score outside 0 to 1": ~pl.col("score").is_between(0, 1),
        "has a weight that is not above 0": ~(pl.col("weight").is_finite() & (pl.col("weight") > 0)),
        "has a raw rate outside 0 to 1": ~pl.col("raw_rate").is_between(0, 1),
    }
    for fault, condition in faults.items():
        rows = examples.filter(condition.fill_null(value=True)).select(pair)
        if rows.height:
            history, cluster = rows.row(0)
            raise ValueError(f"the example of history {history} and cluster {cluster} {fault}")
