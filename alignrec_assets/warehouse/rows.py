"""Rows of warehouse tables: reading them as frames, replacing them by table or by day, counting them."""

from collections.abc import Iterable
from datetime import date
from typing import Any

import duckdb
import polars as pl

from alignrec_assets.settings.sections import Partition
from alignrec_assets.warehouse.contract import check_table
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.tables import TABLES

_OTHER_DAYS = "({0} NOT BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) OR date_trunc($partition, {0}) <> {0})"


def read_frame(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, Any] | None = None
) -> pl.DataFrame:
    """Run a query and return its rows as a polars frame."""
    frame: pl.DataFrame = connection.sql(sql, params=parameters).pl()
    return frame


def table_frame(connection: duckdb.DuckDBPyConnection, table: str) -> pl.DataFrame:
    """All rows of a table."""
    return read_frame(connection, f"FROM {table}")


def replace_table(connection: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame) -> int:
    """Replace all rows of an unpartitioned table by name, not by position; returns the number of rows.

    Raises:
        ContractError: the rows break the contract of the table.
    """
    connection.execute(f"DELETE FROM {table}")
    count = append_rows(connection, table, rows)
    check_table(connection, table)
    return count


def append_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame) -> int:
    """Insert rows by name; a column that is missing or unknown is an error."""
    expected = {column.name for column in TABLES[table].columns}
    if set(rows.columns) != expected:
        raise ValueError(f"{table} has columns {sorted(expected)}, the rows have {sorted(rows.columns)}")
    connection.register("incoming_rows", rows)
    connection.execute(f"INSERT INTO {table} BY NAME FROM incoming_rows")
    connection.unregister("incoming_rows")
    return rows.height


def set_wanted_days(connection: duckdb.DuckDBPyConnection, days: list[date]) -> None:
    """Put the days into the temporary table ``wanted_days``, which the queries of daily tables read."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE wanted_days AS SELECT unnest($days::DATE[]) AS day", {"days": days}
    )


def replace_days(
    connection: duckdb.DuckDBPyConnection, table: str, days: list[date], parameters: dict[str, Any] | None = None
) -> dict[date, int]:
    """Replace the given days of a daily table by the query that bears its name; returns rows per day.

    The query sees the days in the temporary table ``wanted_days`` and must return no other day.
    """
    set_wanted_days(connection, days)
    connection.execute(f"DELETE FROM {table} WHERE day IN (FROM wanted_days)")
    connection.execute(f"INSERT INTO {table} BY NAME {query(table)}", parameters)
    counted = connection.execute(f"FROM {table} SELECT day, count(*) WHERE day IN (FROM wanted_days) GROUP BY day")
    found: dict[date, int] = dict(counted.fetchall())
    return {day: found.get(day, 0) for day in days}


def clear_other_days(
    connection: duckdb.DuckDBPyConnection, table: str, first: str, last: str, partition: Partition
) -> int:
    """Delete the days of a daily table that are no partition from the first to the last one; returns how many.

    Their records go with them, and the rejected rows and the pruned items of a raw log.
    """
    limits = {"first": first, "last": last, "partition": partition}
    ((days,),) = connection.execute(
        f"DELETE FROM registry.fingerprints WHERE asset = $asset AND {_OTHER_DAYS.format('CAST(partition AS DATE)')}",
        {"asset": table, **limits},
    ).fetchall()
    if days:
        outside = _OTHER_DAYS.format("day")
        connection.execute(f"DELETE FROM {table} WHERE {outside}", limits)
        for kept in ("raw.rejected_rows", "raw.pruned_items"):
            kinds = {"raw.events": ["events"], "raw.feedback_logs": ["feedback", "outcomes"]}.get(table, [])
            connection.execute(
                f"DELETE FROM {kept} WHERE list_contains($kinds::VARCHAR[], kind) AND {outside}",
                {"kinds": kinds, **limits},
            )
    return int(days)


def count_rows(connection: duckdb.DuckDBPyConnection, tables: Iterable[str]) -> dict[str, int]:
    """Rows of each table."""
    return {table: connection.execute(f"FROM {table} SELECT count(*)").fetchall()[0][0] for table in tables}
