"""How every asset refreshes what it stands for: compute only what its fingerprint says is new, record it, report it.

Three kinds: days of a daily table, a whole table, and a checkpoint (a folder that a model step writes while no
connection is open). Each decides by recorded fingerprints, says what it skipped, and tells Dagster rows and facts.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import polars as pl
from dagster._core.execution.plan.execute_step import (
    _build_data_version_tags,
    _get_code_version,
    _get_input_provenance_data,
)

from alignrec_assets.home import Home
from alignrec_assets.refresh.fingerprints import Input, day_fingerprints, days_read, table_layout
from alignrec_assets.warehouse.column_lineage import lineage_metadata
from alignrec_assets.warehouse.connection import (
    Record,
    Warehouse,
    read_records,
    replace_days,
    replace_table,
    write_records,
)
from alignrec_assets.warehouse.contract import broken_days, conditions, row_rules
from alignrec_assets.warehouse.tables import FORMAT_VERSION, TABLES, Table
from models.files import content_hash, fingerprint, new_folder

# One line for every asset would drown what a command has to say; the version range in pyproject.toml holds them fixed.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

if TYPE_CHECKING:
    Result = dg.MaterializeResult[None]
else:
    Result = dg.MaterializeResult  # of an asset with checks, Dagster takes the class, but not its generic form

MANIFEST = "manifest.json"
CONTRACT_CHECK = "contract"
Facts = dict[str, Any]
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


class StaleCheckpointError(RuntimeError):
    """A checkpoint is missing or is not what its manifest says."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder under ``checkpoints/<model>/<version>/`` with its manifest."""

    folder: Path
    manifest: Facts

    @property
    def version(self) -> str:
        """The fingerprint of what made it."""
        return str(self.manifest["version"])

    @property
    def figures(self) -> Facts:
        """Figures of its report."""
        return dict(self.manifest["figures"])


def daily_asset(
    table: str, *, code: str, kinds: set[str], deps: list[Any], partitions: dg.PartitionsDefinition
) -> Facts:
    """Arguments of ``dg.asset`` for a daily table: a range of days runs as one."""
    return {
        **table_asset(table, code=code, kinds=kinds, deps=deps, selection="days"),
        "partitions_def": partitions,
    }


def table_asset(table: str, *, code: str, kinds: set[str], deps: list[Any], selection: str) -> Facts:
    """Arguments of ``dg.asset`` for a warehouse table; description and schema come from ``tables``."""
    described = TABLES[table]
    schema_name, name = table.split(".")
    return {
        "key": [schema_name, name],
        "group_name": "checkpoints" if schema_name == "registry" else schema_name,
        "description": described.description,
        "kinds": kinds | {"duckdb"},
        "deps": deps,
        "code_version": code,
        "tags": {"selection": selection},
        "check_specs": [_contract_spec(described)],
        "metadata": {"dagster/column_schema": _column_schema(described), "dagster/table_name": f"warehouse.{table}"},
        # Lets an unpartitioned asset run in the same range of days as the tables that read it.
        "backfill_policy": dg.BackfillPolicy.single_run(),
    }


def run_days(context: dg.AssetExecutionContext) -> list[date]:
    """The days that this run asks for."""
    return [date.fromisoformat(key) for key in context.partition_keys]


@dataclass(frozen=True)
class Recipe:
    """What the days of a daily table are made from.

    Attributes:
        table: its name.
        code: version of the code that makes it.
        inputs: what it reads.
        parameters: everything else that its rows depend on; those of its query, where it is one.
    """

    table: str
    code: str
    inputs: tuple[Input, ...]
    parameters: Facts | None = None

    def fingerprints(self, connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, str]:
        """What each day would be made from now."""
        made_by = {"code": self.code, "layout": table_layout(self.table), "parameters": self.parameters}
        return day_fingerprints(connection, days, self.inputs, made_by)


def refresh_query_days(
    context: dg.AssetExecutionContext, warehouse: Warehouse, recipe: Recipe, before: BeforeDays | None = None
) -> Result:
    """Refresh days of a table that is one query of ``sql/``; ``before`` sees to what the query needs."""

    def build(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, tuple[int, Facts]]:
        counts = replace_days(connection, recipe.table, days, recipe.parameters)
        return {day: (rows, {}) for day, rows in counts.items()}

    return refresh_days(context, warehouse, DailyTable(recipe.table, recipe.fingerprints, build, before))


class BrokenDaysError(RuntimeError):
    """Days of a table break its contract or are made from files that cannot be read, and were left as they were.

    Attributes:
        days: what is broken on each.
    """

    def __init__(self, table: str, days: dict[date, str]) -> None:
        self.days = days
        alike = groupby(sorted(days), key=lambda day: days[day])
        told = ". ".join(f"{_span(list(same))}: {faults}" for faults, same in alike)
        super().__init__(
            f"{len(days)} days of {table} cannot be made and stay as they were; the others are done. {told}. "
            "Mend what they are made from, and run them alone."
        )


def _span(days: list[date]) -> str:
    return f"{days[0]}" if len(days) == 1 else f"{days[0]} to {days[-1]}"


@dataclass(frozen=True)
class WrittenDays:
    """What came of days: the records of those that stand, which of them were made now, and what is broken elsewhere."""

    records: dict[date, Record]
    made: list[date]
    broken: dict[date, str]


def refresh_days(context: dg.AssetExecutionContext, warehouse: Warehouse, table: DailyTable) -> Result:
    """Refresh days of a daily table in one transaction.

    Raises:
        BrokenDaysError: after all other days were written and credited.
    """
    written = _write_good_days(warehouse, table, run_days(context))
    if written.broken:
        error = BrokenDaysError(table.name, written.broken)
        _credit_days(context, written.records)
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
    return dg.MaterializeResult(data_version=_version_of_days(written.records), check_results=[_kept_contract()])


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


def refresh_table(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    table: str,
    inputs: list[Input],
    as_of: date,
    made_by: Facts,
    build: Callable[[], tuple[pl.DataFrame, Facts]],
) -> Result:
    """Refresh a whole table that Python computes as of a day; ``build`` returns its rows and facts, unconnected."""
    origin = {**made_by, "as_of": as_of.isoformat()}
    with warehouse.writing() as connection:
        wanted = day_fingerprints(connection, [as_of], inputs, origin | {"layout": table_layout(table)})[as_of]
        record = read_records(connection, table).get("")
        read = days_read(connection, inputs, as_of)
    if record is not None and record.fingerprint == wanted:
        context.log.info("skipped: inputs, settings and code are unchanged")
        return table_result(record, **lineage_metadata(table))
    rows, facts = build()
    # Readers see the content: a late outcome may give a day another fingerprint and the same examples, and a model that
    # takes minutes is not trained again for that.
    facts["data_version"] = fingerprint(rows.write_json())
    facts["made_from"] = origin | {"inputs": read, "run_id": context.run_id}
    with warehouse.writing() as connection:
        replace_table(connection, table, rows)
        record = Record(wanted, rows.height, facts)
        write_records(connection, table, {"": record})
    context.log.info(f"{rows.height:,} rows")
    return table_result(record, **lineage_metadata(table))


def table_result(record: Record, **metadata: Any) -> Result:
    """What Dagster is told about a whole table."""
    shown = {key: value for key, value in record.details.items() if key not in ("data_version", "made_from")}
    origin = origin_metadata(record.details) if "made_from" in record.details else {}
    return dg.MaterializeResult(
        metadata={"dagster/row_count": record.rows, **_plain(shown), **origin, **metadata},
        data_version=dg.DataVersion(record.data_version),
        check_results=[_kept_contract()],
    )


def refresh_checkpoint(
    context: dg.AssetExecutionContext,
    home: Home,
    model: str,
    version: str,
    build: Callable[[Path], Facts],
    made_from: Facts | None = None,
) -> Checkpoint:
    """Make ``checkpoints/<model>/<version>/`` unless it stands; ``build`` fills a folder and returns its facts.

    The folder appears whole: a process that is killed while training leaves no checkpoint behind. Its manifest tells
    what it was made from, and by which run.
    """
    folder = home.checkpoints / model / version
    if (folder / MANIFEST).exists():
        context.log.info(f"skipped: checkpoint {version} stands, its inputs, settings and code are unchanged")
        return read_checkpoint(folder)
    with new_folder(folder) as partial:
        facts = build(partial)
        manifest = {
            "format_version": FORMAT_VERSION,
            "model": model,
            "version": version,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "content_hash": content_hash(*_content(partial)),
            "figures": {},
            "made_from": (made_from or {}) | {"run_id": context.run_id},
            **facts,
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2, default=str) + "\n", encoding="utf-8")
    return Checkpoint(folder, manifest)


def origin_metadata(manifest: Facts) -> Facts:
    """What the UI shows of a manifest: links to the run and to the inputs, with versions, settings and code."""
    made_from = manifest.get("made_from", {})  # none in what was made before 2026-11
    links: Facts = {name: dg.MetadataValue.asset(dg.AssetKey(name.split("."))) for name in made_from.get("inputs", {})}
    if "run_id" in made_from:
        links["made_by_run"] = dg.MetadataValue.dagster_run(made_from["run_id"])
    return links | {"made_from": dg.MetadataValue.json(made_from)}


def read_checkpoint(folder: Path) -> Checkpoint:
    """Open a checkpoint after checking its content against its manifest.

    Raises:
        StaleCheckpointError: naming the folder and the mend.
    """
    mend = f"delete {folder} and materialize its asset again"
    if not (folder / MANIFEST).is_file():
        raise StaleCheckpointError(f"{folder} holds no {MANIFEST}: {mend}")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if manifest["format_version"] > FORMAT_VERSION:
        raise StaleCheckpointError(
            f"{folder} has format {manifest['format_version']}, newer than this alignrec: upgrade it"
        )
    if content_hash(*_content(folder)) != manifest["content_hash"]:
        raise StaleCheckpointError(f"{folder} was changed since it was made: {mend}")
    return Checkpoint(folder, manifest)


def record_checkpoint(warehouse: Warehouse, asset: str, checkpoint: Checkpoint) -> None:
    """Note which checkpoint the line uses now; its readers' fingerprints follow from that."""
    with warehouse.writing() as connection:
        facts = {"folder": str(checkpoint.folder.relative_to(warehouse.home.path))}
        write_records(connection, asset, {"": Record(checkpoint.version, 0, facts)})


def current_checkpoint(warehouse: Warehouse, asset: str) -> Checkpoint | None:
    """The checkpoint that an asset recorded last; none before its first materialization or where it made none."""
    with warehouse.reading() as connection:
        record = read_records(connection, asset).get("")
    if record is None or "folder" not in record.details:
        return None
    return read_checkpoint(warehouse.home.path / record.details["folder"])


def required_checkpoint(warehouse: Warehouse, asset: str) -> Checkpoint:
    """The checkpoint of an asset that must have run.

    Raises:
        StaleCheckpointError: it has not; the message names it.
    """
    found = current_checkpoint(warehouse, asset)
    if found is None:
        raise StaleCheckpointError(f"asset {asset} has no checkpoint yet: materialize it first")
    return found


def _content(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)


def _is_current(record: Record | None, wanted: str) -> bool:
    return record is not None and record.fingerprint == wanted


def _column_schema(table: Table) -> dg.TableSchema:
    """The columns as the UI shows them, with what holds for each, and the rules of the whole row."""
    columns = [
        dg.TableColumn(
            column.name,
            column.type,
            column.description,
            dg.TableColumnConstraints(nullable=column.null, other=list(column.range)),
        )
        for column in table.columns
    ]
    return dg.TableSchema(columns, dg.TableConstraints(other=row_rules(table)))


def _contract_spec(table: Table) -> dg.AssetCheckSpec:
    described = "Held against the rows before they are committed: " + "; ".join([*row_rules(table), *conditions(table)])
    return dg.AssetCheckSpec(CONTRACT_CHECK, asset=table.name.split("."), blocking=True, description=described)


def _kept_contract() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(check_name=CONTRACT_CHECK, passed=True)


def _credit_days(context: dg.AssetExecutionContext, records: dict[date, Record]) -> None:
    """Tell Dagster of the good days of a step that is about to fail: a failed step credits none."""
    step = context.get_step_execution_context()
    code, inputs = _get_code_version(context.asset_key, step), _get_input_provenance_data(context.asset_key, step)
    for day, record in records.items():
        # As Dagster does at a step's end; without them the UI goes by times, and marks too much or too little.
        tags = _build_data_version_tags(dg.DataVersion(record.data_version), code, inputs, True)
        metadata = {"dagster/partition_row_count": record.rows}
        context.log_event(
            dg.AssetMaterialization(context.asset_key, partition=day.isoformat(), metadata=metadata, tags=tags)
        )


def _version_of_days(records: dict[date, Record]) -> dg.DataVersion:
    """Dagster gives all days of a run one version: that of a range moves when any of its days does.

    So a range that is run anew unchanged marks nothing downstream, and no change is missed; where one day of it has
    changed, the readers of the others are marked too, and skip them.
    """
    versions = [record.data_version for record in records.values()]
    return dg.DataVersion(versions[0] if len(versions) == 1 else fingerprint(versions))


def _report_days(context: dg.AssetExecutionContext, table: str, written: WrittenDays) -> None:
    days = list(written.records)
    for day, record in written.records.items():
        metadata = {"dagster/partition_row_count": record.rows, **_plain(record.details)}
        context.add_asset_metadata(metadata, partition_key=day.isoformat())
    # Once a run: the UI shows that of the latest materialization, and each is 3 KB in the event log.
    context.add_asset_metadata(lineage_metadata(table), partition_key=days[-1].isoformat())
    rows = sum(record.rows for record in written.records.values())
    skipped = len(days) - len(written.made)
    done = f"{rows:,} rows in {len(days)} days" if len(days) > 1 else f"{rows:,} rows on {days[0]}"
    context.log.info(f"{done}; skipped {skipped} unchanged" if skipped else done)


def _plain(facts: Facts) -> Facts:
    """Facts as metadata values: nested ones as JSON, none left out."""
    return {
        key: dg.MetadataValue.json(value) if isinstance(value, dict | list) else value
        for key, value in facts.items()
        if value is not None
    }
