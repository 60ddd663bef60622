"""How every asset refreshes what it stands for: compute only what its fingerprint says is new, record it, report it.

Three kinds: days of a daily table, a whole table, and a checkpoint (a folder that a model step writes while no
connection is open). Each decides by recorded fingerprints, says what it skipped, and tells Dagster rows and facts.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl

from alignrec_assets.column_lineage import lineage_metadata
from alignrec_assets.fingerprints import Input, day_fingerprints, table_layout
from alignrec_assets.home import Home
from alignrec_assets.tables import FORMAT_VERSION, TABLES
from alignrec_assets.warehouse import Record, Warehouse, read_records, replace_days, replace_table, write_records
from models.files import content_hash, fingerprint, new_folder

# One line for every asset would drown what a command has to say; the version range in pyproject.toml holds them fixed.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

MANIFEST = "manifest.json"
Facts = dict[str, Any]
Fingerprints = Callable[[duckdb.DuckDBPyConnection, list[date]], dict[date, str]]
"""What each day is made from now."""
BuildDays = Callable[[duckdb.DuckDBPyConnection, list[date]], dict[date, tuple[int, Facts]]]
"""Makes days; returns rows and facts of each."""
BeforeDays = Callable[[duckdb.DuckDBPyConnection, list[date]], None]
"""Sees to what days need before they are made."""


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
    schema = dg.TableSchema([dg.TableColumn(c.name, c.type, c.description) for c in described.columns])
    schema_name, name = table.split(".")
    return {
        "key": [schema_name, name],
        "group_name": "checkpoints" if schema_name == "registry" else schema_name,
        "description": described.description,
        "kinds": kinds | {"duckdb"},
        "deps": deps,
        "code_version": code,
        "tags": {"selection": selection},
        "metadata": {"dagster/column_schema": schema, "dagster/table_name": f"warehouse.{table}"},
        # Lets an unpartitioned asset run in the same range of days as the tables that read it.
        "backfill_policy": dg.BackfillPolicy.single_run(),
    }


def run_days(context: dg.AssetExecutionContext) -> list[date]:
    """The days that this run asks for."""
    return [date.fromisoformat(key) for key in context.partition_keys]


def refresh_query_days(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    table: str,
    inputs: list[Input],
    parameters: Facts | None = None,
    code: str = "",
    before: BeforeDays | None = None,
) -> None:
    """Refresh days of a table that is one query of ``sql/``; ``before`` sees to what the query needs."""
    made_by = {"code": code, "layout": table_layout(table), "parameters": parameters}

    def build(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, tuple[int, Facts]]:
        counts = replace_days(connection, table, days, parameters)
        return {day: (rows, {}) for day, rows in counts.items()}

    refresh_days(context, warehouse, table, lambda c, days: day_fingerprints(c, days, inputs, made_by), build, before)


def refresh_days(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    table: str,
    fingerprints: Fingerprints,
    build: BuildDays,
    before: BeforeDays | None = None,
) -> None:
    """Refresh days of a daily table in one transaction."""
    days = run_days(context)
    with warehouse.writing() as connection:
        wanted = fingerprints(connection, days)
        recorded = read_records(connection, table)
        pending = [day for day in days if not _is_current(recorded.get(day.isoformat()), wanted[day])]
        if pending:
            if before is not None:
                before(connection, pending)
            recorded |= make_days(connection, table, fingerprints, build, pending)
    _report_days(context, table, days, pending, recorded)


def make_days(
    connection: duckdb.DuckDBPyConnection, table: str, fingerprints: Fingerprints, build: BuildDays, days: list[date]
) -> dict[str, Record]:
    """Make days of a daily table and record them."""
    built = build(connection, days)
    made_from = fingerprints(connection, days)  # only now: what was rejected tells what the day depends on
    records = {day.isoformat(): Record(made_from[day], rows, facts) for day, (rows, facts) in built.items()}
    write_records(connection, table, records)
    return records


def refresh_table(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    table: str,
    inputs: list[Input],
    as_of: date,
    made_by: Facts,
    build: Callable[[], tuple[pl.DataFrame, Facts]],
) -> dg.MaterializeResult[None]:
    """Refresh a whole table that Python computes as of a day; ``build`` returns its rows and facts, unconnected."""
    made_by = {**made_by, "as_of": as_of, "layout": table_layout(table)}
    with warehouse.writing() as connection:
        wanted = day_fingerprints(connection, [as_of], inputs, made_by)[as_of]
        record = read_records(connection, table).get("")
    if record is not None and record.fingerprint == wanted:
        context.log.info("skipped: inputs, settings and code are unchanged")
        return table_result(record, **lineage_metadata(table))
    rows, facts = build()
    # Readers see the content: a late outcome may give a day another fingerprint and the same examples, and a model that
    # takes minutes is not trained again for that.
    facts["data_version"] = fingerprint(rows.write_json())
    with warehouse.writing() as connection:
        replace_table(connection, table, rows)
        record = Record(wanted, rows.height, facts)
        write_records(connection, table, {"": record})
    context.log.info(f"{rows.height:,} rows")
    return table_result(record, **lineage_metadata(table))


def table_result(record: Record, **metadata: Any) -> dg.MaterializeResult[None]:
    """What Dagster is told about a whole table."""
    shown = {key: value for key, value in record.details.items() if key != "data_version"}
    return dg.MaterializeResult(
        metadata={"dagster/row_count": record.rows, **_plain(shown), **metadata},
        data_version=dg.DataVersion(record.data_version),
    )


def refresh_checkpoint(
    context: dg.AssetExecutionContext,
    home: Home,
    model: str,
    version: str,
    build: Callable[[Path], Facts],
) -> Checkpoint:
    """Make ``checkpoints/<model>/<version>/`` unless it stands; ``build`` fills a folder and returns its facts.

    The folder appears whole: a process that is killed while training leaves no checkpoint behind.
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
            **facts,
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2, default=str) + "\n", encoding="utf-8")
    return Checkpoint(folder, manifest)


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


def _report_days(
    context: dg.AssetExecutionContext, table: str, days: list[date], pending: list[date], records: dict[str, Record]
) -> None:
    for day in days:
        record = records[day.isoformat()]
        metadata = {"dagster/partition_row_count": record.rows, **_plain(record.details)}
        context.add_asset_metadata(metadata, partition_key=day.isoformat())
    # Once a run: the UI shows that of the latest materialization, and each is 3 KB in the event log.
    context.add_asset_metadata(lineage_metadata(table), partition_key=days[-1].isoformat())
    rows = sum(records[day.isoformat()].rows for day in days)
    skipped = len(days) - len(pending)
    done = f"{rows:,} rows in {len(days)} days" if len(days) > 1 else f"{rows:,} rows on {days[0]}"
    context.log.info(f"{done}; skipped {skipped} unchanged" if skipped else done)


def _plain(facts: Facts) -> Facts:
    """Facts as metadata values: nested ones as JSON, none left out."""
    return {
        key: dg.MetadataValue.json(value) if isinstance(value, dict | list) else value
        for key, value in facts.items()
        if value is not None
    }
