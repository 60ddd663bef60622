"""What each asset, or each day of one, was made from: the records of ``registry.fingerprints``."""

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import duckdb

from alignrec_assets.warehouse.connection import Warehouse


@dataclass(frozen=True)
class Record:
    """What an asset or one day of it was made from, as kept in ``registry.fingerprints``."""

    fingerprint: str
    rows: int = 0
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def data_version(self) -> str:
        """The version that readers see: the fingerprint, unless the asset records another one."""
        return str(self.details.get("data_version", self.fingerprint))


def read_records(connection: duckdb.DuckDBPyConnection, asset: str) -> dict[str, Record]:
    """Records of an asset by partition (empty key for an unpartitioned one)."""
    rows = connection.execute(
        "FROM registry.fingerprints SELECT partition, fingerprint, rows, details WHERE asset = $asset", {"asset": asset}
    ).fetchall()
    return {partition: Record(found, count, json.loads(details)) for partition, found, count, details in rows}


def write_records(connection: duckdb.DuckDBPyConnection, asset: str, records: dict[str, Record]) -> None:
    """Record what was made, in the transaction that wrote it."""
    now = datetime.now(UTC).replace(tzinfo=None)
    connection.execute(
        "DELETE FROM registry.fingerprints WHERE asset = $asset AND list_contains($partitions::VARCHAR[], partition)",
        {"asset": asset, "partitions": list(records)},
    )
    connection.execute(  # one statement: thousands of days would take half a minute one by one
        """INSERT INTO registry.fingerprints
        SELECT $asset, unnest($partitions::VARCHAR[]), unnest($fingerprints::VARCHAR[]), $now,
            unnest($rows::BIGINT[]), unnest($details::VARCHAR[])""",
        {
            "asset": asset,
            "partitions": list(records),
            "fingerprints": [record.fingerprint for record in records.values()],
            "now": now,
            "rows": [record.rows for record in records.values()],
            "details": [json.dumps(record.details, default=str) for record in records.values()],
        },
    )


def latest_day(warehouse: Warehouse, table: str) -> date:
    """The latest day of a daily table that was ever materialized; unpartitioned assets read up to this day.

    Raises:
        ValueError: no day was materialized.
    """
    with warehouse.reading() as connection:
        days = read_records(connection, table)
    if not days:
        raise ValueError(f"no day of {table} is materialized yet: run the days first")
    return date.fromisoformat(max(days))
