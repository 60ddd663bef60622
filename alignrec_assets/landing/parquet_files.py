"""Parquet files as relations: they are scanned in place, not copied."""

import glob
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow
import pyarrow.parquet
from duckdb import ColumnExpression, ConstantExpression, Expression, FunctionExpression

from alignrec_assets.landing.data_contract import LANDING_COLUMNS, OWN_TYPES, LandingFile, check_columns, file_format
from alignrec_assets.landing.expressions import null, trimmed_text
from alignrec_assets.warehouse.queries import query


def first_damaged(paths: list[Path]) -> Path | None:
    """The first Parquet file that a second reader cannot read either; DuckDB does not name the file in every error."""
    for path in paths:
        if file_format(path) == "parquet":
            try:
                for _ in pyarrow.parquet.ParquetFile(path).iter_batches():
                    pass
            except (OSError, pyarrow.ArrowException):
                return path
    return None


def parquet_rows(
    connection: duckdb.DuckDBPyConnection, landing: Path, kind: str, files: list[LandingFile]
) -> Iterator[duckdb.DuckDBPyRelation]:
    """Rows of the Parquet files, one relation for each schema among them."""
    if not files:
        return
    paths = [glob.escape(str(landing / file.path)) for file in files]
    schemas = connection.execute(query("landing.parquet_schemas"), {"files": paths}).fetchall()
    for (same_schema,) in schemas:
        yield _parquet_group(connection, landing, kind, sorted(same_schema))


def _parquet_group(
    connection: duckdb.DuckDBPyConnection, landing: Path, kind: str, paths: list[str]
) -> duckdb.DuckDBPyRelation:
    scan = connection.read_parquet([glob.escape(path) for path in paths], filename=True, file_row_number=True)
    types = dict(zip(scan.columns, scan.types, strict=True))
    check_columns(Path(paths[0]), kind, list(types))

    def value(name: str) -> Expression:
        if name not in types:
            return null("VARCHAR").alias(name)
        column = ColumnExpression(name)
        if str(types[name]) in OWN_TYPES.get(name, ()):
            return column
        if types[name].id not in ("list", "array"):
            return trimmed_text(column).alias(name)
        return (
            null("VARCHAR") if name == "embedding" else FunctionExpression("to_json", column).cast("VARCHAR")
        ).alias(name)

    embedded = "embedding" in types and types["embedding"].id in ("list", "array")
    vector = ColumnExpression("embedding").try_cast("FLOAT[]") if embedded else null("FLOAT[]")
    # Derived from the file's name, so that no join with the list of files is needed.
    file = FunctionExpression("substr", ColumnExpression("filename"), ConstantExpression(len(f"{landing}/") + 1))
    folder_day = FunctionExpression(
        "regexp_extract", file, ConstantExpression("/day=([0-9-]+)/"), ConstantExpression(1)
    )
    return scan.select(
        file.alias("file"),
        folder_day.try_cast("DATE").alias("arrival_day"),
        (ColumnExpression("file_row_number") + ConstantExpression(1)).alias("row_number"),
        *(value(name) for name in LANDING_COLUMNS[kind].columns),
        *([vector.alias("embedding_list")] if kind == "items" else []),
    )
