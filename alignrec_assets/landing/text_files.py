"""CSV and JSON Lines files: their rows are copied in file order into a temporary table."""

import csv
import glob
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from duckdb import ColumnExpression, ConstantExpression, Expression, FunctionExpression

from alignrec_assets.landing.data_contract import LANDING_COLUMNS, LandingError, LandingFile, check_columns
from alignrec_assets.landing.expressions import READING_FAULTS, null, trimmed_text
from alignrec_assets.warehouse.queries import query

Lines = tuple[duckdb.DuckDBPyRelation, Callable[[str], Expression]]
"""Lines of a text file with ``row_number``, and a function that gives the expression of a column."""


def is_empty(path: Path) -> bool:
    """Whether a file holds no bytes; a compressed file is unpacked first."""
    if path.suffix.lower() != ".gz":
        return path.stat().st_size == 0
    with _open_text(path) as stream:
        return stream.read(1) == b""


@contextmanager
def _open_text(path: Path) -> Iterator[gzip.GzipFile]:
    """The bytes of a text file; a compressed file is unpacked."""
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            yield stream  # type: ignore[misc]
    except (OSError, EOFError, zlib.error) as error:
        raise LandingError(f"{path} cannot be read to its end ({error}): send it again", path) from error


def stage_text(connection: duckdb.DuckDBPyConnection, path: Path, file: LandingFile, staged: str) -> None:
    """Insert the rows of a CSV or JSON Lines file into the table ``staged``.

    Raises:
        LandingError: naming the file and its first malformed line, or the column that it lacks.
    """
    lines, column = (_csv_lines if file.format == "csv" else _json_lines)(connection, path, file.kind)
    rows = lines.select(
        ConstantExpression(file.path).alias("file"),
        ConstantExpression(file.arrival_day).cast("DATE").alias("arrival_day"),
        ColumnExpression("row_number"),
        *(trimmed_text(column(name)).alias(name) for name in LANDING_COLUMNS[file.kind].columns),
    )
    try:
        rows.insert_into(staged)
    except READING_FAULTS as error:
        fault = _malformed_json(path) if file.format == "json" else _malformed_csv(str(error))
        raise LandingError(f"{path}, {fault}: fix that line, or send the file again", path) from error


def _csv_lines(connection: duckdb.DuckDBPyConnection, path: Path, kind: str) -> Lines:
    header = _csv_header(path)
    check_columns(path, kind, header)
    known = LANDING_COLUMNS[kind].columns
    names = [name if name in known else f"ignored {place}" for place, name in enumerate(header)]
    lines = connection.sql(
        query("landing.csv_lines"), params={"file": glob.escape(str(path)), "columns": dict.fromkeys(names, "VARCHAR")}
    )
    return lines, lambda name: ColumnExpression(name) if name in names else null("VARCHAR")


def _csv_header(path: Path) -> list[str]:
    with _open_text(path) as stream:
        line = stream.readline()
    try:
        header = next(csv.reader([line.decode("utf-8-sig")]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        told = f"{path} is no CSV file in UTF-8: its first line cannot be read as column names"
        raise LandingError(told, path) from error
    names = [name.strip() for name in header]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise LandingError(f"{path} names the column {', '.join(twice)} twice in its first line: keep one", path)
    return names


def _malformed_csv(message: str) -> str:
    """``line 3: ...`` from DuckDB's error, without its advice about options that a user of alignrec cannot set."""
    lines = message.splitlines()
    number = lines[0].rpartition("Line:")[2].strip() if "Line:" in lines[0] else "unknown"
    wanted = ("Expected Number", "Value with unterminated", "Invalid unicode", "Maximum line size", "The CSV Parser")
    reasons = [line.removeprefix("Invalid Input Error: ") for line in lines if any(part in line for part in wanted)]
    return f"line {number}: not valid CSV in UTF-8 ({reasons[0] if reasons else lines[0]})"


def _json_lines(connection: duckdb.DuckDBPyConnection, path: Path, kind: str) -> Lines:
    check_columns(path, kind, _json_keys(path))
    lines = connection.sql(query("landing.json_lines"), params={"file": glob.escape(str(path))})
    return lines, lambda name: FunctionExpression(
        "json_extract_string", ColumnExpression("json"), ConstantExpression(f'$."{name}"')
    )


def _json_keys(path: Path, lines: int = 100) -> list[str]:
    """Keys of the first objects. A column that none of them has counts as missing from the file."""
    keys: dict[str, None] = {}
    with _open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            if number > lines:
                break
            if line.strip():
                keys.update(dict.fromkeys(_json_object(path, number, line)))
    return list(keys)


def _json_object(path: Path, number: int, line: bytes) -> dict[str, object]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise LandingError(
            f"{path}, line {number}: not valid JSON ({error}): JSON Lines holds one object per line", path
        ) from error
    if not isinstance(value, dict):
        raise LandingError(f"{path}, line {number}: not a JSON object: JSON Lines holds one object per line", path)
    return value


def _malformed_json(path: Path) -> str:
    """The first line that is not valid JSON; DuckDB's own number is one too high where a record is cut off."""
    with _open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                json.loads(line or b"null")
            except ValueError as error:
                if line.strip():
                    return f"line {number}: not valid JSON ({error})"
    return "not valid JSON Lines"
