"""Whole tables: described to Dagster as ``warehouse.tables`` describes them, and made anew where their inputs are."""

import hashlib
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from alignrec_assets.refresh.fingerprints import day_fingerprints, days_read, made_by
from alignrec_assets.resources import HomeResource
from alignrec_assets.warehouse.column_lineage import lineage_metadata
from alignrec_assets.warehouse.records import Record, read_records, write_records
from alignrec_assets.warehouse.rows import count_rows, replace_table

if TYPE_CHECKING:
    Result = dg.MaterializeResult[None]
else:
    Result = dg.MaterializeResult  # of an asset with checks, Dagster takes the class, but not its generic form

CONTRACT_CHECK = "contract"
ROWS_AT_ONCE = 10_000
Facts = dict[str, Any]


def refresh_table(
    context: dg.AssetExecutionContext,
    home: HomeResource,
    table: str,
    as_of: date,
    build: Callable[[], tuple[pl.DataFrame, Facts]],
    little_new: Callable[[Facts, Facts], str | None] = lambda _, __: None,
) -> Result:
    """Refresh a whole table that Python computes as of a day.

    Args:
        context: of the step.
        home: the home.
        table: its name.
        as_of: the last day that is read.
        build: returns its rows and facts, unconnected.
        little_new: from the facts of the rows that stand and of those that would replace them, where the days alone
            changed: why the rows stand all the same.
    """
    settings, warehouse = home.settings, home.warehouse(context.log.info)
    origin = {**made_by(table, settings), "as_of": as_of.isoformat()}
    with warehouse.writing() as connection:
        wanted = day_fingerprints(connection, table, [as_of], settings, as_of=as_of.isoformat())[as_of]
        record = read_records(connection, table).get("")
        read = days_read(connection, table, as_of, settings)
        whole = count_rows(connection, [table])[table] == (record.rows if record else None)
    if record is not None and record.fingerprint == wanted:
        context.log.info("skipped: inputs, settings and code are unchanged")
        return table_result(record, **lineage_metadata(table))
    rows, facts = build()
    # Readers see the content: a late outcome may give a day another fingerprint and the same examples, and a model that
    # takes minutes is not trained again for that.
    facts["data_version"] = content_version(rows)
    if record is not None and whole and record.data_version != facts["data_version"]:
        reason = little_new(record.details, facts) if _days_alone_changed(record, origin, read) else None
        if reason:
            context.log.info(f"kept: {reason}")
            return table_result(record, **lineage_metadata(table))
    facts["made_from"] = origin | {"inputs": read, "run_id": context.run.run_id}
    with warehouse.writing() as connection:
        replace_table(connection, table, rows)
        record = Record(wanted, rows.height, facts)
        write_records(connection, table, {"": record})
    context.log.info(f"{rows.height:,} rows")
    return table_result(record, **lineage_metadata(table))


def content_version(rows: pl.DataFrame) -> str:
    """16 hex digits of the rows in their order. As one text a table of millions of rows would take gigabytes."""
    digest = hashlib.sha256()
    for part in rows.iter_slices(ROWS_AT_ONCE):
        digest.update(part.write_ndjson().encode())
    return digest.hexdigest()[:16]


def _days_alone_changed(record: Record, origin: Facts, read: Facts) -> bool:
    """Whether a table would be made by the same code and settings, and from the same whole tables, as it was."""
    made_from = record.details.get("made_from", {})
    before = made_from.get("inputs", {})
    whole = [name for name, each in read.items() if not each["days"]]
    same_inputs = before.keys() == read.keys() and all(before[name] == read[name] for name in whole)
    return same_inputs and all(made_from.get(name) == origin[name] for name in ("code", "settings"))


def table_result(record: Record, **metadata: Any) -> Result:
    """What Dagster is told about a whole table."""
    shown = {key: value for key, value in record.details.items() if key not in ("data_version", "made_from")}
    origin = origin_metadata(record.details) if "made_from" in record.details else {}
    return dg.MaterializeResult(
        metadata={"dagster/row_count": record.rows, **plain_facts(shown), **origin, **metadata},
        data_version=dg.DataVersion(record.data_version),
        check_results=[kept_contract()],
    )


def origin_metadata(manifest: Facts) -> Facts:
    """What the UI shows of a manifest: links to the run and to the inputs, with versions, settings and code."""
    made_from = manifest.get("made_from", {})  # none in what was made before 2026-11
    links: Facts = {name: dg.MetadataValue.asset(dg.AssetKey(name.split("."))) for name in made_from.get("inputs", {})}
    if "run_id" in made_from:
        links["made_by_run"] = dg.MetadataValue.dagster_run(made_from["run_id"])
    return links | {"made_from": dg.MetadataValue.json(made_from)}


def kept_contract() -> dg.AssetCheckResult:
    """The result of the contract check of rows that were committed."""
    return dg.AssetCheckResult(check_name=CONTRACT_CHECK, passed=True)


def plain_facts(facts: Facts) -> Facts:
    """Facts as metadata values: nested ones as JSON, none left out."""
    return {
        key: dg.MetadataValue.json(value) if isinstance(value, dict | list) else value
        for key, value in facts.items()
        if value is not None
    }
