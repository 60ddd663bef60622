"""Parquet files as relations: they are scanned in place, not copied."""

import glob
import hashlib
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow
import pyarrow.parquet
from duckdb import ColumnExpression, ConstantExpression, Expression, FunctionExpression
from duckdb.sqltypes import DuckDBPyType

from alignrec_assets.landing.data_contract import (
    EXACT_BELOW,
    IDS,
    LANDING_COLUMNS,
    OWN_TYPES,
    SECONDS,
    LandingError,
    LandingFile,
    contract_columns,
    file_format,
)
from alignrec_assets.landing.expressions import clean_text, null, number_as_id, present
from alignrec_assets.landing.zone import LandingZone
from alignrec_assets.warehouse.queries import query

ROW_NUMBER = "file_row_number"
"""DuckDB's name for the number of a row in its file, from 0."""
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


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


def parquet_columns(path: Path) -> list[str]:
    """The names of its columns."""
    names: list[str] = _schema(path).names
    return names


def parquet_rows(
    connection: duckdb.DuckDBPyConnection, zone: LandingZone, kind: str, files: list[LandingFile]
) -> Iterator[duckdb.DuckDBPyRelation]:
    """Rows of the Parquet files, one relation for each schema among them.

    Raises:
        LandingError: naming a file and the column that it lacks, has twice, or fills with bytes that are no text.
    """
    if not files:
        return
    patterns = [glob.escape(str(zone.folder / file.path)) for file in files]
    schemas = connection.execute(query("landing.parquet_schemas"), {"files": patterns}).fetchall()
    for (same_schema,) in schemas:
        paths = sorted(map(Path, same_schema))
        columns = parquet_columns(paths[0])
        names = contract_columns(paths[0], kind, columns)
        if ROW_NUMBER in map(str.lower, columns):
            told = f"{paths[0]} has a column {ROW_NUMBER}, a name that the reader needs: rename it, and send it again"
            raise LandingError(told, paths[0])
        for units, alike in _by_units(paths, names):
            rows = _parquet_group(connection, zone.folder, kind, alike, names, units)
            yield rows.select(
                *(_present(name, type_, zone) for name, type_ in zip(rows.columns, rows.types, strict=True))
            )


def _present(name: str, type_: object, zone: LandingZone) -> Expression:
    """A column of the rows; text that is a spelling of nothing is null."""
    column = ColumnExpression(name)
    is_value = name not in ("file", "history") and type_ == "VARCHAR"
    return present(name, column, zone.missing_values).alias(name) if is_value else column


def _schema(path: Path) -> pyarrow.Schema:
    """Its schema as Arrow reads it: with both names where two differ in case only, and with durations."""
    try:
        return pyarrow.parquet.read_schema(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise LandingError(f"{path} cannot be read: its schema is damaged ({error}); send it again", path) from error


def _by_units(paths: list[Path], names: dict[str, str]) -> list[tuple[dict[str, float], list[Path]]]:
    """Files by the unit, in seconds, of columns that are durations of Arrow: other readers see plain integers."""
    seconds = [name for name in SECONDS if name in names]
    groups: dict[tuple[float, ...], list[Path]] = {}
    for path in paths:
        schema = _schema(path) if seconds else None
        types = [schema.field(names[name]).type for name in seconds] if schema is not None else []
        units = tuple(_UNITS[type_.unit] if pyarrow.types.is_duration(type_) else 1.0 for type_ in types)
        groups.setdefault(units, []).append(path)
    return [(dict(zip(seconds, units, strict=True)), alike) for units, alike in groups.items()]


def _parquet_group(
    connection: duckdb.DuckDBPyConnection,
    landing: Path,
    kind: str,
    paths: list[Path],
    names: dict[str, str],
    units: dict[str, float],
) -> duckdb.DuckDBPyRelation:
    patterns = [glob.escape(str(path)) for path in paths]
    # Relations of one union share no name of a parameter.
    parameter = f"files_{hashlib.sha256(patterns[0].encode()).hexdigest()}"
    scan = connection.sql(
        query("landing.parquet_rows").replace("$files", f"${parameter}"), params={parameter: patterns}
    )
    types = dict(zip(scan.columns, scan.types, strict=True))
    _require_text(scan, {name: types[column] for name, column in names.items()}, names)

    def value(name: str) -> Expression:
        if name not in names:
            return null("VARCHAR").alias(name)
        column, type_ = ColumnExpression(names[name]), types[names[name]]
        if units.get(name, 1.0) != 1.0:
            return (column.cast("DOUBLE") * ConstantExpression(units[name])).alias(name)
        return (column if str(type_) in OWN_TYPES.get(name, ()) else _as_text(name, column, type_)).alias(name)

    embedded = "embedding" in names and types[names["embedding"]].id in ("list", "array")
    vector = ColumnExpression(names["embedding"]).try_cast("FLOAT[]") if embedded else null("FLOAT[]")
    # Derived from the file's name, so that no join with the list of files is needed.
    start = ConstantExpression(len(f"{landing}/") + 1)
    file = FunctionExpression("substr", ColumnExpression("landing file"), start)
    folder_day = FunctionExpression(
        "regexp_extract", file, ConstantExpression("/day=([0-9-]+)/"), ConstantExpression(1)
    )
    return scan.select(
        file.alias("file"),
        folder_day.try_cast("DATE").alias("arrival_day"),
        (ColumnExpression(ROW_NUMBER) + ConstantExpression(1)).alias("row_number"),
        *(value(name) for name in LANDING_COLUMNS[kind].columns),
        *([vector.alias("embedding_list")] if kind == "items" else []),
    )


def _as_text(name: str, column: Expression, type_: DuckDBPyType) -> Expression:
    """A column as text: lists as JSON, bytes decoded, floating-point ids as the integers that they stand for."""
    if type_.id in ("list", "array"):
        return null("VARCHAR") if name == "embedding" else FunctionExpression("to_json", column).cast("VARCHAR")
    if type_.id == "blob":
        return clean_text(FunctionExpression("decode", column))
    if name in IDS and str(type_) in EXACT_BELOW:
        return number_as_id(column.cast("DOUBLE"), EXACT_BELOW[str(type_)])
    return clean_text(column)


def _require_text(scan: duckdb.DuckDBPyRelation, types: dict[str, DuckDBPyType], names: dict[str, str]) -> None:
    """Refuse bytes that are not UTF-8, by file and column."""
    for name, type_ in types.items():
        if type_.id != "blob":
            continue
        column = names[name].replace('"', '""')
        bad = scan.filter(f'"{column}" IS NOT NULL AND try(decode("{column}")) IS NULL')
        for path, row in bad.select(ColumnExpression("landing file"), ColumnExpression(ROW_NUMBER)).limit(1).fetchall():
            raise LandingError(
                f"{path}, row {row + 1}: column {names[name]} holds bytes that are not text in UTF-8: write it as "
                "text, and send the file again",
                Path(path),
            )
