"""CSV and JSON Lines files: their rows are copied in file order into a temporary table."""

import codecs
import csv
import glob
import gzip
import itertools
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from duckdb import (
    CaseExpression,
    CoalesceOperator,
    ColumnExpression,
    ConstantExpression,
    Expression,
    FunctionExpression,
)

from alignrec_assets.landing.data_contract import (
    EXACT_BELOW,
    IDS,
    LANDING_COLUMNS,
    LandingError,
    LandingFile,
    contract_columns,
    file_format,
    named,
)
from alignrec_assets.landing.expressions import READING_FAULTS, clean_text, null, number_as_id, present
from alignrec_assets.landing.zone import LandingZone
from alignrec_assets.warehouse.queries import query

_COLUMNS = {name for columns in LANDING_COLUMNS.values() for name in columns.columns}
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


def stage_text(connection: duckdb.DuckDBPyConnection, zone: LandingZone, file: LandingFile, staged: str) -> None:
    """Insert the rows of a CSV or JSON Lines file into the table ``staged``.

    Raises:
        LandingError: naming the file and its first malformed line, or the column that it lacks.
    """
    read, malformed = (_csv_lines, _malformed_csv) if file.format == "csv" else (_json_lines, _malformed_json)
    path, names = zone.folder / file.path, LANDING_COLUMNS[file.kind].columns
    with _readable(path) as text:
        try:
            lines, column = read(connection, path, text, file.kind)
            place = [
                ConstantExpression(file.path).alias("file"),
                ConstantExpression(file.arrival_day).cast("DATE").alias("arrival_day"),
                ColumnExpression("row_number"),
            ]
            rows = lines.select(*place, *(clean_text(column(name)).alias(name) for name in names))
            rows.select(
                *map(ColumnExpression, ("file", "arrival_day", "row_number")),
                *(present(name, ColumnExpression(name), zone.missing_values).alias(name) for name in names),
            ).insert_into(staged)
        except READING_FAULTS as error:
            told = f"{path}, {malformed(text, str(error))}: fix that line, or send the file again"
            raise LandingError(told, path) from error


@contextmanager
def _readable(path: Path) -> Iterator[Path]:
    """The text as DuckDB's readers want it: the file, or a copy without byte order mark and with one kind of line ends.

    DuckDB refuses a CSV file that mixes both kinds without naming the line, and a byte order mark in JSON.
    """
    if not _needs_a_copy(path):
        yield path
        return
    suffix = ".csv" if file_format(path) == "csv" else ".jsonl"
    with tempfile.NamedTemporaryFile(suffix=suffix) as copy:
        copy.writelines(_one_kind_of_line_ends(_chunks(path)))
        copy.flush()
        yield Path(copy.name)


def _needs_a_copy(path: Path) -> bool:
    chunks = _chunks(path)
    first = next(chunks, b"")
    if file_format(path) == "json":
        return first.startswith(codecs.BOM_UTF8)
    ends, both, last = 0, 0, b""
    for chunk in itertools.chain([first], chunks):
        ends += chunk.count(b"\n")
        both += (last + chunk).count(b"\r\n")
        last = chunk[-1:]
    return 0 < both < ends


def _chunks(path: Path) -> Iterator[bytes]:
    with _open_text(path) as stream:
        while chunk := stream.read(1 << 20):
            yield chunk


def _one_kind_of_line_ends(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The text with LF at the end of its lines and without byte order mark; line ends within quotes stay."""
    quoted, held = False, next(chunks, b"").removeprefix(codecs.BOM_UTF8)
    for chunk in itertools.chain(chunks, [b""]):
        text, held = held + chunk, b""
        if chunk and text.endswith(b"\r"):
            text, held = text[:-1], b"\r"
        parts = text.split(b'"')
        for place in range(int(quoted), len(parts), 2):
            parts[place] = parts[place].replace(b"\r\n", b"\n")
        quoted ^= len(parts) % 2 == 0
        yield b'"'.join(parts)


def _csv_lines(connection: duckdb.DuckDBPyConnection, path: Path, readable: Path, kind: str) -> Lines:
    header, delimiter = csv_header(path)
    known = contract_columns(path, kind, header)
    meant = {given: name for name, given in known.items()}
    names = [meant.get(given, f"ignored {place}") for place, given in enumerate(header)]
    columns = {"columns": dict.fromkeys(names, "VARCHAR"), "delimiter": delimiter}
    lines = connection.sql(query("landing.csv_lines"), params={"file": glob.escape(str(readable)), **columns})
    return lines, lambda name: ColumnExpression(name) if name in known else null("VARCHAR")


def csv_header(path: Path) -> tuple[list[str], str]:
    """The names in the first line, and the delimiter: the one that finds the most columns of the data contract.

    Raises:
        LandingError: the first line is not text in UTF-8.
    """
    with _open_text(path) as stream:
        line = stream.readline()
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
        headers = {delimiter: next(csv.reader([text], delimiter=delimiter), []) for delimiter in ",\t;"}
    except (UnicodeDecodeError, csv.Error) as error:
        told = f"{path} is no CSV file in UTF-8: its first line cannot be read as column names"
        raise LandingError(told, path) from error
    delimiter = max(headers, key=lambda one: len(_COLUMNS & set(map(named, headers[one]))))
    return [name.strip() for name in headers[delimiter]], delimiter


def _malformed_csv(path: Path, message: str) -> str:  # noqa: ARG001
    """``line 3: ...`` from DuckDB's error, without its advice about options that a user of alignrec cannot set."""
    lines = message.splitlines()
    number = lines[0].rpartition("Line:")[2].strip() if "Line:" in lines[0] else "unknown"
    wanted = ("Expected Number", "Value with unterminated", "Invalid unicode", "Maximum line size", "The CSV Parser")
    reasons = [line.removeprefix("Invalid Input Error: ") for line in lines if any(part in line for part in wanted)]
    return f"line {number}: not valid CSV in UTF-8 ({reasons[0] if reasons else lines[0]})"


def _json_lines(connection: duckdb.DuckDBPyConnection, path: Path, readable: Path, kind: str) -> Lines:
    """Lines of objects. Keys may differ from line to line, in case too."""
    json_keys(path)  # which names the line where one of the first is no object
    lines = connection.sql(query("landing.json_lines"), params={"file": glob.escape(str(readable))})
    keys = [
        key
        for (key,) in connection.sql(query("landing.json_keys"), params={"file": glob.escape(str(readable))}).fetchall()
    ]
    spellings: dict[str, list[str]] = {}
    for key in keys:
        spellings.setdefault(named(key), []).append(key)
    contract_columns(path, kind, list(spellings))
    return lines, lambda name: _json_value(name, spellings.get(name, [name]))


def _json_value(name: str, spellings: list[str]) -> Expression:
    """The value of the first of these keys that an object has."""
    values = []
    for key in spellings:
        place = ConstantExpression('$."' + key.replace('"', '\\"') + '"')
        text = FunctionExpression("json_extract_string", ColumnExpression("json"), place)
        if name in IDS:
            is_float = FunctionExpression("json_type", ColumnExpression("json"), place) == ConstantExpression("DOUBLE")
            text = CaseExpression(is_float, number_as_id(text.try_cast("DOUBLE"), EXACT_BELOW["DOUBLE"])).otherwise(
                text
            )
        values.append(text)
    return values[0] if len(values) == 1 else CoalesceOperator(*values)


def json_keys(path: Path, lines: int = 100) -> list[str]:
    """Keys of the first objects.

    Raises:
        LandingError: one of the first lines is no JSON object; the message has its number.
    """
    keys: dict[str, None] = {}
    with _open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            if number > lines:
                break
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if text.strip():
                keys.update(dict.fromkeys(_json_object(path, number, text)))
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


def _malformed_json(path: Path, message: str) -> str:  # noqa: ARG001
    """The first line that is not valid JSON; DuckDB's own number is one too high where a record is cut off."""
    with _open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                json.loads(line or b"null")
            except ValueError as error:
                if line.strip():
                    return f"line {number}: not valid JSON ({error})"
    return "not valid JSON Lines"
