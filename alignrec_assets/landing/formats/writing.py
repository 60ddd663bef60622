"""Writes converted frames into the landing zone by day. Files appear whole, and the same frames give the same bytes."""

import glob
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import reduce
from operator import and_
from pathlib import Path

import duckdb
import polars as pl

from alignrec_assets.home import FORMAT_VERSION
from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.loading import PositiveRule
from models.files import write_json
from models.progress import Log

KEYS = {"items": ["item_id"], "events": ["ts", "user_id", "item_id"], "feedback": ["ts", "user_id", "item_id"]}
"""Columns that every converted row needs, in the order by which files are sorted."""
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
    source: Path,
    landing: Path,
    frames: Mapping[str, pl.LazyFrame],
    positive: PositiveRule,
    notes: list[str],
    log: Log,
) -> Ingested:
    """Stream frames into landing files: items as one file, the other kinds one file for each UTC day of ``ts``.

    Args:
        source: folder that the frames read from, for messages.
        landing: landing folder; made where it is missing.
        frames: columns of the data contract by kind; ``ts`` is a UTC moment without zone. Rows that lack a key column
            are left out and counted in the notes.
        positive: passed on.
        notes: passed on.
        log: told of each step.

    Raises:
        LandingError: a source file cannot be read, or there is no event with a user, an item and a time.
    """
    landing.mkdir(parents=True, exist_ok=True)
    rows: dict[str, int] = {}
    days: list[date] = []
    with tempfile.TemporaryDirectory(dir=landing, prefix=".ingest-") as folder:
        staging = Path(folder)
        for kind, frame in frames.items():
            log(f"reading {kind} of {source}")
            staged = staging / f"{kind}.parquet"
            _stage(source, kind, frame, staged)
            total, rows[kind], found = _count(staged, kind)
            if total > rows[kind]:
                notes.append(f"{total - rows[kind]:,} rows of {kind} lack a readable {', '.join(KEYS[kind])}: left out")
            days += found
            log(f"writing {rows[kind]:,} rows of {kind}")
            _write_sorted(staged, kind, staging / "landing" / kind)
        if not rows["items"]:
            raise LandingError(f"{source} holds no items: fetch it again")
        if not rows["events"]:
            raise LandingError(f"{source} holds no event with a readable user, item and time: is it of this format?")
        _move(staging / "landing", landing)
    return Ingested(min(days), max(days), rows, positive, tuple(notes))


def _stage(source: Path, kind: str, frame: pl.LazyFrame, staged: Path) -> None:
    try:
        frame.sink_parquet(staged, compression="lz4")
    except pl.exceptions.PolarsError as error:
        fault = str(error).splitlines()[0]
        raise LandingError(f"{kind} of {source} cannot be read ({fault}): fix the file, or fetch it again") from error


def _count(staged: Path, kind: str) -> tuple[int, int, list[date]]:
    """Rows, rows with all key columns, and the first and last day of these."""
    scan = pl.scan_parquet(staged, glob=False)
    total = scan.select(pl.len()).collect().item()
    valid = scan.filter(pl.all_horizontal(pl.col(KEYS[kind]).is_not_null()))
    if kind == "items":
        return total, valid.select(pl.len()).collect().item(), []
    day = pl.col("ts").dt.date()
    count, first, last = valid.select(pl.len(), day.min().alias("first"), day.max().alias("last")).collect().row(0)
    return total, count, [first, last] if count else []


def _write_sorted(staged: Path, kind: str, folder: Path) -> None:
    """Write sorted rows, so that one file is open at a time.

    With more than one thread the bytes differ from run to run: two threads wrote 5 million rows differently each time.
    """
    folder.mkdir(parents=True)
    with duckdb.connect(config={"threads": 1, "temp_directory": str(staged.with_suffix(".spill"))}) as connection:
        rows = connection.read_parquet(glob.escape(str(staged)))
        keys = KEYS[kind]
        rest = [name for name in rows.columns if name not in keys]
        rows = rows.filter(reduce(and_, (duckdb.ColumnExpression(name).isnotnull() for name in keys)))
        rows = rows.order(", ".join(keys + rest))
        if kind == "items":
            rows.write_parquet(str(folder / "part-0.parquet"), compression="zstd")
        else:
            day = duckdb.ColumnExpression("ts").cast("DATE").alias("day")
            rows = rows.select(duckdb.StarExpression(), day)
            rows.write_parquet(str(folder), partition_by=["day"], filename_pattern="part-{i}", compression="zstd")


def _move(staged: Path, landing: Path) -> None:
    """Rename the files into place, and remove those of an earlier conversion that were not written again."""
    written = sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*.parquet"))
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
