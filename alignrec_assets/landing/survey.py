"""The survey of the landing zone: which files there are, and which days the rows of each file belong to.

``raw.landing_files`` keeps the result for each file, so that a file is read once for it. The functions work on an open
connection inside the caller's transaction, in a session whose time zone is UTC.
"""

import json
import math
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl

from alignrec_assets.home import FORMAT_VERSION
from alignrec_assets.landing.data_contract import CANNOT_BE_OPENED, LandingError, LandingFile
from alignrec_assets.landing.readers import registered_landing
from alignrec_assets.warehouse.queries import query
from models.files import content_hash
from models.messages import listed


@dataclass(frozen=True)
class Calendar:
    """Days of the log; ``last_day`` is none while the log is open."""

    first_day: date
    last_day: date | None

    def clamp(self, day: date | None) -> date:
        """The day, or the nearest day of the calendar where it lies outside; the first day where there is none."""
        latest = self.last_day or date.max
        return min(max(day or self.first_day, self.first_day), latest)


@dataclass(frozen=True)
class SurveyedFile:
    """A landing file and the days, within the calendar, that its rows belong to.

    ``fault`` tells why a file cannot be read. Its days are then the day of its folder and the days of the file that was
    read last under this name, or all days where neither is known.
    """

    kind: str
    file: str
    content_hash: str
    first_day: date
    last_day: date
    rows: int
    fault: str | None = None


Surveyed = tuple[str, date | None, date | None, int]
"""Content hash, first day, last day and rows of a file in ``raw.landing_files``."""


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


def survey(connection: duckdb.DuckDBPyConnection, landing: Path, kind: str, calendar: Calendar) -> list[SurveyedFile]:
    """Bring ``raw.landing_files`` up to date for a kind, reading only files whose content was not read before.

    A file that cannot be read is tried again each time. Until then the table keeps what was read last under its name.
    """
    found = {file.path: file for file in landing_files(landing, kind)}
    known = _surveyed_files(connection, kind)
    fresh = [file for path, file in found.items() if path not in known or known[path][0] != file.content_hash]
    read, faults = _read_days(connection, landing, kind, fresh)
    stale = known.keys() - found.keys() | {file.path for file in fresh} - faults.keys()
    _replace_files(connection, kind, sorted(stale), read)
    return [
        SurveyedFile(kind, path, hashed, calendar.clamp(first), calendar.clamp(last), rows)
        for path, (hashed, first, last, rows) in _surveyed_files(connection, kind).items()
        if path not in faults
    ] + [_unreadable_file(found[path], known.get(path), calendar, fault) for path, fault in faults.items()]


def _surveyed_files(connection: duckdb.DuckDBPyConnection, kind: str) -> dict[str, Surveyed]:
    files = "FROM raw.landing_files SELECT file, content_hash, first_day, last_day, rows"
    rows = connection.execute(f"{files} WHERE kind = $kind ORDER BY file", {"kind": kind}).fetchall()
    return {row[0]: row[1:] for row in rows}


def _read_days(
    connection: duckdb.DuckDBPyConnection, landing: Path, kind: str, files: list[LandingFile]
) -> tuple[list[pl.DataFrame], dict[str, str]]:
    """``file_days`` of the files that can be read, and the fault of each file that cannot.

    Where the read fails, the list of files is halved and each half is read again, until the fault belongs to one file.
    The files are read on a connection of their own, because an error ends the transaction.
    """
    if not files:
        return [], {}
    try:
        with connection.cursor() as reader:
            reader.execute("SET TimeZone = 'UTC'")
            return [file_days(reader, landing, kind, files)], {}
    except LandingError as error:
        if len(files) == 1:
            return [], {files[0].path: str(error)}
    half = len(files) // 2
    first, first_faults = _read_days(connection, landing, kind, files[:half])
    second, second_faults = _read_days(connection, landing, kind, files[half:])
    return first + second, first_faults | second_faults


def _replace_files(
    connection: duckdb.DuckDBPyConnection, kind: str, stale: list[str], read: list[pl.DataFrame]
) -> None:
    for table in ("raw.landing_files", "raw.forgotten_rows"):
        connection.execute(
            f"DELETE FROM {table} WHERE kind = $kind AND list_contains($stale::VARCHAR[], file)",
            {"kind": kind, "stale": stale},
        )
    for files in read:
        connection.register("fresh_files", files)
        connection.execute(
            "INSERT INTO raw.landing_files BY NAME FROM fresh_files SELECT * EXCLUDE (earliest_day, forgotten)"
        )
        connection.execute(
            "INSERT INTO raw.forgotten_rows BY NAME "
            "FROM fresh_files SELECT kind, file, forgotten AS rows WHERE forgotten > 0"
        )
        connection.unregister("fresh_files")


def _unreadable_file(file: LandingFile, before: Surveyed | None, calendar: Calendar, fault: str) -> SurveyedFile:
    days = [] if before is None else [calendar.clamp(before[1]), calendar.clamp(before[2])]
    days += [] if file.arrival_day is None else [calendar.clamp(file.arrival_day)]
    days = days or [calendar.first_day, calendar.clamp(date.max)]
    return SurveyedFile(file.kind, file.path, file.content_hash, min(days), max(days), 0, fault)


def unreadable_days(surveyed: list[SurveyedFile], days: list[date], attribution_hours: float = 0.0) -> dict[date, str]:
    """The days that cannot be made, and the faults of the files that they need.

    A day needs impressions from the attribution window around it, and outcomes up to the end of the window.
    """
    around = timedelta(days=window_days(attribution_hours))
    broken = [(file, timedelta(0) if file.kind == "outcomes" else around) for file in surveyed if file.fault]
    found = {
        day: [file.fault for file, before in broken if day + around >= file.first_day and day - before <= file.last_day]
        for day in days
    }
    return {day: listed(list(map(str, faults)), "; ") for day, faults in found.items() if faults}


def file_days(
    connection: duckdb.DuckDBPyConnection, landing: Path, kind: str, files: list[LandingFile]
) -> pl.DataFrame:
    """Rows of ``raw.landing_files`` for the files, with two more columns.

    ``earliest_day`` is the first day of any readable ts. ``forgotten`` is the number of rows of forgotten users, which
    no other column counts.

    Raises:
        LandingError: naming the file that cannot be read.
    """
    hashes = {"file": [file.path for file in files], "content_hash": [file.content_hash for file in files]}
    connection.register("surveyed_files", pl.DataFrame(hashes, schema={"file": pl.String, "content_hash": pl.String}))
    with registered_landing(connection, landing, kind, files):
        rows = connection.view(f"landing_{kind}")
        moment = "ts" if "ts" in rows.columns else "CAST(NULL AS VARCHAR) AS ts"
        connection.register("surveyed_rows", rows.project(f"file, row_number, arrival_day, {moment}"))
        connection.register("forgotten_rows", connection.view(f"forgotten_{kind}").project("file"))
        found: pl.DataFrame = connection.sql(query("raw.landing_files"), params={"kind": kind}).pl()
        connection.unregister("forgotten_rows")
        connection.unregister("surveyed_rows")
    connection.unregister("surveyed_files")
    return found


def day_inputs(
    connection: duckdb.DuckDBPyConnection,
    kind: str,
    days: list[date],
    calendar: Calendar,
    attribution_hours: float = 0.0,
) -> dict[date, list[str]]:
    """What the rows of each day are made from, for fingerprints: ``file hash`` of every landing file that is needed.

    For feedback these are the impressions in the attribution window around the day and the outcomes up to the end of
    the window. As long as the window of the day's last moment is open, the end of the data is part of it.
    """
    around = window_days(attribution_hours)
    inputs = _covering_hashes(connection, kind, days, calendar, around, around)
    if kind != "feedback":
        return inputs
    outcomes = _covering_hashes(connection, "outcomes", days, calendar, 0, around)
    data_until = data_end(connection, calendar)
    for day in days:
        closes = datetime.combine(day + timedelta(days=1), datetime.min.time()) + timedelta(hours=attribution_hours)
        is_open = data_until is None or closes > datetime.combine(data_until, datetime.min.time())
        inputs[day] += outcomes[day] + ([f"data up to {data_until}"] if is_open else [])
    return inputs


def _covering_hashes(
    connection: duckdb.DuckDBPyConnection, kind: str, days: list[date], calendar: Calendar, before: int, after: int
) -> dict[date, list[str]]:
    inputs: dict[date, list[str]] = {day: [] for day in days}
    for day, file, hashed in _covering_rows(connection, kind, days, calendar, before, after):
        inputs[day].append(f"{file} {hashed}")
    return inputs


def _covering_rows(
    connection: duckdb.DuckDBPyConnection, kind: str, days: list[date], calendar: Calendar, before: int, after: int
) -> list[tuple[date, str, str]]:
    parameters = asdict(calendar) | {"kind": kind, "days": days, "days_before": before, "days_after": after}
    return connection.execute(query("landing.covering_files"), parameters).fetchall()


def covering_files(
    connection: duckdb.DuckDBPyConnection,
    landing: Path,
    kind: str,
    days: list[date],
    calendar: Calendar,
    before: int = 0,
    after: int = 0,
) -> list[LandingFile]:
    """Surveyed files with rows on or around the days."""
    rows = _covering_rows(connection, kind, days, calendar, before, after)
    hashes = {file: hashed for _, file, hashed in rows}
    folders = {file: (landing / file).parent for file in hashes}
    return [
        LandingFile(kind, file, None if folders[file].name == kind else _arrival_day(folders[file]), hashed)
        for file, hashed in sorted(hashes.items())
    ]


def window_days(attribution_hours: float) -> int:
    """The number of days that an attribution window can reach into."""
    return math.ceil(attribution_hours / 24)


def data_end(connection: duckdb.DuckDBPyConnection, calendar: Calendar) -> date | None:
    """The day at whose midnight the data end; none where no log has landed."""
    row = connection.execute(query("landing.data_end"), asdict(calendar)).fetchone()
    found: date | None = row[0] if row else None
    return found
