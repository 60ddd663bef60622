"""What an asset or a day of it is made from, as one short hash: its inputs, its settings and its code.

An asset whose recorded fingerprint equals the one computed now is not computed again. Fingerprints are chained: a
table's own fingerprint is what its readers see, so a change upstream reaches everything downstream, and only that.
"""

from datetime import date
from typing import Any

import duckdb

from alignrec_assets.refresh.code_versions import version_of
from alignrec_assets.refresh.declarations import DECLARED, Read, settings_of
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.records import Record, read_records
from alignrec_assets.warehouse.tables import TABLES
from models.files import fingerprint


def made_by(asset: str, settings: Settings) -> dict[str, Any]:
    """What an asset is made by, whatever it is made from: its code and the settings that count for it."""
    return {"code": version_of(asset), "settings": settings_of(asset, settings)}


def day_fingerprints(
    connection: duckdb.DuckDBPyConnection, table: str, days: list[date], settings: Settings, **also: Any
) -> dict[date, str]:
    """Fingerprint of each day of a table that is made as of days; ``also`` counts for all of them."""
    reads = _content_reads(table)
    versions = {read.asset: _versions(read_records(connection, read.asset)) for read in reads}
    whole = {**made_by(table, settings), "layout": table_layout(table), **also}
    return {
        day: fingerprint(
            {
                "made_by": whole,
                "inputs": [[read.asset, _seen(versions[read.asset], read, day, settings)] for read in reads],
            }
        )
        for day in days
    }


def origin_of(connection: duckdb.DuckDBPyConnection, asset: str, settings: Settings) -> dict[str, Any]:
    """What an asset would be made from now, whose inputs are whole tables and checkpoints; its hash is the version."""
    wholes = [read.asset for read in DECLARED[asset].reads if read.reach == "whole"]
    versions = {name: read_records(connection, name).get("") for name in wholes}
    inputs = {name: record and record.data_version for name, record in versions.items()}
    return {**made_by(asset, settings), "inputs": inputs}


def days_read(
    connection: duckdb.DuckDBPyConnection, table: str, as_of: date, settings: Settings
) -> dict[str, dict[str, Any]]:
    """Of each input the first and last day that is read as of a day, none of a whole one, and one hash of all of it."""
    found = {}
    for read in _content_reads(table):
        seen = _seen(_versions(read_records(connection, read.asset)), read, as_of, settings)
        days = [key for key, _ in seen if key]
        found[read.asset] = {"days": [days[0], days[-1]] if days else None, "version": fingerprint(seen)}
    return found


def table_layout(table: str) -> list[tuple[str, str]]:
    """Names and types of a table's columns: a part of the code that its fingerprint covers."""
    return [(column.name, column.type) for column in TABLES[table].columns]


def _content_reads(table: str) -> list[Read]:
    """What a table reads rows of."""
    return [read for read in DECLARED[table].reads if read.reach != "latest"]


def _versions(records: dict[str, Record]) -> dict[str, str]:
    return {partition: record.data_version for partition, record in records.items()}


def _seen(versions: dict[str, str], read: Read, day: date, settings: Settings) -> list[tuple[str, str]]:
    if read.reach == "whole":
        return sorted(versions.items())
    return sorted(
        (key, version) for key, version in versions.items() if read.covers(date.fromisoformat(key), day, settings)
    )
