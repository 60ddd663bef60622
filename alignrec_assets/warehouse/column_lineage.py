"""The lineage of columns: which columns a column of a table is computed from, derived from the SQL of the table."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import dagster as dg

from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.tables import KEPT_PAST, TABLES

LINEAGE = "dagster/column_lineage"
DIALECT = "duckdb"
TEMPORARY = "temp"  # schema of the relations that a step makes for its queries, such as wanted_days
CHECKED_ROWS = ("file", "row_number", "reason", "duplicate")  # added to the columns of a landing row


def lineage_metadata(table: str) -> dict[str, Any]:
    """Metadata that shows what the columns of a table are computed from; empty where no query computes the table.

    It comes in two forms: Dagster's own, which the open-source UI shows as JSON, and a table in Markdown.
    """
    columns = column_sources(table)
    if not any(columns.values()):
        return {}
    dependencies = {
        column: [dg.TableColumnDep(dg.AssetKey(source.split(".")), name) for source, name in sources]
        for column, sources in columns.items()
    }
    lines = [
        f"| {column} | {', '.join(f'`{source}.{name}`' for source, name in sources)} |"
        for column, sources in columns.items()
    ]
    return {
        LINEAGE: dg.TableColumnLineage(dependencies),
        "columns_come_from": dg.MetadataValue.md("\n".join(["| column | from |", "|---|---|", *lines])),
    }


@cache
def column_sources(table: str) -> dict[str, list[tuple[str, str]]]:
    """The warehouse columns that each column of a table is computed from.

    Columns that are used only in joins and filters, or to divide and order rows, are not listed. Columns that Python
    adds later are missing, and so are tables without a query.

    Returns:
        By column: pairs of table and column, sorted; empty where a column is a parameter, a count of rows, or comes
        from landing files.
    """
    # Imported here: it takes 0.2 s, and loading the definitions does not need it.
    from sqlglot import exp, parse_one
    from sqlglot.lineage import lineage
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope

    try:
        statement = parse_one(query(table), dialect=DIALECT)
    except FileNotFoundError:
        return {}
    assert isinstance(statement, exp.Query)
    schema = _schema()
    qualified = qualify(
        statement, dialect=DIALECT, schema=schema, db=TEMPORARY, identify=False, validate_qualify_columns=False
    )
    for window in qualified.find_all(exp.Window):
        window.set("partition_by", [])
        window.set("order", None)
    scope = build_scope(qualified)
    # One call for all columns, without copies: a copy of the longest query for each of its columns took 0.5 s of a run.
    graph = lineage(None, qualified, schema, scope=scope, dialect=DIALECT, trim_selects=False, copy=False)
    found = {}
    for column in [column.name for column in TABLES[table].columns if column.name in graph]:
        nodes = graph[column].walk()
        leaves = [(node.expression, node.name) for node in nodes if isinstance(node.expression, exp.Table)]
        found[column] = _in_warehouse((f"{leaf.db}.{leaf.name}", name.rpartition(".")[2]) for leaf, name in leaves)
    return found


def _in_warehouse(sources: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted({(table, column) for table, column in sources if table in TABLES and table != KEPT_PAST})


@cache
def _schema() -> dict[str, object]:
    """Columns of all tables, and of the temporary relations that are made when landing files are read."""
    schema: dict[str, dict[str, dict[str, str]]] = {}
    for table in TABLES.values():
        schema.setdefault(table.schema, {})[table.name.split(".")[1]] = {c.name: c.type for c in table.columns}
    logs = schema["raw"]["feedback_logs"] | dict.fromkeys(CHECKED_ROWS, "VARCHAR")
    read = dict.fromkeys(("typed_feedback", "doubtful_feedback", "checked_outcomes"), logs)
    schema[TEMPORARY] = {**read, "wanted_days": {"day": "DATE"}}
    return dict(schema)
