"""What an asset or a day of it is made from, as one short hash: its inputs, its settings and its code.

An asset whose recorded fingerprint equals the one computed now is not computed again. Fingerprints are chained: a
table's own fingerprint is what its readers see, so a change upstream reaches everything downstream, and only that. Days
without rows are not seen: what they would be made from changes nothing.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from datetime import date, timedelta
from itertools import accumulate
from typing import Any

import duckdb

from alignrec_assets.partitions import partition_of
from alignrec_assets.refresh.code_versions import version_of
from alignrec_assets.refresh.declarations import DECLARED, Read, settings_of
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.records import Record, read_records
from alignrec_assets.warehouse.tables import TABLES
from models.files import fingerprint

HASH_BITS = 128


def made_by(asset: str, settings: Settings) -> dict[str, Any]:
    """What an asset is made by, whatever it is made from: its code and the settings that count for it."""
    return {"code": version_of(asset), "settings": settings_of(asset, settings)}


class SeenDays:
    """What readers see of a daily asset: the versions of its days that have rows, as one number for each span of days.

    The number is the sum of a hash of each day and its version. Sums from the beginning on tell that of any span by one
    subtraction, so that a window costs the same whatever its length: with 8,215 days, to list each day's past took
    minutes.
    """

    def __init__(self, records: Mapping[str, Record]) -> None:
        self.keys = sorted(key for key, record in records.items() if record.rows)
        hashes = (_hash_number(f"{key} {records[key].data_version}") for key in self.keys)
        self.sums = [0, *accumulate(hashes)]

    def span(self, first: date, last: date) -> tuple[int, int]:
        """Where the days of a span begin and end among ``keys``."""
        return bisect_left(self.keys, first.isoformat()), bisect_right(self.keys, last.isoformat())

    def version(self, first: date, last: date) -> str | None:
        """One hash of the days from the first to the last; None where none of them has rows."""
        begin, end = self.span(first, last)
        if begin == end:
            return None
        return f"{end - begin}:{(self.sums[end] - self.sums[begin]) % (1 << HASH_BITS):x}"


def _hash_number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[: HASH_BITS // 8], "big")


def day_fingerprints(
    connection: duckdb.DuckDBPyConnection, table: str, days: list[date], settings: Settings, **also: Any
) -> dict[date, str]:
    """Fingerprint of each day of a table that is made as of days; ``also`` counts for all of them.

    A day of a daily table that has no rows in what it reads of that day itself is made from nothing else either. What
    changed since the day before is made from both days, once that one has been made.
    """
    if not DECLARED[table].changes:
        return _alone(connection, table, days, settings, also)
    made = {date.fromisoformat(key) for key in read_records(connection, table)} | {*days}
    before = {day: partition_of(day - timedelta(days=1), settings.calendar.partition) for day in days}
    alone = _alone(connection, table, sorted({*days, *before.values()}), settings, also)
    return {day: fingerprint([alone[day], alone[before[day]] if before[day] in made else None]) for day in days}


def _alone(
    connection: duckdb.DuckDBPyConnection, table: str, days: list[date], settings: Settings, also: dict[str, Any]
) -> dict[date, str]:
    made = {**made_by(table, settings), "layout": table_layout(table), **also}
    reads = _content_reads(table)
    seen = {read.asset: _seen(connection, read) for read in reads}
    own = [read for read in reads if read.reach == "day"] if DECLARED[table].daily else []
    empty = fingerprint({"made_by": made, "inputs": []})
    found = {}
    for day in days:
        versions = {read.asset: _version_seen(seen[read.asset], read, day, settings) for read in own}
        if own and not any(versions.values()):
            found[day] = empty
            continue
        inputs = [
            [read.asset, versions.get(read.asset) or _version_seen(seen[read.asset], read, day, settings)]
            for read in reads
        ]
        found[day] = fingerprint({"made_by": made, "inputs": inputs})
    return found


def origin_of(connection: duckdb.DuckDBPyConnection, asset: str, settings: Settings) -> dict[str, Any]:
    """What an asset would be made from now, whose inputs are whole tables and checkpoints; its hash is the version."""
    wholes = [read.asset for read in DECLARED[asset].reads if read.reach == "whole"]
    versions = {name: read_records(connection, name).get("") for name in wholes}
    inputs = {name: record and record.data_version for name, record in versions.items()}
    return {**made_by(asset, settings), "inputs": inputs}


def days_read(
    connection: duckdb.DuckDBPyConnection, table: str, as_of: date, settings: Settings
) -> dict[str, dict[str, Any]]:
    """Of each input the first and last day with rows that is read as of a day, none of a whole one, and its version."""
    found: dict[str, dict[str, Any]] = {}
    for read in _content_reads(table):
        seen = _seen(connection, read)
        days = None
        if isinstance(seen, SeenDays):
            begin, end = seen.span(read.since(as_of, settings), as_of)
            days = [seen.keys[begin], seen.keys[end - 1]] if end > begin else None
        found[read.asset] = {"days": days, "version": _version_seen(seen, read, as_of, settings)}
    return found


def table_layout(table: str) -> list[tuple[str, str]]:
    """Names and types of a table's columns: a part of the code that its fingerprint covers."""
    return [(column.name, column.type) for column in TABLES[table].columns]


def _content_reads(table: str) -> list[Read]:
    """What a table reads rows of."""
    return [read for read in DECLARED[table].reads if read.reach != "latest"]


def _seen(connection: duckdb.DuckDBPyConnection, read: Read) -> SeenDays | str | None:
    """The days of a daily asset, or the version of a whole one; None where it was never made."""
    records = read_records(connection, read.asset)
    if read.reach == "whole":
        return records[""].data_version if "" in records else None
    return SeenDays(records)


def _version_seen(seen: SeenDays | str | None, read: Read, day: date, settings: Settings) -> str | None:
    return seen.version(read.since(day, settings), day) if isinstance(seen, SeenDays) else seen
