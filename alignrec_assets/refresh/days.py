"""Days of a daily table: those that would be made from something else than before are made, recorded and reported.

Good days are written and credited although others of the same run are broken; the step then fails naming these.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import groupby

import dagster as dg
import duckdb

from alignrec_assets.instance.dagster_private import add_metadata_of_days, credit_days
from alignrec_assets.refresh.fingerprints import day_fingerprints
from alignrec_assets.refresh.tables import CONTRACT_CHECK, Facts, Result, kept_contract, plain_facts
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.column_lineage import lineage_metadata
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.contract import broken_days
from alignrec_assets.warehouse.records import Record, read_records, write_records
from alignrec_assets.warehouse.rows import clear_other_days, replace_days
from models.files import fingerprint
from models.messages import listed

# One line for every asset would drown what a command has to say; the version range in pyproject.toml holds them fixed.
warnings.filterwarnings("ignore", category=dg.BetaWarning)


Fingerprints = Callable[[duckdb.DuckDBPyConnection, list[date]], dict[date, str]]
"""What each day is made from now."""
BuildDays = Callable[[duckdb.DuckDBPyConnection, list[date]], dict[date, tuple[int, Facts]]]
"""Makes days; returns rows and facts of each."""
BeforeDays = Callable[[duckdb.DuckDBPyConnection, list[date]], None]
"""Sees to what days need before they are made."""


@dataclass(frozen=True)
class DailyTable:
    """How days of a daily table are made.

    Attributes:
        name: of the table.
        fingerprints: what each day is made from.
        build: makes those that are new.
        before: what days that are made need first.
        survey: looks at what lies outside the warehouse, and tells of days that cannot be made what is wrong. Once for
            a run: a file that changes while its days are read must not pass for the one that was read.
    """

    name: str
    fingerprints: Fingerprints
    build: BuildDays
    before: BeforeDays | None = None
    survey: Callable[[duckdb.DuckDBPyConnection, list[date]], dict[date, str]] | None = None


def run_days(context: dg.AssetExecutionContext) -> list[date]:
    """The days that this run asks for."""
    return [date.fromisoformat(key) for key in context.partition_keys]


def declared_fingerprints(table: str, settings: Settings) -> Fingerprints:
    """What the days of a table would be made from now, by its declaration."""
    return lambda connection, days: day_fingerprints(connection, table, days, settings)


def refresh_query_days(
    context: dg.AssetExecutionContext,
    home: HomeResource,
    table: str,
    parameters: Facts | None = None,
    before: BeforeDays | None = None,
) -> Result:
    """Refresh days of a table that is one query of ``sql/``; ``before`` sees to what the query needs."""

    def build(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, tuple[int, Facts]]:
        counts = replace_days(connection, table, days, parameters)
        return {day: (rows, {}) for day, rows in counts.items()}

    daily = DailyTable(table, declared_fingerprints(table, home.settings), build, before)
    return refresh_days(context, home, daily)


class BrokenDaysError(RuntimeError):
    """Days of a table break its contract or are made from files that cannot be read, and were left as they were.

    Attributes:
        days: what is broken on each.
    """

    def __init__(self, table: str, days: dict[date, str]) -> None:
        self.days = days
        alike = groupby(sorted(days), key=lambda day: days[day])
        spans = [f"{_span(list(same))}: {faults}" for faults, same in alike]
        told = listed(spans, ". ", rest=f"the metadata of the check {CONTRACT_CHECK} has every day")
        super().__init__(
            f"{len(days)} days of {table} cannot be made and stay as they were; the others are done. {told}. "
            "Fix what they are made from, and run them alone."
        )


def _span(days: list[date]) -> str:
    return f"{days[0]}" if len(days) == 1 else f"{days[0]} to {days[-1]}"


@dataclass(frozen=True)
class WrittenDays:
    """What came of days: the records of those that stand, which of them were made now, and what is broken elsewhere."""

    records: dict[date, Record]
    made: list[date]
    broken: dict[date, str]


def refresh_days(context: dg.AssetExecutionContext, home: HomeResource, table: DailyTable) -> Result:
    """Refresh days of a daily table in one transaction. Days that a narrower calendar left out go.

    Raises:
        BrokenDaysError: after all other days were written and credited.
    """
    warehouse = home.warehouse(context.log.info)
    calendar = context.assets_def.partitions_def.get_partition_keys()
    with warehouse.writing() as connection:
        partition = home.settings.calendar.partition
        gone = clear_other_days(connection, table.name, calendar[0], calendar[-1], partition)
    if gone:
        context.log.info(f"{gone:,} days are none of the calendar since it changed: their rows are gone")
    written = _write_good_days(warehouse, table, run_days(context))
    if written.broken:
        error = BrokenDaysError(table.name, written.broken)
        credit_days(context, written.records)
        context.log_event(
            dg.AssetCheckEvaluation(
                context.asset_key,
                CONTRACT_CHECK,
                passed=False,
                blocking=True,
                description=str(error),
                metadata={day.isoformat(): faults for day, faults in sorted(written.broken.items())},
            )
        )
        raise error
    _report_days(context, table.name, written)
    return dg.MaterializeResult(data_version=_version_of_days(written.records), check_results=[kept_contract()])


def _write_good_days(warehouse: Warehouse, table: DailyTable, days: list[date]) -> WrittenDays:
    """Write the days that are new; where rows of some turn out to be broken, once more without these."""
    broken: dict[date, str] = {}
    while True:
        good = [day for day in days if day not in broken]
        try:
            written = _write_days(warehouse, table, good)
        except BrokenDaysError as error:
            broken |= error.days
        else:
            return WrittenDays(written.records, written.made, broken | written.broken)


def _write_days(warehouse: Warehouse, table: DailyTable, days: list[date]) -> WrittenDays:
    with warehouse.writing() as connection:
        broken = table.survey(connection, days) if table.survey is not None else {}
        good = [day for day in days if day not in broken]
        wanted = table.fingerprints(connection, good)
        recorded = read_records(connection, table.name)
        pending = [day for day in good if not _is_current(recorded.get(day.isoformat()), wanted[day])]
        if pending:
            if table.before is not None:
                table.before(connection, pending)
            recorded |= make_days(connection, table, pending)
    return WrittenDays({day: recorded[day.isoformat()] for day in good}, pending, broken)


def make_days(connection: duckdb.DuckDBPyConnection, table: DailyTable, days: list[date]) -> dict[str, Record]:
    """Make days of a daily table and record them.

    Raises:
        BrokenDaysError: rows of some days break the contract of the table.
    """
    built = table.build(connection, days)
    broken = broken_days(connection, table.name, {day: rows for day, (rows, _) in sorted(built.items())})
    if broken:
        raise BrokenDaysError(table.name, broken)
    made_from = table.fingerprints(connection, days)  # only now: what was rejected tells what the day depends on
    records = {day.isoformat(): Record(made_from[day], rows, facts) for day, (rows, facts) in built.items()}
    write_records(connection, table.name, records)
    return records


def _is_current(record: Record | None, wanted: str) -> bool:
    return record is not None and record.fingerprint == wanted


def _version_of_days(records: dict[date, Record]) -> dg.DataVersion:
    """Dagster gives all days of a run one version: that of a range moves when any of its days does.

    So a range that is run anew unchanged marks nothing downstream, and no change is missed; where one day of it has
    changed, the readers of the others are marked too, and skip them.
    """
    versions = [record.data_version for record in records.values()]
    return dg.DataVersion(versions[0] if len(versions) == 1 else fingerprint(versions))


def _report_days(context: dg.AssetExecutionContext, table: str, written: WrittenDays) -> None:
    days = list(written.records)
    metadata = {day: _metadata_of(record) for day, record in written.records.items()}
    # Once a run: the UI shows that of the latest materialization, and each is 3 KB in the event log.
    metadata[days[-1]] |= lineage_metadata(table)
    add_metadata_of_days(context, metadata)
    rows = sum(record.rows for record in written.records.values())
    skipped = len(days) - len(written.made)
    done = f"{rows:,} rows in {len(days)} days" if len(days) > 1 else f"{rows:,} rows on {days[0]}"
    context.log.info(f"{done}; skipped {skipped} unchanged" if skipped else done)


def _metadata_of(record: Record) -> Facts:
    """Rows and facts of a day; of a day without rows no empty facts, of which a long log has thousands."""
    facts = record.details if record.rows else {name: value for name, value in record.details.items() if value}
    return {"dagster/partition_row_count": record.rows, **plain_facts(facts)}
