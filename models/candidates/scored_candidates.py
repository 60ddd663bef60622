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
PREDICTIONS: dict[str, type[pl.DataType]] = {
    "alignment_score": pl.Float64,
    "predicted_rate": pl.Float64,
    "rate_lower": pl.Float64,
    "rate_upper": pl.Float64,
    "read": pl.Boolean,
}


def score_in_shards(
    candidates: pl.DataFrame,
    scorer: "CandidateScorer",
    shards: Path,
    histories_per_shard: int,
    k: int,
    most_lost: float,
    log: Log = silent,
) -> dict[str, float]:
    """Score candidates; shards that exist already are left as they are.

    Candidates that cannot change the winners are not read, where that pays, see ``cascade``.

    Args:
        candidates: ``history`` and ``cluster_id``, the rows of a history in one run.
        scorer: the alignment model.
        shards: folder of these shards alone, see ``shards.work_in_shards``.
        histories_per_shard: about how many histories one shard holds.
        k: how many candidates of a history win.
        most_lost: share of the winners' lead over their pool, in predicted rate, that may be lost; 0: all are read.
        log: receives progress lines.

    Returns:
        ``share_read`` of the candidates, and what the others cost, see ``cascade.Spared``.
    """
    grouped = candidates.group_by("history", maintain_order=True).agg("cluster_id")

    if most_lost:
        scorer.spare_readings(grouped["history"].to_list(), grouped["cluster_id"].to_list(), k, most_lost, log)

    def score(part: range, shard: Path) -> None:
        _predictions(scorer, grouped[part.start : part.stop]).write_parquet(shard / SCORES_FILE)

    work_in_shards(shards, grouped.height, shard_size(histories_per_shard, scorer.micro_batch), score, "histories", log)
    read = read_shards(shards, SCORES_FILE, ["read"])["read"].to_numpy()
    return {"share_read": float(read.mean()), **vars(scorer.spared)}


def with_scores(candidates: pl.DataFrame, shards: Path) -> pl.DataFrame:
    """The candidates, in their order, with the columns of ``PREDICTIONS`` that the shards hold."""
    found = read_shards(shards, SCORES_FILE)
    return candidates.join(found, on=["history", "cluster_id"], how="left", maintain_order="left")


def without_scores(candidates: pl.DataFrame) -> pl.DataFrame:
    """The candidates with the columns of ``PREDICTIONS`` empty: there is no alignment model yet."""
    return candidates.with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in PREDICTIONS.items())


def _predictions(scorer: "CandidateScorer", grouped: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``history``, ``cluster_id`` and the predictions from one row for each history."""
    found = scorer.predict(grouped["history"].to_list(), grouped["cluster_id"].to_list())
    columns = {
        "alignment_score": np.concatenate(found.ranking),
        "predicted_rate": np.concatenate(found.rates),
        "rate_lower": np.concatenate(found.lower),
        "rate_upper": np.concatenate(found.upper),
        "read": np.concatenate(found.read),
    }
    return grouped.explode("cluster_id").hstack(pl.DataFrame(columns, schema=PREDICTIONS))
