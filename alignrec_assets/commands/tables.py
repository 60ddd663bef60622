"""The page of the tables: what each holds, what holds for its rows, and what it is made from."""

from collections.abc import Iterator

from alignrec_assets.refresh.declarations import DECLARED, Declaration, Read
from alignrec_assets.warehouse.columns import Table
from alignrec_assets.warehouse.contract import row_rules
from alignrec_assets.warehouse.tables import TABLES

REACHES = {
    "day": "the same day",
    "past": "every day up to it",
    "window": "a window of days",
    "latest": "only which day is the latest",
    "whole": "whole",
}
"""How far back an asset looks, in words."""


def tables_page() -> str:
    """``docs/tables.md``: every table, its columns, its contract, and its declaration where an asset makes it."""
    lines = [
        "# The tables of the warehouse",
        "",
        "Made by `alignrec tables` from `alignrec_assets/warehouse/tables.py` and",
        "`alignrec_assets/refresh/declarations.py`. A table without the line *Reads* is filled by the steps of others.",
        "",
    ]
    for table in TABLES.values():
        lines += [f"## {table.name}", "", table.description, "", *_columns(table), ""]
        lines += [*(f"- {rule}" for rule in row_rules(table)), ""]
        if table.name in DECLARED:
            lines += [*_made_from(DECLARED[table.name]), ""]
    return "\n".join(lines)


def _columns(table: Table) -> Iterator[str]:
    yield "| column | type | null | meaning |"
    yield "|---|---|---|---|"
    for column in table.columns:
        meaning = ", ".join([column.description, *(f"`{bound}`" for bound in column.range)])
        yield f"| {column.name} | {column.type} | {'yes' if column.null else ''} | {meaning} |"


def _made_from(declared: Declaration) -> Iterator[str]:
    read = ", ".join(f"`{entry.asset}` ({_reach(entry, declared)})" for entry in declared.reads)
    yield f"Reads: {read or 'landing files'}." if not declared.from_landing else f"Reads: landing files, {read}."
    if declared.settings:
        yield f"Settings that count: {', '.join(f'`{name}`' for name in declared.settings)}."


def _reach(read: Read, reader: Declaration) -> str:
    return "all days" if read.reach == "past" and not reader.daily else REACHES[read.reach]
