"""What an asset or a day of it is made from, as one short hash: its inputs, its settings and its code.

An asset whose recorded fingerprint equals the one computed now is not computed again. Fingerprints are chained: a
table's own fingerprint is what its readers see, so a change upstream reaches everything downstream, and only that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import duckdb

from alignrec_assets.refresh.asset_settings import settings_of
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.records import Record, read_records
from alignrec_assets.warehouse.tables import TABLES
from models.files import content_hash, fingerprint

PACKAGES = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Input:
    """An asset that is read, and how far back a day of its reader looks.

    ``day``: the same day; ``past``: every day up to it; ``window``: the last ``days`` days; ``whole``: the asset as it
    stands, for unpartitioned ones.
    """

    asset: str
    reach: Literal["day", "past", "window", "whole"] = "whole"
    days: int = 1

    def covers(self, read: date, reader: date) -> bool:
        """Whether the reader's day looks at the given day of this input."""
        if self.reach == "day":
            return read == reader
        if self.reach == "window":
            return reader - timedelta(days=self.days) < read <= reader
        return read <= reader


def code_version(*modules: str, queries: Sequence[str] = ()) -> str:
    """Hash of source files such as ``models/novelty/training.py`` and of queries such as ``raw.events``."""
    return fingerprint([content_hash(*(PACKAGES / module for module in modules)), [query(name) for name in queries]])


def day_fingerprints(
    connection: duckdb.DuckDBPyConnection, days: list[date], inputs: Sequence[Input], made_by: dict[str, Any]
) -> dict[date, str]:
    """Fingerprint of each day of a daily asset; ``made_by`` holds its settings and code version."""
    versions = {entry.asset: _versions(read_records(connection, entry.asset)) for entry in inputs}
    return {
        day: fingerprint({"made_by": made_by, "inputs": [[e.asset, _seen(versions[e.asset], e, day)] for e in inputs]})
        for day in days
    }


def origin_of(
    connection: duckdb.DuckDBPyConnection, asset: str, code: str, inputs: Sequence[str], settings: Settings
) -> dict[str, Any]:
    """What an asset would be made from now, whose inputs are whole tables and checkpoints; its hash is the version."""
    versions = {name: read_records(connection, name).get("") for name in inputs}
    return {
        "code": code,
        "settings": settings_of(asset, settings),
        "inputs": {name: record and record.data_version for name, record in versions.items()},
    }


def days_read(connection: duckdb.DuckDBPyConnection, inputs: Sequence[Input], as_of: date) -> dict[str, Any]:
    """Of each input the first and last day that is read as of a day, none of a whole one, and one hash of all of it."""
    found: dict[str, Any] = {}
    for entry in inputs:
        seen = _seen(_versions(read_records(connection, entry.asset)), entry, as_of)
        days = [key for key, _ in seen if key]
        found[entry.asset] = {"days": [days[0], days[-1]] if days else None, "version": fingerprint(seen)}
    return found


def table_layout(table: str) -> list[tuple[str, str]]:
    """Names and types of a table's columns: a part of the code that its fingerprint covers."""
    return [(column.name, column.type) for column in TABLES[table].columns]


def _versions(records: dict[str, Record]) -> dict[str, str]:
    return {partition: record.data_version for partition, record in records.items()}


def _seen(versions: dict[str, str], entry: Input, day: date) -> list[tuple[str, str]]:
    if entry.reach == "whole":
        return sorted(versions.items())
    return sorted((key, version) for key, version in versions.items() if entry.covers(date.fromisoformat(key), day))
