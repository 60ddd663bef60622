"""The candidates of all histories with the predictions of the alignment model, scored in shards."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from models.progress import Log, silent
from models.shards import read_shards, shard_size, work_in_shards

if TYPE_CHECKING:
    from models.alignment.scoring import CandidateScorer

SCORES_FILE = "scored.parquet"
PREDICTIONS = ("alignment_score", "predicted_rate", "rate_lower", "rate_upper")


def score_in_shards(
    candidates: pl.DataFrame, scorer: "CandidateScorer", shards: Path, histories_per_shard: int, log: Log = silent
) -> None:
    """Score candidates; shards that exist already are left as they are.

    Args:
        candidates: ``history`` and ``cluster_id``, the rows of a history in one run.
        scorer: the alignment model.
        shards: folder of these shards alone, see ``shards.work_in_shards``.
        histories_per_shard: about how many histories one shard holds.
        log: receives progress lines.
    """
    grouped = candidates.group_by("history", maintain_order=True).agg("cluster_id")

    def score(part: range, shard: Path) -> None:
        _predictions(scorer, grouped[part.start : part.stop]).write_parquet(shard / SCORES_FILE)

    work_in_shards(shards, grouped.height, shard_size(histories_per_shard, scorer.micro_batch), score, "histories", log)


def with_scores(candidates: pl.DataFrame, shards: Path) -> pl.DataFrame:
    """The candidates, in their order, with the columns of ``PREDICTIONS`` that the shards hold."""
    found = read_shards(shards, SCORES_FILE)
    return candidates.join(found, on=["history", "cluster_id"], how="left", maintain_order="left")


def without_scores(candidates: pl.DataFrame) -> pl.DataFrame:
    """The candidates with the columns of ``PREDICTIONS`` empty: there is no alignment model yet."""
    return candidates.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in PREDICTIONS)


def _predictions(scorer: "CandidateScorer", grouped: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``history``, ``cluster_id`` and the predictions from one row for each history."""
    found = scorer.predict(grouped["history"].to_list(), grouped["cluster_id"].to_list())
    values = (found.ranking, found.rates, found.lower, found.upper)
    columns = [pl.Series(name, np.concatenate(arrays)) for name, arrays in zip(PREDICTIONS, values, strict=True)]
    return grouped.explode("cluster_id").with_columns(columns)
