"""Loads landing files into the ``raw`` tables by day; rows that break the data contract are kept with the reason.

Loading the same files again changes nothing. The functions work on an open connection inside the caller's transaction,
in a session whose time zone is UTC. ``readers`` turns files into rows, ``sql/landing`` types and checks the rows, and
``sql/raw`` computes the tables.
"""

import math
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import duckdb

from alignrec_assets.landing.data_contract import LandingError, LandingFile
from alignrec_assets.landing.readers import registered_landing
from alignrec_assets.landing.survey import covering_files, data_end, landing_files, rows_of_days, survey
from alignrec_assets.landing.zone import AttributionWindow, LandingZone
from alignrec_assets.partitions import partition_of
from alignrec_assets.warehouse.queries import query
from models.messages import listed
from models.progress import Log, Progress, silent

BATCH_ROWS = {"events": 8_000_000, "feedback": 32_000_000}
"""Days are loaded in batches of about this many rows, so that memory depends on the batch and not on the log.

A batch of feedback is larger, because only its doubtful rows are kept in memory.
"""
_TYPED_FEEDBACK = f"WITH typed_feedback AS NOT MATERIALIZED ({query('landing.feedback')})"


@dataclass(frozen=True)
class PositiveRule:
    """When a row without ``positive`` counts as positive playback: any one of these is enough.

    Attributes:
        watch_share: least share of the item's duration that was watched; none: watching does not count.
        rating_at_least: least rating; none: ratings do not count.
        liked: whether a like is enough.
        completed: whether playing to the end is enough.
        when_unknown: whether a row without any signal counts as positive.
    """

    watch_share: float | None
    rating_at_least: float | None
    liked: bool
    completed: bool
    when_unknown: bool


@dataclass(frozen=True)
class LoadReport:
    """What came of the landing rows of one day, or of the catalogue.

    Attributes:
        rows: were loaded.
        rejected: break the data contract.
        duplicates: repeat another row; of items: were replaced by a later row.
        outcomes: sound outcomes of the day.
        unmatched: those of them that belong to no impression, by reason.
    """

    rows: int
    rejected: int
    duplicates: int
    outcomes: int = 0
    unmatched: dict[str, int] = field(default_factory=dict)


def load_items(connection: duckdb.DuckDBPyConnection, zone: LandingZone, log: Log = silent) -> LoadReport:
    """Replace ``raw.items`` by the latest row of every item, and the rejected rows of items.

    Raises:
        LandingError: there are no items files, or one of them cannot be read.
    """
    faults = [file.fault for file in survey(connection, zone, "items", log) if file.fault]
    if faults:
        raise LandingError(listed(faults, "; "))
    files = landing_files(zone.folder, "items")
    if not files:
        raise LandingError(f"{zone.folder / 'items'} holds no files: put the catalogue there, or run `alignrec ingest`")
    _check_rows(connection, zone, "items", files, {"first_day": zone.calendar.first_day})
    connection.execute("DELETE FROM raw.items")
    connection.execute(f"INSERT INTO raw.items BY NAME {query('raw.items')}")
    connection.execute("DELETE FROM raw.rejected_rows WHERE kind = 'items'")
    connection.execute(_insert_rejected("items", "checked_items"))
    (counts,) = connection.execute(query("landing.item_report")).fetchall()
    return LoadReport(*counts)


def load_events(
    connection: duckdb.DuckDBPyConnection,
    zone: LandingZone,
    days: list[date],
    positive: PositiveRule,
    log: Log = silent,
) -> dict[date, LoadReport]:
    """Replace the rows of the days in ``raw.events``, and their rejected rows, in batches of days.

    ``survey`` must have run for events, and ``raw.items`` must be filled.

    Raises:
        LandingError: naming the file that cannot be read.
    """
    reports: dict[date, LoadReport] = {}
    progress = Progress(len(days), "days", log)
    for batch in _batches(connection, zone, "events", days):
        _set_days(connection, zone, "read_days", batch, 0, 0)
        files = covering_files(connection, zone, "events", batch)
        _check_rows(connection, zone, "events", files, zone.calendar.partition_parameters)
        _set_days(connection, zone, "wanted_days", batch, 0, 0)
        _clear_days(connection, "raw.events", "events")
        connection.execute(f"INSERT INTO raw.events BY NAME {query('raw.events')}", asdict(positive))
        _replace_rejected(connection, "events", "checked_events")
        reports |= _day_reports(connection, query("landing.event_reports"))
        progress.advance(len(batch))
    return reports


def load_feedback(
    connection: duckdb.DuckDBPyConnection,
    zone: LandingZone,
    days: list[date],
    positive: PositiveRule,
    window: AttributionWindow,
    log: Log = silent,
) -> dict[date, LoadReport]:
    """Replace the rows of the days in ``raw.feedback_logs``: impressions with the outcomes of the attribution window.

    ``survey`` must have run for feedback, outcomes and events, because the end of the data decides whether a window has
    closed. ``raw.items`` must be filled. Rejected rows of both kinds are kept under the day of their own time stamp.

    Raises:
        LandingError: naming the file that cannot be read.
    """
    around = window.days_after
    rule = {name: value for name, value in asdict(positive).items() if name != "rating_at_least"}
    spans = {"attribution_us": round(window.hours * 3_600_000_000), "tolerance_us": round(window.tolerance_s * 1e6)}
    closing = {**spans, "data_end": data_end(connection, zone)}
    reports: dict[date, LoadReport] = {}
    progress = Progress(len(days), "days", log)
    for batch in _batches(connection, zone, "feedback", days):
        _set_days(connection, zone, "wanted_days", batch, 0, 0)
        _set_days(connection, zone, "read_days", batch, window.days_before, around)
        outcomes = covering_files(connection, zone, "outcomes", batch, window.days_before, around)
        _check_rows(connection, zone, "outcomes", outcomes, zone.calendar.partition_parameters)
        _set_days(connection, zone, "read_days", batch, around, around)
        files = covering_files(connection, zone, "feedback", batch, around, around)
        with registered_landing(connection, zone, "feedback", files):
            _doubt_impressions(connection, zone, around)
            _clear_days(connection, "raw.feedback_logs", "feedback")
            insert = f"INSERT INTO raw.feedback_logs BY NAME {_TYPED_FEEDBACK} FROM ({query('raw.feedback_logs')})"
            _probe_the_log(connection, insert, zone.calendar.partition_parameters | rule | closing)
            unmatched = _unmatched_outcomes(connection, zone, {**spans, "window_days": around})
        _replace_rejected(connection, "feedback", "doubtful_feedback")
        _replace_rejected(connection, "outcomes", "checked_outcomes")
        found = _day_reports(connection, query("landing.feedback_reports"))
        reports |= {day: replace(report, unmatched=unmatched.get(day, {})) for day, report in found.items()}
        progress.advance(len(batch))
    return reports


def _unmatched_outcomes(
    connection: duckdb.DuckDBPyConnection, zone: LandingZone, window: dict[str, int]
) -> dict[date, dict[str, int]]:
    """Outcomes of the wanted days that belong to no impression, by day and reason."""
    ((outcomes,),) = connection.execute("SELECT count(*) FROM checked_outcomes").fetchall()
    if not outcomes:
        return {}
    unmatched = f"{_TYPED_FEEDBACK} FROM ({query('landing.unmatched_outcomes')})"
    counts: dict[date, dict[str, int]] = {}
    for day, reason, rows in connection.execute(unmatched, zone.calendar.partition_parameters | window).fetchall():
        counts.setdefault(day, {})[reason] = rows
    return counts


def _check_rows(
    connection: duckdb.DuckDBPyConnection,
    zone: LandingZone,
    kind: str,
    files: list[LandingFile],
    parameters: dict[str, Any],
) -> None:
    """Fill the temporary table ``checked_<kind>`` with typed rows; a row that breaks the data contract has a reason."""
    with registered_landing(connection, zone, kind, files):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE checked_{kind} AS {query(f'landing.{kind}')}", parameters)


def _doubt_impressions(connection: duckdb.DuckDBPyConnection, zone: LandingZone, around: int) -> None:
    """Fill ``doubtful_feedback`` for the days; rows of the days around them show which rows repeat an earlier one."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE repeated_requests AS {query('landing.repeated_requests')}")
    doubtful = f"{_TYPED_FEEDBACK} FROM ({query('landing.doubtful_feedback')})"
    _probe_the_log(
        connection, f"CREATE OR REPLACE TEMP TABLE doubtful_feedback AS {doubtful}", zone.calendar.partition_parameters
    )
    connection.execute(
        f"""UPDATE doubtful_feedback
        SET reason = repeats.reason, payload = repeats.payload, duplicate = repeats.reason IS NULL
        FROM ({query("landing.repeats")}) AS repeats
        WHERE doubtful_feedback.suspect
            AND doubtful_feedback.file = repeats.file AND doubtful_feedback.row_number = repeats.row_number""",
        {"window_days": around},
    )


def _probe_the_log(connection: duckdb.DuckDBPyConnection, statement: str, parameters: dict[str, Any]) -> None:
    """Run a statement with its joins in the order in which they are written, so that no hash table of the log is built.

    DuckDB estimates how many rows a view has. It estimated that 10 million impressions were fewer than their outcomes,
    built the hash table of the impressions, and took 12.6 s instead of 9.2 s.
    """
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    try:
        connection.execute(statement, parameters)
    finally:
        connection.execute("RESET disabled_optimizers")


def _batches(connection: duckdb.DuckDBPyConnection, zone: LandingZone, kind: str, days: list[date]) -> list[list[date]]:
    """Days in groups of about ``BATCH_ROWS`` landing rows."""
    expected = rows_of_days(connection, zone, kind)
    batches: list[list[date]] = []
    size = math.inf
    for day in sorted(days):
        size += expected.get(day, 0)
        if size > BATCH_ROWS[kind]:
            batches.append([])
            size = expected.get(day, 0)
        batches[-1].append(day)
    return batches


def _set_days(
    connection: duckdb.DuckDBPyConnection, zone: LandingZone, name: str, days: list[date], before: int, after: int
) -> None:
    """Put partitions, and those of so many days before and after each, into the temporary table ``name``."""
    partition = zone.calendar.partition
    widened = set()
    for day in days:
        first, last = zone.calendar.around(day, before, after)
        widened |= {partition_of(first + timedelta(days=shift), partition) for shift in range((last - first).days + 1)}
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT unnest($days::DATE[]) AS day", {"days": sorted(widened)}
    )


def _clear_days(connection: duckdb.DuckDBPyConnection, table: str, kind: str) -> None:
    connection.execute(f"DELETE FROM {table} WHERE day IN (FROM wanted_days)")
    connection.execute("DELETE FROM raw.pruned_items WHERE kind = $1 AND day IN (FROM wanted_days)", [kind])


def _insert_rejected(kind: str, checked: str) -> str:
    columns = f"'{kind}' AS kind, day, file, row_number, reason, payload"
    return f"INSERT INTO raw.rejected_rows BY NAME SELECT {columns} FROM {checked} WHERE reason IS NOT NULL"


def _replace_rejected(connection: duckdb.DuckDBPyConnection, kind: str, checked: str) -> None:
    connection.execute("DELETE FROM raw.rejected_rows WHERE kind = $1 AND day IN (FROM wanted_days)", [kind])
    connection.execute(f"{_insert_rejected(kind, checked)} AND day IN (FROM wanted_days)")


def _day_reports(connection: duckdb.DuckDBPyConnection, reports: str) -> dict[date, LoadReport]:
    """The report of each wanted day; ``reports`` is the text of a query."""
    return {day: LoadReport(*counts) for day, *counts in connection.execute(reports).fetchall()}
