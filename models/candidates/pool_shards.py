"""The pools of all histories as files in shards: a run resumes with what a killed one has drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from models.progress import Log, silent
from models.shards import read_shards, shard_size, work_in_shards

if TYPE_CHECKING:
    from models.candidates.candidate_pools import PoolSampler
    from models.language.prompts import History

POOLS_FILE = "pools.parquet"
DISTRIBUTIONS_FILE = "distributions.parquet"
FORMER_DISTRIBUTIONS_FILE = "laws.parquet"  # in checkpoints of earlier versions


def draw_in_shards(
    sampler: "PoolSampler",
    histories: "Sequence[History]",
    shards: Path,
    histories_per_shard: int,
    log: Log = silent,
) -> None:
    """Draw the pools of histories; shards that exist already are left as they are.

    Args:
        sampler: what draws.
        histories: [H] sets of cluster ids.
        shards: folder of these shards alone, see ``shards.work_in_shards``.
        histories_per_shard: about how many histories one shard holds.
        log: receives progress lines.
    """

    def draw(part: range, shard: Path) -> None:
        drawn = sampler.draw(histories[part.start : part.stop], log)
        drawn.candidates.write_parquet(shard / POOLS_FILE)
        drawn.distributions.write_parquet(shard / DISTRIBUTIONS_FILE)

    work_in_shards(shards, len(histories), shard_size(histories_per_shard, sampler.micro_batch), draw, "histories", log)


def read_candidates(shards: Path) -> pl.DataFrame:
    """The candidates of all histories, see ``candidate_pools.Pools``."""
    return read_shards(shards, POOLS_FILE)


def read_distributions(shards: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """The label distributions that they were drawn from, see ``candidate_pools.Pools``; of some columns, or of all."""
    current = any(shards.glob(f"*/{DISTRIBUTIONS_FILE}"))
    return read_shards(shards, DISTRIBUTIONS_FILE if current else FORMER_DISTRIBUTIONS_FILE, columns)
