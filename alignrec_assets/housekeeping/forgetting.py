"""`alignrec forget USER` and `alignrec unforget USER`.

`forget` removes the user's rows from landing files and warehouse, and later files are read without.

All of it happens under the warehouse's lock. The tombstone, with what is known of the user's days, is written before
any file changes; the tables are committed last. So the same command completes one that was interrupted. Outcomes are
found by the requests in the feedback files, so the feedback files are rewritten after the files of outcomes. Days that
held the user are stale afterwards, because their landing files changed, and the next run makes them again.
"""

import csv
import gzip
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import TextIO

import dagster as dg
import duckdb
import numpy as np
import pyarrow
import pyarrow.parquet

from alignrec_assets.assets.raw import landing_zone
from alignrec_assets.home import Home
from alignrec_assets.housekeeping.traces import Trace, decide, seen_by_examples
from alignrec_assets.instance.dagster_home import prepare_instance, runs_under_way
from alignrec_assets.landing.data_contract import LandingError, file_format, named
from alignrec_assets.landing.formats.rejected import forget_rejected, names_user
from alignrec_assets.landing.ids import clean_id
from alignrec_assets.landing.readers import landing_rows, reading
from alignrec_assets.landing.survey import landing_files
from alignrec_assets.landing.text_files import csv_header
from alignrec_assets.landing.tombstones import read_tombstones, write_tombstones
from alignrec_assets.landing.zone import LandingZone
from alignrec_assets.remote import keep_rewritten
from alignrec_assets.settings.sources import load_settings
from alignrec_assets.warehouse.columns import USER
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.tables import TABLES
from models.files import replacing
from models.messages import listed
from models.progress import Log

SHOWN_FILES = 20
"""The report names so many files that were rewritten."""


@dataclass(frozen=True)
class Match:
    """A landing file with rows to remove: those whose ``column`` has one of the values."""

    file: str
    column: str
    values: frozenset[str]
    row_numbers: list[int]


@dataclass(frozen=True)
class Forgotten:
    """What was removed (rows by landing file and by table), and which models and versions had seen the user."""

    files: dict[str, int]
    tables: dict[str, int]
    seen_by: dict[str, str]


def forget_user(home: Home, user: str, write: Log) -> Forgotten:
    """Erase a user. A second call erases what has arrived, or was left, since the first.

    Args:
        home: the home.
        user: the id as in landing files; it is cleaned as they are.
        write: receives what was removed, line by line.

    Raises:
        ValueError: no id, a landing file that cannot be searched, or a rebuild that was interrupted.
    """
    user = _searchable(home, user)
    prepare_instance(home)
    with dg.DagsterInstance.get() as instance:
        under_way = runs_under_way(instance, write)
    warehouse = Warehouse(home, write)
    settings = load_settings(home)
    bucket = settings.remote.landing
    with warehouse.writing() as connection:
        matches = _search_landing(connection, landing_zone(home.landing, settings), user)
        first_days = _first_days(connection, user)
        by_examples = seen_by_examples(connection, user)
        tables = _clear_tables(connection, user)
        trace = _write_tombstone(
            home, user, first_days, by_examples, found=bool(matches or tables), quiet=not under_way
        )
        keep_rewritten(home.landing, bucket, [match.file for match in matches])
        for match in matches:
            _rewrite(home.landing / match.file, match)
        rejected = forget_rejected(home.landing, user)
        for kept in home.failures.glob("*"):  # tracebacks may quote rows
            kept.unlink(missing_ok=True)
    # DuckDB's file keeps the bytes of deleted rows until it is compacted.
    warehouse.compact()
    standing = {name: how for name, how in trace.seen_by.items() if how and (home.path / name).exists()}
    files = {match.file: len(match.row_numbers) for match in matches}
    forgotten = Forgotten(files | rejected, tables, standing)
    _report(user, forgotten, under_way, write)
    if bucket is not None:
        write(f"{bucket} was not touched: take the user out there too; a file that changes there is fetched again")
    return forgotten


def knows_user(home: Home, user: str, write: Log) -> bool:
    """Whether a landing file or a table has rows of a user. Nothing is changed.

    Raises:
        ValueError: as ``forget_user``.
    """
    user = _searchable(home, user)
    with Warehouse(home, write).writing() as connection:
        if names_user(home.landing, user) or _search_landing(
            connection, landing_zone(home.landing, load_settings(home)), user
        ):
            return True
        counts = (
            connection.execute(f"FROM {table} SELECT count(*) WHERE {condition}", {"user": user}).fetchall()
            for table, condition in _rows_of_user().items()
        )
        return any(count for ((count,),) in counts)


def unforget_user(home: Home, user: str, write: Log) -> None:
    """Let the rows of a forgotten user be read again. What was erased is gone.

    Args:
        home: the home.
        user: the id, as ``forget_user`` takes it.
        write: receives what this means, line by line.

    Raises:
        ValueError: this user was not forgotten, or as ``forget_user``.
    """
    user = _searchable(home, user)
    with Warehouse(home, write).writing() as connection:
        tombstones = read_tombstones(home.landing)
        if tombstones.hashed(user) not in tombstones.users:
            raise ValueError(
                f"{user!r} is not among the {len(tombstones.users):,} forgotten users of {home.path}: look at its "
                "spelling, upper and lower case included. Nothing was changed."
            )
        matches = _search_landing(connection, landing_zone(home.landing, load_settings(home)), user)
        del tombstones.users[tombstones.hashed(user)]
        write_tombstones(home.landing, tombstones)
    write(f"{user!r} is no longer forgotten: files that come are read with its rows")
    write("rows that were erased do not come back, unless the files that held them are sent again")
    if matches:
        files = listed([match.file for match in matches])
        write(f"rows that arrived meanwhile were not read: `alignrec rebuild` reads them, from {files}")


def _searchable(home: Home, user: str) -> str:
    """The id as landing files are read.

    Raises:
        ValueError: no id, or a warehouse that a rebuild moved aside.
    """
    user = clean_id(user)
    if not user:
        raise ValueError("name a user: an empty id is nobody's")
    aside = home.warehouse.with_name("warehouse.before-rebuild.duckdb")
    if aside.exists():
        raise ValueError(f"{aside} holds the warehouse before a rebuild that was cut off: `alignrec rebuild` first")
    return user


def _report(user: str, forgotten: Forgotten, under_way: list[str], write: Log) -> None:
    if not forgotten.files and not forgotten.tables:
        write(f"{user!r} was not found: no landing file and no table has a row of this id")
        write("if the id is misspelt: `alignrec unforget` lets it in again")
    for place, rows in (*islice(forgotten.files.items(), SHOWN_FILES), *forgotten.tables.items()):
        write(f"  {place:<50} {rows:,} rows gone")
    if len(forgotten.files) > SHOWN_FILES:
        write(f"  and in {len(forgotten.files) - SHOWN_FILES:,} landing files more")
    write("the id is kept out of every file that comes; the next `alignrec run` makes the days anew that held it")
    if forgotten.seen_by:
        write("made while the user's rows were there, and still standing:")
    for name, how in forgotten.seen_by.items():
        write(f"  {name}: {how}")
    if under_way:
        write(f"run {listed(under_way)} is under way and may hold rows that it read before: repeat this after it")


# Landing files -------------------------------------------------------------------------------------------------------


def _search_landing(connection: duckdb.DuckDBPyConnection, zone: LandingZone, user: str) -> list[Match]:
    """The files that hold the user, in the order in which they are rewritten. Makes the tables ``found_<kind>``."""
    events = _find(connection, zone, "events", "user_id", frozenset([user]))
    feedback = _find(connection, zone, "feedback", "user_id", frozenset([user]))
    requests = connection.execute(query("housekeeping.requests_of_user"), {"user": user}).fetchall()
    wanted = frozenset(request for (request,) in requests)
    outcomes = _find(connection, zone, "outcomes", "request_id", wanted)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE found_requests AS SELECT unnest($1::VARCHAR[]) AS request_id", [sorted(wanted)]
    )
    return [*outcomes, *events, *feedback]


def _find(
    connection: duckdb.DuckDBPyConnection, zone: LandingZone, kind: str, column: str, values: frozenset[str]
) -> list[Match]:
    files = landing_files(zone.folder, kind)
    connection.register("searched_rows", landing_rows(connection, zone, kind, files))
    columns = "file, row_number, ts" + (", request_id" if kind == "feedback" else "")
    with reading(zone.folder, files):
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE found_{kind} AS "
            f"FROM searched_rows SELECT {columns} WHERE {column} IN (SELECT unnest($1::VARCHAR[]))",
            [sorted(values)],
        )
    connection.unregister("searched_rows")
    numbers: dict[str, list[int]] = {}
    for file, number in connection.execute(f"FROM found_{kind} SELECT file, row_number ORDER BY file").fetchall():
        numbers.setdefault(file, []).append(number)
    return [Match(file, column, values, found) for file, found in numbers.items()]


def _rewrite(path: Path, match: Match) -> None:
    """Replace a file by its other rows; delete it where none are left. Rows of text files stay byte for byte."""
    with replacing(path) as partial:
        write = _write_parquet if file_format(path) == "parquet" else _write_text
        left, gone = write(path, partial, match)
        if gone != len(match.row_numbers):
            raise LandingError(
                f"{path}: {len(match.row_numbers)} rows have to go, but {gone} were found again in its text; "
                "take them out by hand, and run the command again"
            )
    if not left:
        path.unlink()


def _write_parquet(path: Path, partial: Path, match: Match) -> tuple[int, int]:
    source = pyarrow.parquet.ParquetFile(path)
    keep = np.ones(source.metadata.num_rows, dtype=np.bool_)
    keep[np.array(match.row_numbers) - 1] = False
    codec = source.metadata.row_group(0).column(0).compression.lower()
    compression = "none" if codec == "uncompressed" else codec
    start = 0
    with pyarrow.parquet.ParquetWriter(partial, source.schema_arrow, compression=compression) as writer:
        for batch in source.iter_batches():
            writer.write_batch(batch.filter(pyarrow.array(keep[start : start + batch.num_rows])))
            start += batch.num_rows
    return int(keep.sum()), int((~keep).sum())


def _write_text(path: Path, partial: Path, match: Match) -> tuple[int, int]:
    records = _csv_records if file_format(path) == "csv" else _json_records
    left = gone = 0
    with _open_text(path, path, "rt") as source, _open_text(path, partial, "wt") as target:
        for text, has_values, value in records(source, match.column, path):
            if has_values and value is not None and clean_id(value) in match.values:
                gone += 1
            else:
                target.write(text)
                left += has_values
    return left, gone


def _open_text(named: Path, path: Path, mode: str) -> TextIO:
    """Text without translated line ends, compressed where the name ends in ``.gz``."""
    encoding = "utf-8-sig" if mode == "rt" else "utf-8"
    if named.suffix.lower() == ".gz":
        return gzip.open(path, mode, encoding=encoding, newline="")  # type: ignore[return-value]
    return path.open(mode, encoding=encoding, newline="")  # type: ignore[return-value]


Records = Iterator[tuple[str, bool, object]]
"""For each record: its text, whether it is a row with values, and the value of the wanted column."""


def _csv_records(source: TextIO, column: str, path: Path) -> Records:
    header, delimiter = csv_header(path)
    place = [named(name) for name in header].index(column)
    lines: list[str] = []

    def remembered() -> Iterator[str]:
        for line in source:
            lines.append(line)
            yield line

    for number, record in enumerate(csv.reader(remembered(), delimiter=delimiter)):
        is_row = number > 0 and bool(record)
        yield "".join(lines), is_row, record[place] if is_row and place < len(record) else None
        lines.clear()


def _json_records(source: TextIO, column: str, path: Path) -> Records:  # noqa: ARG001
    for line in source:
        found = json.loads(line) if line.strip() else {}
        values = [value for key, value in found.items() if named(key) == column and value is not None]
        value = values[0] if values else None
        yield line, bool(line.strip()), json.dumps(value) if isinstance(value, dict | list | bool) else value


# The warehouse -------------------------------------------------------------------------------------------------------


def _clear_tables(connection: duckdb.DuckDBPyConnection, user: str) -> dict[str, int]:
    """Delete the user's rows from each table; returns rows by table."""
    gone = {}
    for table, condition in _rows_of_user().items():
        ((gone[table],),) = connection.execute(f"DELETE FROM {table} WHERE {condition}", {"user": user}).fetchall()
    return {table: rows for table, rows in gone.items() if rows}


def _rows_of_user() -> dict[str, str]:
    """The condition on the user's rows of each table with user ids, and of the rejected rows. Reads found_requests."""
    named = {table.name: "user_id = $user" for table in TABLES.values() if USER in table.columns}
    named["raw.rejected_rows"] = (
        "json_extract_string(payload, '$.user_id') = $user OR (kind = 'outcomes' "
        "AND json_extract_string(payload, '$.request_id') IN (FROM found_requests))"
    )
    return named


def _first_days(connection: duckdb.DuckDBPyConnection, user: str) -> tuple[date | None, date | None]:
    """The user's first day with an event, and with an impression, in landing files and tables."""
    ((event, impression),) = connection.execute(query("housekeeping.first_days_of_user"), {"user": user}).fetchall()
    return event, impression


# The tombstone -------------------------------------------------------------------------------------------------------


def _write_tombstone(
    home: Home,
    user: str,
    first_days: tuple[date | None, date | None],
    by_examples: dict[str, str],
    *,
    found: bool,
    quiet: bool,
) -> Trace:
    """Write the user's tombstone, or update an older one."""
    tombstones = read_tombstones(home.landing)
    hashed = tombstones.hashed(user)
    known = Trace(**tombstones.users.get(hashed, {}))
    event, impression = (
        min((day for day in (before, now.isoformat() if now else None) if day is not None), default=None)
        for before, now in zip((known.first_event, known.first_impression), first_days, strict=True)
    )
    clean_since = known.clean_since
    if found or clean_since is None:
        clean_since = datetime.now(UTC).isoformat(timespec="seconds") if quiet else None
    trace = Trace(event, impression, clean_since, known.seen_by)
    seen_by = decide(home, trace, by_examples)
    trace = Trace(event, impression, clean_since, {**seen_by, **known.seen_by})
    tombstones.users[hashed] = asdict(trace)
    write_tombstones(home.landing, tombstones)
    return trace
