"""Shows the landing rows that were rejected: how many for each reason, and some of them."""

import glob
from datetime import date
from pathlib import Path

import duckdb
from rich.table import Table

from alignrec_assets.commands.lookup import Show
from alignrec_assets.home import Home
from alignrec_assets.landing.formats.rejected import REJECTED_FOLDER
from alignrec_assets.partitions import partition_of
from alignrec_assets.settings.sources import load_settings
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.queries import query
from models.messages import MOST_LINES, one_line

REASONS = 20
"""Reasons are shown with their counts up to this number, the most frequent first."""
KINDS = ("items", "events", "feedback", "outcomes", "source")
"""Of landing files, and the rows of a data set that `alignrec ingest` could not read."""
SOURCE_COLUMNS = "{file: 'VARCHAR', line: 'BIGINT', reason: 'VARCHAR', payload: 'VARCHAR'}"
PAYLOAD_CHARACTERS = 200


def show_rejected(home: Home, day: date | None, kind: str | None, reason: str | None, show: Show) -> None:
    """Show the rejected rows of a day's partition, of a kind of landing file, or with some words in their reason.

    Raises:
        WarehouseError: there is no warehouse yet.
        ValueError: an unknown kind.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"--kind {kind!r} is no kind of landing file: name one of {', '.join(KINDS)}")
    if day is not None:
        day = partition_of(day, load_settings(home).calendar.partition)
    with Warehouse(home).reading() as connection:
        connection.register("source_rows", _source_rows(connection, home.landing / REJECTED_FOLDER))
        rows = connection.sql(query("raw.rejected_rows_shown"), params={"day": day, "kind": kind, "reason": reason})
        connection.register("shown", rows)
        counts = connection.execute(
            "FROM shown SELECT kind, fault, count(*), count(DISTINCT file) GROUP BY ALL ORDER BY 3 DESC, 1, 2"
        ).fetchall()
        examples = connection.execute(
            "FROM shown SELECT file, row_number, reason, payload ORDER BY file, row_number LIMIT $most",
            {"most": MOST_LINES},
        ).fetchall()
    if not counts:
        asked = day is not None or kind is not None or reason is not None
        show("no rejected row fits what was asked for" if asked else "no row was rejected")
        return
    total = sum(count for _, _, count, _ in counts)
    show(f"rejected rows: {total:,}, for {len(counts):,} reasons")
    show(_counted(counts[:REASONS]))
    if len(counts) > REASONS:
        show(f"and {len(counts) - REASONS:,} reasons more: --day, --kind and --reason narrow them down")
    show(f"\nthe first {len(examples)} of {total:,} rows, by file and row:")
    for file, number, fault, payload in examples:
        place = file if number is None else f"{file}, row {number:,}"
        show(f"  {one_line(place, PAYLOAD_CHARACTERS)}: {one_line(fault, PAYLOAD_CHARACTERS)}")
        if payload:
            show(f"    {one_line(payload, PAYLOAD_CHARACTERS)}")


def _source_rows(connection: duckdb.DuckDBPyConnection, folder: Path) -> duckdb.DuckDBPyRelation:
    """File, line, reason and payload of the rows that a conversion could not read."""
    files = [glob.escape(str(path)) for path in sorted(folder.glob("*.jsonl"))]
    if not files:
        return connection.sql("FROM raw.rejected_rows SELECT file, row_number AS line, reason, payload LIMIT 0")
    return connection.sql(
        f"FROM read_json($files, format = 'newline_delimited', columns = {SOURCE_COLUMNS}, hive_partitioning = false)",
        params={"files": files},
    )


def _counted(counts: list[tuple[str, str, int, int]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("kind", "rows", "files", "reason"):
        table.add_column(heading, justify="right" if heading in ("rows", "files") else "left", overflow="fold")
    for kind, fault, rows, files in counts:
        table.add_row(kind, f"{rows:,}", f"{files:,}", one_line(fault, PAYLOAD_CHARACTERS))
    return table
