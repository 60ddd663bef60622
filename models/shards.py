"""Long work in parts: micro-batches, and shards that are written whole or not at all.

A later run resumes where a killed one stopped.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import polars as pl

from models.files import new_folder
from models.progress import Log, Progress, silent

Item = TypeVar("Item")


def work_in_shards(
    folder: Path, total: int, size: int, work: Callable[[range, Path], None], unit: str, log: Log = silent
) -> list[Path]:
    """Do some work for indices ``0 .. total - 1``, shard by shard; shards that exist already are left as they are.

    Args:
        folder: holds the shards, named by their first index. It belongs to this work, with these inputs, alone.
        total: how many units.
        size: units in a shard, see :func:`shard_size`.
        work: is given the indices of a shard and an empty folder to fill.
        unit: the plural noun of one unit, for the log.
        log: receives the lines.

    Returns:
        The shards' folders in order.
    """
    shards = [(part, folder / f"shard-{part.start:09d}-{part.stop:09d}") for part in micro_batches(total, size)]
    for left in folder.glob(".shard-*"):
        shutil.rmtree(left)  # a killed process was in the midst of it
    missing = [(part, path) for part, path in shards if not path.exists()]
    if len(missing) < len(shards):
        log(f"{len(shards) - len(missing)} of {len(shards)} shards exist from an interrupted run")
    progress = Progress(sum(len(part) for part, _ in missing), unit, log)
    for part, path in missing:
        with new_folder(path) as partial:
            work(part, partial)
        progress.advance(len(part))
    return [path for _, path in shards]


def shard_size(wanted: int, micro_batch: int) -> int:
    """Units in a shard: a multiple of the work's own micro-batch, so that results do not depend on it.

    Args:
        wanted: about how many; the multiple below it, but one micro-batch at least.
        micro_batch: units that the work takes together.
    """
    return max(1, wanted // micro_batch) * micro_batch


def read_shards(folder: Path, file: str, columns: list[str] | None = None) -> pl.DataFrame:
    """The rows of one Parquet file of all shards, in order; of some columns, or of all."""
    return pl.concat([pl.read_parquet(shard / file, columns=columns) for shard in sorted(folder.glob("shard-*"))])


def micro_batches(total: int, size: int) -> Iterator[range]:
    """Indices ``0 .. total - 1`` in runs of ``size``; the last run may be shorter."""
    return (range(start, min(start + size, total)) for start in range(0, total, size))


def evenly_spread(items: Sequence[Item], most: int) -> Sequence[Item]:
    """Every n-th of the items from the first on, n being the least number that leaves at most ``most`` of them."""
    return items[:: max(1, -(-len(items) // most))]
