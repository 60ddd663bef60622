"""The contract of a table: checks that its rows agree with its description (nulls, ranges, rules and the key).

Writers check their rows before they commit, so that no reader sees rows that break the contract. Of a daily table the
good days are kept.
"""

from collections.abc import Iterator
from datetime import date

import duckdb

from alignrec_assets.warehouse.columns import USER, Table
from alignrec_assets.warehouse.tables import TABLES
from models.messages import listed

HIDDEN = "***"
"""Replaces users' ids, and rows that hold them, in examples, because `alignrec forget` does not clear Dagster's log."""
WITH_USERS = (USER.name, "payload")
ROWS_AT_ONCE = 5_000_000  # limits the memory that the search for repeated keys takes


class ContractError(RuntimeError):
    """Rows of a table break its contract; the message names the rule and an example."""


def conditions(table: Table) -> list[str]:
    """The SQL conditions that every row obeys; a condition on a null holds."""
    needed = [f"{column.name} IS NOT NULL" for column in table.columns if not column.null]
    numbers = [f"NOT isnan({column.name})" for column in table.columns if column.type == "DOUBLE"]
    ranges = [bound for column in table.columns for bound in column.range]
    return [*needed, *numbers, *ranges, *table.rules]


def row_rules(table: Table) -> list[str]:
    """The key and the rules of the table, in words or SQL."""
    key = [f"one row for each {', '.join(table.key)}{' of a day' if table.daily else ''}"] if table.key else []
    return [*key, *table.rules]


def check_table(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Check a whole table against its contract.

    Raises:
        ContractError: naming every condition that is broken, with an example.
    """
    faults = list(_faults(connection, TABLES[name], "true", {}))
    if faults:
        raise ContractError(f"{name}: {listed(faults, '; ')}. Nothing was changed; the rows before stay.")


def broken_days(connection: duckdb.DuckDBPyConnection, name: str, rows: dict[date, int]) -> dict[date, str]:
    """Check days of a daily table against its contract.

    Args:
        connection: the connection that wrote the days.
        name: the table.
        rows: number of rows of each day, in order.

    Returns:
        The days that break the contract, each with what is broken and an example.
    """
    table = TABLES[name]
    suspects = [day for part in _parts(rows) if not _is_clean(connection, table, part) for day in part]
    found = {day: listed(list(_faults(connection, table, "day = $day", {"day": day})), "; ") for day in suspects}
    return {day: faults for day, faults in found.items() if faults}


def _parts(rows: dict[date, int]) -> Iterator[list[date]]:
    """Days in groups of about ``ROWS_AT_ONCE`` rows; a day without rows keeps every contract."""
    part: list[date] = []
    size = 0
    for day, count in rows.items():
        if part and size + count > ROWS_AT_ONCE:
            yield part
            part, size = [], 0
        if count:
            part.append(day)
            size += count
    if part:
        yield part


def _is_clean(connection: duckdb.DuckDBPyConnection, table: Table, days: list[date]) -> bool:
    """Whether days keep the contract: two passes over their rows, for any number of conditions.

    Keys are compared by their hashes, which is faster on a long log. Where two hashes are equal, the caller compares
    the keys themselves.
    """
    within = (
        f"FROM {table.name} SELECT {{}} WHERE day BETWEEN $first AND $last AND day IN (SELECT unnest($days::DATE[]))"
    )
    parameters = {"first": min(days), "last": max(days), "days": days}
    every = " AND ".join(f"coalesce({condition}, true)" for condition in conditions(table))
    ((obeyed,),) = connection.execute(within.format(f"coalesce(bool_and({every}), true)"), parameters).fetchall()
    if not obeyed or not table.key:
        return bool(obeyed)
    repeated = connection.execute(
        f"{within.format('1')} GROUP BY hash(day, {', '.join(table.key)}) HAVING count(*) > 1 LIMIT 1", parameters
    )
    return not repeated.fetchall()


def _faults(
    connection: duckdb.DuckDBPyConnection, table: Table, where: str, parameters: dict[str, object]
) -> Iterator[str]:
    for condition in conditions(table):
        broken = f"FROM {table.name} SELECT {{}} WHERE {where} AND NOT coalesce({condition}, true)"
        ((count,),) = connection.execute(broken.format("count(*)"), parameters).fetchall()
        if count:
            one = f"{broken.format(_example(table))} LIMIT 1"
            ((example,),) = connection.execute(one, parameters).fetchall()
            yield f"{count:,} rows break `{condition}`, such as {example}"
    if table.key:
        key = ", ".join(table.key)
        repeated = f"FROM {table.name} SELECT {key}, count(*) WHERE {where} GROUP BY {key} HAVING count(*) > 1"
        found = connection.execute(f"{repeated} ORDER BY ALL LIMIT 1", parameters).fetchall()
        if found:
            ((count,),) = connection.execute(f"SELECT count(*) FROM ({repeated})", parameters).fetchall()
            *values, times = found[0]
            told = [HIDDEN if name in WITH_USERS else value for name, value in zip(table.key, values, strict=True)]
            yield f"{count:,} values of the key ({key}) stand in several rows, such as {told} in {times}"


def _example(table: Table) -> str:
    """The row as JSON, without the user's id."""
    shown = [
        f'"{column.name}" := ' + (f"'{HIDDEN}'" if column.name in WITH_USERS else f'"{column.name}"')
        for column in table.columns
    ]
    return f"to_json(struct_pack({', '.join(shown)}))"
