"""The survey of the landing zone: which files there are, and which days the rows of each file belong to.

``raw.landing_files`` and ``raw.landing_days`` keep the result, so that a file is read once for it. The functions work
on an open connection inside the caller's transaction, in a session whose time zone is UTC.
"""

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl

from alignrec_assets.home import FORMAT_VERSION
from alignrec_assets.landing.data_contract import CANNOT_BE_OPENED, LandingError, LandingFile, near_misses
from alignrec_assets.landing.readers import file_columns, registered_landing
from alignrec_assets.landing.zone import AttributionWindow, Calendar, LandingZone
from alignrec_assets.warehouse.queries import query
from models.files import content_hash
from models.messages import listed
from models.progress import Log, silent


@dataclass(frozen=True)
class SurveyedFile:
    """A landing file and the first and last day of the calendar that its rows belong to; none where no row counts.

    ``fault`` tells why a file cannot be read. Its days are then the day of its folder and the days of the file that was
    read last under this name, or all days where neither is known.
    """

    kind: str
    file: str
    content_hash: str
    first_day: date | None
    last_day: date | None
    fault: str | None = None


@dataclass(frozen=True)
class OutOfScope:
    """Landing rows of one kind on one side of the calendar: how many, and their first and last day."""

    kind: str
    early: bool
    rows: int
    first_day: date
    last_day: date


FileDays = tuple[pl.DataFrame, pl.DataFrame]
"""Rows of ``raw.landing_files`` and of ``raw.landing_days``."""
NO_WINDOW = AttributionWindow()


def landing_files(landing: Path, kind: str) -> list[LandingFile]:
    """All landing files of a kind, by path; files named ``.*``, ``_*`` or ``*.partial`` are ignored.

    Raises:
        LandingError: a newer format, a folder that is not named as a day, or a folder inside a day.
    """
    check_format(landing)
    folder = landing / kind
    files: list[LandingFile] = []
    for path in _visible(folder) if folder.is_dir() else []:
        if path.is_dir():
            arrival_day = _arrival_day(path)
            files += [_landing_file(landing, kind, inner, arrival_day) for inner in _visible(path)]
        else:
            files.append(_landing_file(landing, kind, path, None))
    return sorted(files, key=lambda file: file.path)


def check_format(landing: Path) -> None:
    """Refuse a landing folder that a newer alignrec wrote.

    Raises:
        LandingError: naming the file ``FORMAT`` and both versions.
    """
    path = landing / "FORMAT"
    if not path.exists():
        return
    try:
        found = int(json.loads(path.read_text(encoding="utf-8"))["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise LandingError(f'{path} is damaged: it should read {{"format_version": {FORMAT_VERSION}}}') from error
    if found > FORMAT_VERSION:
        raise LandingError(
            f"{path} says format_version {found}, this alignrec knows formats up to {FORMAT_VERSION}: upgrade alignrec"
        )


def _visible(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith((".", "_")) and not path.name.endswith(".partial")
    ]


def _arrival_day(folder: Path) -> date:
    try:
        return datetime.strptime(folder.name, "day=%Y-%m-%d").date()
    except ValueError:
        raise LandingError(f"{folder} is not a day folder: call it day=YYYY-MM-DD, or move it away") from None


def _landing_file(landing: Path, kind: str, path: Path, arrival_day: date | None) -> LandingFile:
    if path.is_dir():
        raise LandingError(f"{path} is a folder inside a day: put its files into the folder of their day")
    return LandingFile(kind, path.relative_to(landing).as_posix(), arrival_day, _content_hash(path))


def _content_hash(path: Path) -> str:
    try:
        return content_hash(path)
    except OSError:  # a broken link, no right to read, or gone since it was listed: the reader reports it
        return CANNOT_BE_OPENED


def survey(
    connection: duckdb.DuckDBPyConnection, zone: LandingZone, kind: str, log: Log = silent
) -> list[SurveyedFile]:
    """Bring ``raw.landing_files`` and ``raw.landing_days`` up to date for a kind; only files with new content are read.

    A file that cannot be read is tried again each time. Until then the tables keep what was read last under its name.
    ``log`` is told of columns of new files that are not read, but look like one that is missing.
    """
    found = {file.path: file for file in landing_files(zone.folder, kind)}
    known = {file.file: file for file in _surveyed_files(connection, zone, kind)}
    fresh = [file for path, file in found.items() if path not in known or known[path].content_hash != file.content_hash]
    read, faults = _read_days(connection, zone, kind, fresh)
    stale = known.keys() - found.keys() | {file.path for file in fresh} - faults.keys()
    _replace_files(connection, kind, sorted(stale), read)
    _tell_near_misses(zone, kind, [file for file in fresh if file.path not in faults], log)
    readable = [file for file in _surveyed_files(connection, zone, kind) if file.file not in faults]
    return readable + [_unreadable_file(found[path], known.get(path), zone, fault) for path, fault in faults.items()]


def _tell_near_misses(zone: LandingZone, kind: str, files: list[LandingFile], log: Log) -> None:
    """One line for each such column, with the first of its files."""
    found: dict[tuple[str, str], list[str]] = {}
    for file in files:
        for name, meant in near_misses(kind, file_columns(zone.folder / file.path)).items():
            found.setdefault((name, meant), []).append(file.path)
    for (name, meant), paths in found.items():
        others = f" and {len(paths) - 1:,} more files" if len(paths) > 1 else ""
        log(f"{paths[0]}{others}: the column {name} is not read; {meant} may be meant: rename it")


def _surveyed_files(connection: duckdb.DuckDBPyConnection, zone: LandingZone, kind: str) -> list[SurveyedFile]:
    connection.execute(query("macros.landed_day"))
    rows = connection.execute(query("landing.surveyed_files"), zone.calendar.parameters | {"kind": kind}).fetchall()
    return [SurveyedFile(kind, *row) for row in rows]


def _read_days(
    connection: duckdb.DuckDBPyConnection, zone: LandingZone, kind: str, files: list[LandingFile]
) -> tuple[list[FileDays], dict[str, str]]:
    """``file_days`` of the files that can be read, and the fault of each file that cannot.

    Where the read fails, the list of files is halved and each half is read again, until the fault belongs to one file.
    The files are read on a connection of their own, because an error ends the transaction.
    """
    if not files:
        return [], {}
    try:
        with connection.cursor() as reader:
            reader.execute("SET TimeZone = 'UTC'")
            return [file_days(reader, zone, kind, files)], {}
    except LandingError as error:
        if len(files) == 1:
            return [], {files[0].path: str(error)}
    half = len(files) // 2
    first, first_faults = _read_days(connection, zone, kind, files[:half])
    second, second_faults = _read_days(connection, zone, kind, files[half:])
    return first + second, first_faults | second_faults


def _replace_files(connection: duckdb.DuckDBPyConnection, kind: str, stale: list[str], read: list[FileDays]) -> None:
    for table in ("raw.landing_files", "raw.landing_days", "raw.forgotten_rows"):
        connection.execute(
            f"DELETE FROM {table} WHERE kind = $kind AND list_contains($stale::VARCHAR[], file)",
            {"kind": kind, "stale": stale},
        )
    for files, days in read:
        connection.register("fresh_files", files)
        connection.register("fresh_days", days)
        connection.execute("INSERT INTO raw.landing_days BY NAME FROM fresh_days")
        connection.execute("INSERT INTO raw.landing_files BY NAME FROM fresh_files SELECT * EXCLUDE forgotten")
        connection.execute(
            "INSERT INTO raw.forgotten_rows BY NAME "
            "FROM fresh_files SELECT kind, file, forgotten AS rows WHERE forgotten > 0"
        )
        connection.unregister("fresh_days")
        connection.unregister("fresh_files")


def _unreadable_file(file: LandingFile, before: SurveyedFile | None, zone: LandingZone, fault: str) -> SurveyedFile:
    known = [] if before is None else [before.first_day, before.last_day]
    arrived = [file.arrival_day] if file.arrival_day and zone.calendar.holds(file.arrival_day) else []
    days = [day for day in (*known, *arrived) if day] or [zone.calendar.first_day, zone.calendar.end]
    return SurveyedFile(file.kind, file.path, file.content_hash, min(days), max(days), fault)


def unreadable_days(
    surveyed: list[SurveyedFile], days: list[date], calendar: Calendar, window: AttributionWindow = NO_WINDOW
) -> dict[date, str]:
    """The days that cannot be made, and the faults of the files that they need.

    A day needs impressions from the attribution window around it, and outcomes up to the end of the window.
    """
    found: dict[date, list[str]] = {day: [] for day in days}
    for file in surveyed:
        if file.fault and file.first_day and file.last_day:
            before = window.days_before if file.kind == "outcomes" else window.days_after
            for day in days:
                first, last = calendar.around(day, before, window.days_after)
                if first <= file.last_day and file.first_day <= last:
                    found[day].append(file.fault)
    return {day: listed(faults, "; ") for day, faults in found.items() if faults}


def file_days(
    connection: duckdb.DuckDBPyConnection, zone: LandingZone, kind: str, files: list[LandingFile]
) -> FileDays:
    """Rows of ``raw.landing_files`` for the files, and their rows of ``raw.landing_days``.

    Files have one more column, ``forgotten``: the number of rows of forgotten users, which no other column counts.

    Raises:
        LandingError: naming the file that cannot be read.
    """
    hashes = {"file": [file.path for file in files], "content_hash": [file.content_hash for file in files]}
    connection.register("surveyed_files", pl.DataFrame(hashes, schema={"file": pl.String, "content_hash": pl.String}))
    with registered_landing(connection, zone, kind, files):
        rows = connection.view(f"landing_{kind}")
        moment = "ts" if "ts" in rows.columns else "CAST(NULL AS VARCHAR) AS ts"
        connection.register("surveyed_rows", rows.project(f"file, row_number, arrival_day, {moment}"))
        connection.register("forgotten_rows", connection.view(f"forgotten_{kind}").project("file"))
        days: pl.DataFrame = connection.sql(query("raw.landing_days"), params={"kind": kind}).pl()
        connection.register("surveyed_days", days)
        found: pl.DataFrame = connection.sql(query("raw.landing_files"), params={"kind": kind}).pl()
        for view in ("surveyed_days", "forgotten_rows", "surveyed_rows"):
            connection.unregister(view)
    connection.unregister("surveyed_files")
    return found, days


def day_inputs(
    connection: duckdb.DuckDBPyConnection,
    zone: LandingZone,
    kind: str,
    days: list[date],
    window: AttributionWindow = NO_WINDOW,
) -> dict[date, list[str]]:
    """What the rows of each day are made from, for fingerprints: ``file hash`` of every landing file that is needed.

    For feedback these are the impressions in the attribution window around the day and the outcomes up to the end of
    the window. As long as the window of the day's last moment is open, the end of the data is part of it.
    """
    around = window.days_after
    inputs = _covering_hashes(connection, zone, kind, days, around, around)
    if kind != "feedback":
        return inputs
    outcomes = _covering_hashes(connection, zone, "outcomes", days, window.days_before, around)
    data_until = data_end(connection, zone)
    for day in days:
        _, last = zone.calendar.around(day, 0, 0)
        closes = datetime.combine(last + timedelta(days=1), datetime.min.time()) + timedelta(hours=window.hours)
        is_open = data_until is None or closes > datetime.combine(data_until, datetime.min.time())
        inputs[day] += outcomes[day] + ([f"data up to {data_until}"] if is_open else [])
    return inputs


def _covering_hashes(
    connection: duckdb.DuckDBPyConnection, zone: LandingZone, kind: str, days: list[date], before: int, after: int
) -> dict[date, list[str]]:
    inputs: dict[date, list[str]] = {day: [] for day in days}
    for day, file, hashed in _covering_rows(connection, zone, kind, days, before, after):
        inputs[day].append(f"{file} {hashed}")
    return inputs


def _covering_rows(
    connection: duckdb.DuckDBPyConnection, zone: LandingZone, kind: str, days: list[date], before: int, after: int
) -> list[tuple[date, str, str]]:
    connection.execute(query("macros.landed_day"))
    spans = [zone.calendar.around(day, before, after) for day in days]
    parameters = {
        "kind": kind,
        "days": days,
        "firsts": [first for first, _ in spans],
        "lasts": [last for _, last in spans],
    }
    return connection.execute(query("landing.covering_files"), zone.calendar.parameters | parameters).fetchall()


def covering_files(
    connection: duckdb.DuckDBPyConnection,
    zone: LandingZone,
    kind: str,
    days: list[date],
    before: int = 0,
    after: int = 0,
) -> list[LandingFile]:
    """Surveyed files with rows on or around the days."""
    rows = _covering_rows(connection, zone, kind, days, before, after)
    hashes = {file: hashed for _, file, hashed in rows}
    folders = {file: (zone.folder / file).parent for file in hashes}
    return [
        LandingFile(kind, file, None if folders[file].name == kind else _arrival_day(folders[file]), hashed)
        for file, hashed in sorted(hashes.items())
    ]


def data_end(connection: duckdb.DuckDBPyConnection, zone: LandingZone) -> date | None:
    """The day at whose midnight the data end; none where no log has landed."""
    connection.execute(query("macros.landed_day"))
    parameters = zone.calendar.parameters | {"closed": zone.calendar.closed}
    row = connection.execute(query("landing.data_end"), parameters).fetchone()
    found: date | None = row[0] if row else None
    return found


def rows_of_days(connection: duckdb.DuckDBPyConnection, zone: LandingZone, kind: str) -> dict[date, int]:
    """Landing rows of each partition of the calendar that has any."""
    connection.execute(query("macros.landed_day"))
    parameters = zone.calendar.partition_parameters | {"kind": kind}
    rows = connection.execute(query("landing.rows_of_days"), parameters).fetchall()
    return {day: int(count) for day, count in rows if day is not None}


def out_of_scope(connection: duckdb.DuckDBPyConnection, zone: LandingZone) -> list[OutOfScope]:
    """Landing rows outside the calendar: they are counted, and are in no table."""
    rows = connection.execute(query("raw.out_of_scope"), zone.calendar.parameters).fetchall()
    return [OutOfScope(kind, early, int(count), first, last) for kind, early, count, first, last in rows]
