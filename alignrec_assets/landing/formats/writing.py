"""Writes converted frames into the landing zone by day. Files appear whole, and the same frames give the same bytes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pyarrow

from alignrec_assets.home import FORMAT_VERSION
from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.formats.rejected import REJECTED_FOLDER
from alignrec_assets.landing.formats.sources import Source
from alignrec_assets.landing.loading import PositiveRule
from models.files import write_json
from models.progress import Log

KEYS = {"items": ["item_id"], "events": ["ts", "user_id", "item_id"], "feedback": ["ts", "user_id", "item_id"]}
"""Columns that every converted row has, in the order by which files are sorted."""
_LEDGER = ".ingested.json"
"""Lists the files that the last conversion wrote, so that the next one removes those that it no longer writes."""


@dataclass(frozen=True)
class Ingested:
    """What a conversion wrote.

    Attributes:
        first_day: first UTC day of the log.
        last_day: last UTC day of the log.
        rows: rows by kind.
        positive: the rule for positive playback that suits the data; none leaves the settings as they are.
        notes: what was missing or left out, one sentence each.
    """

    first_day: date
    last_day: date
    rows: dict[str, int]
    positive: PositiveRule | None
    notes: tuple[str, ...]


def write_landing(
    source: Source, landing: Path, frames: Mapping[str, pl.LazyFrame], positive: PositiveRule, log: Log
) -> Ingested:
    """Stream frames into landing files: items as one file, the other kinds one file for each UTC day of ``ts``.

    Source rows that cannot be read go to ``REJECTED_FOLDER``.

    Args:
        source: where the frames come from.
        landing: landing folder.
        frames: columns of the data contract by kind; ``ts`` is a UTC moment without zone.
        positive: passed on.
        log: told of each step.

    Raises:
        LandingError: too many source rows cannot be read, or there is no item or no event.
    """
    source.refuse_too_many()
    rows: dict[str, int] = {}
    days: list[date] = []
    for kind, frame in frames.items():
        rows[kind], found = _count(frame, kind)
        days += found
        log(f"writing {rows[kind]:,} rows of {kind}")
        _write_sorted(frame, kind, source.staging / kind, source.scratch / "spill")
    if not rows["items"]:
        raise LandingError(f"{source.folder} holds no items: fetch it again")
    if not rows["events"]:
        raise LandingError(f"{source.folder} holds no event with a readable user, item and time: is it of this format?")
    if source.rejected.counts:
        source.notes.append(f"{source.rejected.told(source.rows_read)} All of them: {landing / REJECTED_FOLDER}")
    _move(source.staging, landing)
    return Ingested(min(days), max(days), rows, positive, tuple(source.notes))


def _count(frame: pl.LazyFrame, kind: str) -> tuple[int, list[date]]:
    """Rows, and the first and last day of these."""
    if kind == "items":
        return frame.select(pl.len()).collect(engine="streaming").item(), []
    day = pl.col("ts").dt.date()
    counted = frame.select(pl.len(), day.min().alias("first"), day.max().alias("last")).collect(engine="streaming")
    count, first, last = counted.row(0)
    return count, [first, last] if count else []


def _write_sorted(frame: pl.LazyFrame, kind: str, folder: Path, spill: Path) -> None:
    """Write sorted rows, so that one file is open at a time.

    With more than one thread the bytes differ from run to run: two threads wrote 5 million rows differently each time.
    """
    folder.mkdir(parents=True)
    keys = KEYS[kind]
    with duckdb.connect(config={"threads": 1, "temp_directory": str(spill)}) as connection:
        rows = connection.from_arrow(_arrow_rows(frame))
        rows = rows.order(", ".join(keys + [name for name in rows.columns if name not in keys]))
        if kind == "items":
            rows.write_parquet(str(folder / "part-0.parquet"), compression="zstd")
        else:
            day = duckdb.ColumnExpression("ts").cast("DATE").alias("day")
            rows = rows.select(duckdb.StarExpression(), day)
            rows.write_parquet(str(folder), partition_by=["day"], filename_pattern="part-{i}", compression="zstd")


def _arrow_rows(frame: pl.LazyFrame) -> pyarrow.RecordBatchReader:
    """The rows of a frame in batches, so that memory does not depend on their number."""
    oldest = pl.CompatLevel.oldest()
    parts = frame.collect_batches(engine="streaming", maintain_order=False)
    batches = (batch for part in parts for batch in part.to_arrow(compat_level=oldest).to_batches())
    return pyarrow.RecordBatchReader.from_batches(
        frame.limit(0).collect().to_arrow(compat_level=oldest).schema, batches
    )


def _move(staged: Path, landing: Path) -> None:
    """Rename the files into place, and remove those of an earlier conversion that were not written again."""
    written = sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
    ledger = landing / _LEDGER
    earlier = json.loads(ledger.read_text(encoding="utf-8")) if ledger.exists() else []
    write_json(ledger, sorted({*earlier, *written}))  # first, so that a killed process leaves no unlisted files
    for name in written:
        (landing / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).replace(landing / name)
    for name in set(earlier) - set(written):
        (landing / name).unlink(missing_ok=True)
    write_json(ledger, written)
    write_json(landing / "FORMAT", {"format_version": FORMAT_VERSION})
