"""Raw assets: landing files as tables by day, and the rows that break the data contract."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.loading import LoadReport, PositiveRule, load_events, load_feedback, load_items
from alignrec_assets.landing.survey import OutOfScope, day_inputs, landing_files, out_of_scope, survey, unreadable_days
from alignrec_assets.landing.zone import AttributionWindow, Calendar, LandingZone
from alignrec_assets.refresh.asset_factory import makes
from alignrec_assets.refresh.days import (
    BeforeDays,
    BrokenDaysError,
    DailyTable,
    make_days,
    refresh_days,
)
from alignrec_assets.refresh.declarations import DECLARED, Read
from alignrec_assets.refresh.fingerprints import made_by, table_layout
from alignrec_assets.refresh.tables import Facts, Result, table_result
from alignrec_assets.remote import fetch_landing
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.contract import check_table
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.records import Record, read_records, write_records
from alignrec_assets.warehouse.rows import set_wanted_days
from models.files import fingerprint
from models.progress import Log


class RejectedRowsError(RuntimeError):
    """A larger share of the landing rows than the settings allow breaks the data contract."""


def landing_zone(folder: Path, settings: Settings) -> LandingZone:
    """The landing zone, read by the settings; an open log ends today."""
    last_day = settings.calendar.last_day
    calendar = Calendar(
        settings.calendar.first_day,
        last_day or datetime.now(UTC).date(),
        last_day is not None,
        settings.calendar.partition,
    )
    return LandingZone(folder, calendar, settings.landing.missing_values)


def attribution_window(settings: Settings) -> AttributionWindow:
    """When an outcome counts for an impression, by the settings."""
    return AttributionWindow(settings.landing.attribution_hours, settings.landing.clock_tolerance_s)


def positive_rule(settings: Settings) -> PositiveRule:
    """The rule of the settings for what counts as positive."""
    return PositiveRule(**settings.positive.model_dump())


@makes("raw.items")
def items(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """The catalogue, replaced as a whole. As the first step of the days it fetches what a bucket holds."""
    settings = home.settings
    zone = landing_zone(home.home.landing, settings)
    fetch_landing(home.home, settings.remote.landing, context.log.info)
    files = [[file.path, file.content_hash] for file in landing_files(zone.folder, "items")]
    wanted = fingerprint([files, made_by("raw.items", settings), table_layout("raw.items")])
    with home.warehouse(context.log.info).writing() as connection:
        record = read_records(connection, "raw.items").get("")
        if record is not None and record.fingerprint == wanted:
            context.log.info("skipped: the landing files are unchanged")
            return table_result(record)
        report = load_items(connection, zone, context.log.info)
        check_table(connection, "raw.items")
        record = Record(wanted, report.rows, _facts(report))
        write_records(connection, "raw.items", {"": record})
    context.log.info(f"{report.rows:,} items, {report.rejected:,} rows rejected")
    return table_result(record)


@makes("raw.events")
def events(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Events of the days, from every landing file that holds rows of theirs."""
    return refresh_days(context, home, _event_log(home, context.log.info))


def _event_log(home: HomeResource, log: Log) -> DailyTable:
    settings = home.settings
    zone = landing_zone(home.home.landing, settings)
    made = [made_by("raw.events", settings), table_layout("raw.events")]
    first = zone.calendar.first_partition  # rows without a readable time stamp are filed under it

    def look(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, str]:
        return unreadable_days(survey(connection, zone, "events", log), days, zone.calendar)

    def fingerprints(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, str]:
        files = day_inputs(connection, zone, "events", days)
        catalogue = _catalogue_seen(connection, "events", days)
        return {day: fingerprint([made, files[day], catalogue[day], day == first]) for day in days}

    def build(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, tuple[int, Facts]]:
        with _blamed_on_days("raw.events", zone.folder, day_inputs(connection, zone, "events", days)):
            reports = load_events(connection, zone, days, positive_rule(settings), log)
        return {day: (report.rows, _facts(report)) for day, report in reports.items()}

    return DailyTable("raw.events", fingerprints, build, survey=look)


@makes("raw.feedback_logs")
def feedback_logs(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Exploration impressions of the days with their outcomes."""
    return refresh_days(context, home, _feedback_log(home, context.log.info))


def _feedback_log(home: HomeResource, log: Log) -> DailyTable:
    settings = home.settings
    zone, window = landing_zone(home.home.landing, settings), attribution_window(settings)
    made = [made_by("raw.feedback_logs", settings), table_layout("raw.feedback_logs")]
    first = zone.calendar.first_partition

    def look(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, str]:
        survey(connection, zone, "events")  # it tells how far the data at hand reaches
        found = [file for kind in ("feedback", "outcomes") for file in survey(connection, zone, kind, log)]
        return unreadable_days(found, days, zone.calendar, window)

    def fingerprints(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, str]:
        files = day_inputs(connection, zone, "feedback", days, window)
        catalogue = _catalogue_seen(connection, "feedback", days)
        return {day: fingerprint([made, files[day], catalogue[day], day == first]) for day in days}

    def build(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, tuple[int, Facts]]:
        inputs = day_inputs(connection, zone, "feedback", days, window)
        with _blamed_on_days("raw.feedback_logs", zone.folder, inputs):
            reports = load_feedback(connection, zone, days, positive_rule(settings), window, log)
        _tell_unmatched(list(reports.values()), log)
        return {day: (report.rows, _facts(report)) for day, report in reports.items()}

    return DailyTable("raw.feedback_logs", fingerprints, build, survey=look)


def _tell_unmatched(reports: list[LoadReport], log: Log) -> None:
    """One line on the outcomes that belong to no impression, where there are any."""
    reasons: Counter[str] = Counter()
    for report in reports:
        reasons.update(report.unmatched)
    if reasons:
        told = "; ".join(f"{rows:,} {reason}" for reason, rows in reasons.most_common())
        log(f"{reasons.total():,} of {sum(report.outcomes for report in reports):,} outcomes count for nothing: {told}")


@contextmanager
def _blamed_on_days(table: str, landing: Path, inputs: dict[date, list[str]]) -> Iterator[None]:
    """A file that cannot be read breaks the days that it counts for; ``inputs`` is what ``day_inputs`` says of them.

    The survey reads little more than time stamps, so damage elsewhere in a Parquet file shows only here.
    """
    try:
        yield
    except LandingError as error:
        file = error.path and error.path.relative_to(landing).as_posix()
        broken = [day for day, files in inputs.items() if file in [entry.rpartition(" ")[0] for entry in files]]
        if not broken:
            raise
        raise BrokenDaysError(table, dict.fromkeys(broken, str(error))) from error


def bring_back_pruned_days(home: HomeResource, reader: str, log: Log) -> BeforeDays:
    """What a daily reader of raw logs does first: pruned days that its days look at are read again from landing files.

    A pruned day is no empty day. Its record stands, so that nothing is stale, and its rows come back where they count.
    """
    settings = home.settings

    def bring_back(connection: duckdb.DuckDBPyConnection, days: list[date]) -> None:
        for kind, raw_log in (("events", _event_log(home, log)), ("feedback", _feedback_log(home, log))):
            reached = [read for read in DECLARED[reader].reads if read.asset == raw_log.name]
            pruned = connection.execute(query("raw.pruned_days"), {"kind": kind}).fetchall()
            wanted = [past for (past,) in pruned if _reach(reached, past, days, settings)]
            if wanted:
                log(f"{len(wanted)} pruned days of {raw_log.name} are read again, from {wanted[0]} to {wanted[-1]}")
                try:
                    unreadable = raw_log.survey(connection, wanted) if raw_log.survey is not None else {}
                    if unreadable:
                        raise BrokenDaysError(raw_log.name, unreadable)
                    make_days(connection, raw_log, wanted)
                except BrokenDaysError as error:
                    behind = {
                        day: faults
                        for past, faults in error.days.items()
                        for day in _reach(reached, past, days, settings)
                    }
                    raise BrokenDaysError(raw_log.name, behind) from error

    return bring_back


def _reach(reads: Sequence[Read], past: date, days: list[date], settings: Settings) -> list[date]:
    """Of the days of a reader: those that look at a past day."""
    return [day for day in days if any(read.covers(past, day, settings) for read in reads)]


@makes("raw.rejected_rows")
def rejected_rows(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Counts what the landing zone rejected; above the share that the settings allow, nothing downstream runs."""
    zone = landing_zone(home.home.landing, home.settings)
    with home.warehouse(context.log.info).writing() as connection:
        check_table(connection, "raw.rejected_rows")
        counts = connection.execute(query("raw.rejection_reasons")).fetchall()
        example = connection.execute(query("raw.first_rejected_row")).fetchall()
        outside = out_of_scope(connection, zone)
        ((read, forgotten),) = connection.execute(query("raw.row_totals")).fetchall()
        rejected = sum(count for _, _, count in counts)
        rows_read = int(read) - sum(side.rows for side in outside)
        facts = {
            "rows_read": rows_read,
            "reasons": {f"{kind}: {reason}": count for kind, reason, count in counts[:20]},
            "forgotten": int(forgotten),
            "out_of_scope": [told_out_of_scope(side, zone) for side in outside],
        }
        record = Record(fingerprint([counts, rows_read]), rejected, facts)
        write_records(connection, "raw.rejected_rows", {"": record})
    share = rejected / rows_read if rows_read else 0.0
    limit = home.settings.landing.rejected_share_limit
    unread = f"; {int(forgotten):,} of forgotten users not read" if forgotten else ""
    context.log.info(f"{rejected:,} of {rows_read:,} landing rows rejected{unread}")
    for side in outside:
        context.log.info(told_out_of_scope(side, zone))
    if share > limit:
        file, row, reason = example[0]
        place = f"{file}, row {row}" if row is not None else file
        raise RejectedRowsError(
            f"{rejected:,} of {rows_read:,} landing rows ({share:.1%}) break the data contract, more than the "
            f"{limit:.1%} allowed by landing.rejected_share_limit. The first: {place}: {reason}. "
            "raw.rejected_rows holds all of them with their reasons: fix the files, or raise the limit."
        )
    return table_result(record)


def told_out_of_scope(side: OutOfScope, zone: LandingZone) -> str:
    """One sentence on the landing rows of a kind that lie on one side of the calendar."""
    rows = f"{side.rows:,} rows of {side.kind}, of {side.first_day} to {side.last_day}, are"
    if side.early:
        return f"{rows} before calendar.first_day {zone.calendar.first_day}: out of scope, not read"
    if zone.calendar.closed:
        return f"{rows} after calendar.last_day {zone.calendar.end}: out of scope, not read"
    return f"{rows} ahead of today, {zone.calendar.end}: held back until their day"


def _facts(report: LoadReport) -> dict[str, Any]:
    facts: dict[str, Any] = {"rejected": report.rejected, "duplicates": report.duplicates}
    if report.outcomes:
        facts |= {"outcomes": report.outcomes, "unmatched_outcomes": report.unmatched}
    return facts


def _catalogue_seen(connection: duckdb.DuckDBPyConnection, kind: str, days: list[date]) -> dict[date, list[str | None]]:
    """What each day depends on in the catalogue: the items it names, and all of it where rows were rejected.

    A catalogue grows every day; a day that knows all its items must not be read again for that.
    """
    set_wanted_days(connection, days)
    seen = dict(connection.execute(query("raw.seen_items"), {"kind": kind}).fetchall())
    kinds = [kind, "outcomes"] if kind == "feedback" else [kind]
    rejected = connection.execute(query("raw.days_with_rejected_rows"), {"kinds": kinds}).fetchall()
    whole = read_records(connection, "raw.items")[""].data_version
    return {day: [str(seen.get(day)), whole if (day,) in rejected else None] for day in days}
