"""Landing files as relations: their rows with file and row number, without the rows of forgotten users.

Parquet, CSV and JSON Lines give the same columns: every column of the data contract, as text or of its own type; blank
text is null.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path

import duckdb
from duckdb import ColumnExpression, ConstantExpression, FunctionExpression

from alignrec_assets.landing.data_contract import (
    CANNOT_BE_OPENED,
    LANDING_COLUMNS,
    LandingError,
    LandingFile,
    file_format,
)
from alignrec_assets.landing.expressions import READING_FAULTS, null
from alignrec_assets.landing.parquet_files import first_damaged, parquet_columns, parquet_rows
from alignrec_assets.landing.text_files import csv_header, is_empty, json_keys, stage_text
from alignrec_assets.landing.tombstones import Tombstones, read_tombstones
from alignrec_assets.landing.zone import LandingZone
from alignrec_assets.warehouse.queries import query


@contextmanager
def registered_landing(
    connection: duckdb.DuckDBPyConnection, zone: LandingZone, kind: str, files: list[LandingFile]
) -> Iterator[None]:
    """Make the rows of the files available to queries as the temporary view ``landing_<kind>``, see ``landing_rows``.

    Rows of forgotten users are not in this view; they are in the view ``forgotten_<kind>``.

    Raises:
        LandingError: naming a file that lacks a required column or cannot be read, with the line where there is one.
    """
    rows = landing_rows(connection, zone, kind, files)
    with reading(zone.folder, files):
        forgotten = _forgotten_users(rows, read_tombstones(zone.folder))
        is_forgotten = ConstantExpression(False)
        if forgotten:
            # concat turns null into an empty text: a row without a user is rejected later, not forgotten.
            user = FunctionExpression("concat", ColumnExpression("user_id"))
            is_forgotten = user.isin(*map(ConstantExpression, forgotten))
        connection.register(f"landing_{kind}", rows.filter(~is_forgotten))
        connection.register(f"forgotten_{kind}", rows.filter(is_forgotten))
        yield
        connection.unregister(f"landing_{kind}")
        connection.unregister(f"forgotten_{kind}")


def _forgotten_users(rows: duckdb.DuckDBPyRelation, tombstones: Tombstones) -> list[str]:
    """Forgotten users among the rows. Each user is hashed once; hashing each row took 5 s per million rows."""
    if "user_id" not in rows.columns or not tombstones.users:
        return []
    salted = FunctionExpression("concat", ConstantExpression(tombstones.key), ColumnExpression("user_id"))
    is_forgotten = FunctionExpression("sha256", salted).isin(*map(ConstantExpression, tombstones.users))
    users = rows.select(ColumnExpression("user_id")).distinct().filter(is_forgotten)
    return [user for (user,) in users.fetchall() if user is not None]


def landing_rows(
    connection: duckdb.DuckDBPyConnection, zone: LandingZone, kind: str, files: list[LandingFile]
) -> duckdb.DuckDBPyRelation:
    """Every row of the files as a relation. The macros that type the values are defined too.

    The columns are file, row_number (from 1; null means that the file is empty), arrival_day and every column of the
    data contract as text, lists as JSON. Where all files are Parquet, columns keep ``OWN_TYPES``. Items have one more
    column, ``embedding_list``, so that vectors of Parquet files are not turned into text. Parquet files are scanned in
    place. Text files are copied into a temporary table, because only a scan in file order can number their rows.

    Raises:
        LandingError: naming a file that lacks a required column or cannot be read, with the line where there is one.
    """
    connection.execute(query("macros.landed_day"))
    connection.execute(query("macros.landed_values"))
    staged = f"staged_{kind}"
    types = {"file": "VARCHAR", "arrival_day": "DATE", "row_number": "BIGINT"} | dict.fromkeys(
        LANDING_COLUMNS[kind].columns, "VARCHAR"
    )
    columns = ", ".join(f"{column} {type_}" for column, type_ in types.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {staged} ({columns})")
    parquet = []
    for file in files:
        path = zone.folder / file.path
        _require_readable(path, file)
        if is_empty(path):
            connection.execute(
                f"INSERT INTO {staged} BY NAME SELECT $1 AS file, $2 AS arrival_day", [file.path, file.arrival_day]
            )
        elif file.format == "parquet":
            parquet.append(file)
        else:
            stage_text(connection, zone, file, staged)
    relation = connection.table(staged)
    if kind == "items":
        relation = relation.select(*map(ColumnExpression, types), null("FLOAT[]").alias("embedding_list"))
    relations = [relation] if len(parquet) < len(files) or not files else []
    with reading(zone.folder, parquet):
        relations += parquet_rows(connection, zone, kind, parquet)
    return reduce(duckdb.DuckDBPyRelation.union, _alike(relations))


def _alike(relations: list[duckdb.DuckDBPyRelation]) -> list[duckdb.DuckDBPyRelation]:
    """The relations, with histories as JSON in all of them where one has them as text.

    A union of lists and text takes the text for lists, and fails where one is none.
    """
    texts = [dict(zip(rows.columns, rows.types, strict=True)).get("history") == "VARCHAR" for rows in relations]
    if all(texts) or not any(texts):
        return relations
    as_json = FunctionExpression("to_json", ColumnExpression("history")).cast("VARCHAR").alias("history")
    return [
        rows
        if text
        else rows.select(*(as_json if name == "history" else ColumnExpression(name) for name in rows.columns))
        for rows, text in zip(relations, texts, strict=True)
    ]


def file_columns(path: Path) -> list[str]:
    """The names that a file gives its columns; of JSON Lines the keys of the first objects."""
    if is_empty(path):
        return []
    if file_format(path) == "parquet":
        return parquet_columns(path)
    return csv_header(path)[0] if file_format(path) == "csv" else json_keys(path)


def _require_readable(path: Path, file: LandingFile) -> None:
    """Refuse a file that cannot be opened, is gone, or is of no format that is read."""
    if file.content_hash == CANNOT_BE_OPENED:
        raise LandingError(f"{path} cannot be opened: let this user read it, or take it away", path)
    if not path.is_file():
        raise LandingError(f"{path} is gone since the landing folder was surveyed: run again", path)
    if file.format == "":
        raise LandingError(
            f"{path} is not a landing file: Parquet (.parquet), CSV (.csv) and JSON Lines (.jsonl, .ndjson, .json) "
            "are read; move it away, or begin its name with a dot",
            path,
        )


@contextmanager
def reading(landing: Path, files: list[LandingFile]) -> Iterator[None]:
    """Turn DuckDB's error about the content of a file into a ``LandingError`` that names the file."""
    try:
        yield
    except duckdb.Error as error:
        # DuckDB may raise its base class for a damaged page. Its other subclasses mean an error in our queries.
        if not isinstance(error, READING_FAULTS) and type(error) is not duckdb.Error:
            raise
        fault = str(error).splitlines()[0]
        paths = [landing / file.path for file in files]
        culprit = next((path for path in paths if str(path) in str(error)), None) or first_damaged(paths)
        if culprit is None:
            raise
        raise LandingError(
            f"{culprit} cannot be read: it is damaged or was cut off ({fault}); send it again, or move it away", culprit
        ) from error
