"""Rows of a warehouse in memory: putting them into its tables, and reading them as values that can be compared."""

from alignrec_assets.warehouse.tables import TABLES


def fill(connection, table, rows):
    """Replace all rows of a table by dicts; columns that are not named are null."""
    columns = [column.name for column in TABLES[table].columns]
    connection.execute(f"DELETE FROM {table}")
    if rows:
        marks = ", ".join("?" for _ in columns)
        connection.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})",
            [[row.get(name) for name in columns] for row in rows],
        )


def comparable(rows):
    """The rows with tuples for lists, so that sets can hold them."""
    return [tuple(tuple(value) if isinstance(value, list) else value for value in row) for row in rows]
