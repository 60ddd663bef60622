"""Landing files as relations: which files lie in the landing zone, and their rows with file and row number.

Parquet, CSV and JSON Lines end up alike: every column of the contract as text or of its own type, blank as null. What
a row means, and whether it keeps the contract, is decided in ``sql/landing``. Faults of a whole file are raised here.
"""

import csv
import glob
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import reduce
from pathlib import Path

import duckdb
import pyarrow
import pyarrow.parquet
from duckdb import ColumnExpression, ConstantExpression, Expression, FunctionExpression

from alignrec_assets.landing.tombstones import Tombstones, read_tombstones
from alignrec_assets.warehouse.queries import query


class LandingError(ValueError):
    """A landing or source file that cannot be used; the message names the file, what is wrong and the mend.

    Attributes:
        path: of the one landing file whose content is at fault, where it is one.
    """

    def __init__(self, message: str, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True)
class Contract:
    """Columns of one kind of landing file.

    Attributes:
        required: columns that every file must have.
        optional: columns that may be absent.
        any_of: columns of which every file must have at least one; empty means no such demand.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    any_of: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, required ones first."""
        return self.required + self.optional


_OUTCOMES = ("watch_s", "completed", "liked", "shared", "skipped", "positive")
CONTRACTS = {
    "items": Contract(
        ("item_id",),
        ("title", "description", "tags", "category", "duration_s", "published_at", "updated_at", "embedding"),
        any_of=("title", "tags", "category", "embedding"),
    ),
    "events": Contract(("user_id", "item_id", "ts"), ("rating", *_OUTCOMES)),
    # history, cluster_id, table_version and taxonomy_version may be null for random exposures: checked row by row.
    "feedback": Contract(
        ("request_id", "item_id", "user_id", "ts", "policy"),
        ("history", "cluster_id", "table_version", "taxonomy_version", "position", "propensity", *_OUTCOMES),
    ),
    "outcomes": Contract(("request_id", "item_id", "ts"), _OUTCOMES),
}
"""The data contract by kind (design: data contract)."""

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
_FLAGS = dict.fromkeys(("completed", "liked", "shared", "skipped", "positive"), ("BOOLEAN",))
_NUMBERS = dict.fromkeys(("watch_s", "rating", "cluster_id", "position", "propensity"), (*_INTEGERS, "DOUBLE"))
OWN_TYPES = {
    "ts": ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"),
    "history": tuple(f"{type_}[]" for type_ in _INTEGERS),
    **_FLAGS,
    **_NUMBERS,
}
"""Types of Parquet columns that are read as they are, without a detour over text."""

CANNOT_BE_OPENED = "cannot be opened"
"""In place of a file's hash."""

_SUFFIXES = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".ndjson": "json", ".json": "json"}
_READING_FAULTS = (duckdb.InvalidInputException, duckdb.IOException, duckdb.ConversionException)


@dataclass(frozen=True)
class LandingFile:
    """One landing file.

    Attributes:
        kind: items, events, feedback or outcomes.
        path: relative to the landing folder, with forward slashes.
        arrival_day: day of the folder it lies in; none for files directly in the kind's folder.
        content_hash: SHA-256 of its bytes, or ``CANNOT_BE_OPENED``.
    """

    kind: str
    path: str
    arrival_day: date | None
    content_hash: str

    @property
    def format(self) -> str:
        """The reader that it needs: parquet, csv or json; empty where there is none."""
        return file_format(Path(self.path)) or ""


def file_format(path: Path) -> str | None:
    """``parquet``, ``csv`` or ``json`` by the file's suffix (``.gz`` behind it is allowed for text), else none."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"] and suffixes[-2:-1] != [".parquet"]:
        suffixes.pop()
    return _SUFFIXES.get(suffixes[-1]) if suffixes else None


@contextmanager
def registered_landing(
    connection: duckdb.DuckDBPyConnection, landing: Path, kind: str, files: list[LandingFile]
) -> Iterator[None]:
    """Rows of the files are available to queries as the temporary view ``landing_<kind>``, see ``landing_rows``.

    Rows of forgotten users are left out; they make up the view ``forgotten_<kind>``.

    Raises:
        LandingError: naming a file that lacks a required column or cannot be read, with the line where there is one.
    """
    rows = landing_rows(connection, landing, kind, files)
    with reading(landing, files):
        forgotten = _forgotten_users(rows, read_tombstones(landing))
        is_forgotten = ConstantExpression(False)
        if forgotten:
            # Of null, concat makes an empty text: a row without a user is rejected later, not forgotten.
            user = FunctionExpression("concat", ColumnExpression("user_id"))
            is_forgotten = user.isin(*map(ConstantExpression, forgotten))
        connection.register(f"landing_{kind}", rows.filter(~is_forgotten))
        connection.register(f"forgotten_{kind}", rows.filter(is_forgotten))
        yield
        connection.unregister(f"landing_{kind}")
        connection.unregister(f"forgotten_{kind}")


def _forgotten_users(rows: duckdb.DuckDBPyRelation, tombstones: Tombstones) -> list[str]:
    """Forgotten users among the rows; each user is hashed once, not each row, which took 5 s a million."""
    if "user_id" not in rows.columns or not tombstones.users:
        return []
    salted = FunctionExpression("concat", ConstantExpression(tombstones.key), ColumnExpression("user_id"))
    is_forgotten = FunctionExpression("sha256", salted).isin(*map(ConstantExpression, tombstones.users))
    users = rows.select(ColumnExpression("user_id")).distinct().filter(is_forgotten)
    return [user for (user,) in users.fetchall() if user is not None]


def landing_rows(
    connection: duckdb.DuckDBPyConnection, landing: Path, kind: str, files: list[LandingFile]
) -> duckdb.DuckDBPyRelation:
    """Every row of the files as a relation.

    Its columns are file, row_number (from 1; null stands for an empty file), arrival_day and every column of the
    contract as text, with lists as JSON; where all files are Parquet, columns keep ``OWN_TYPES``. Items have
    ``embedding_list`` beside ``embedding``, filled from Parquet, so that vectors need no detour over text. Parquet
    is scanned where it lies; text files are staged in a temporary table, for only a scan in file order can number
    their rows.

    Raises:
        LandingError: naming a file that lacks a required column or cannot be read, with the line where there is one.
    """
    staged = f"staged_{kind}"
    types = {"file": "VARCHAR", "arrival_day": "DATE", "row_number": "BIGINT"} | dict.fromkeys(
        CONTRACTS[kind].columns, "VARCHAR"
    )
    columns = ", ".join(f"{column} {type_}" for column, type_ in types.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {staged} ({columns})")
    parquet = []
    for file in files:
        path = landing / file.path
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
        if _is_empty(path):
            connection.execute(
                f"INSERT INTO {staged} BY NAME SELECT $1 AS file, $2 AS arrival_day", [file.path, file.arrival_day]
            )
        elif file.format == "parquet":
            parquet.append(file)
        else:
            _stage_text(connection, landing, file, staged)
    relation = connection.table(staged)
    if kind == "items":
        relation = relation.select(*map(ColumnExpression, types), _null("FLOAT[]").alias("embedding_list"))
    relations = [relation] if len(parquet) < len(files) or not files else []
    with reading(landing, parquet):
        relations += _parquet_rows(connection, landing, kind, parquet)
    return reduce(duckdb.DuckDBPyRelation.union, relations)


@contextmanager
def reading(landing: Path, files: list[LandingFile]) -> Iterator[None]:
    """Turn DuckDB's complaint about a file's content into a ``LandingError`` that names the file."""
    try:
        yield
    except duckdb.Error as error:
        # A damaged page may surface as the bare base class; its subclasses beside the faults are errors in our queries.
        if not isinstance(error, _READING_FAULTS) and type(error) is not duckdb.Error:
            raise
        fault = str(error).splitlines()[0]
        paths = [landing / file.path for file in files]
        culprit = next((path for path in paths if str(path) in str(error)), None) or _first_damaged(paths)
        if culprit is None:
            raise
        raise LandingError(
            f"{culprit} cannot be read: it is damaged or was cut off ({fault}); send it again, or move it away", culprit
        ) from error


def _first_damaged(paths: list[Path]) -> Path | None:
    """The first Parquet file that a second reader cannot read either; DuckDB does not name the file in every error."""
    for path in paths:
        if file_format(path) == "parquet":
            try:
                for _ in pyarrow.parquet.ParquetFile(path).iter_batches():
                    pass
            except (OSError, pyarrow.ArrowException):
                return path
    return None


def _is_empty(path: Path) -> bool:
    if path.suffix.lower() != ".gz":
        return path.stat().st_size == 0
    with _open_text(path) as stream:
        return stream.read(1) == b""


@contextmanager
def _open_text(path: Path) -> Iterator[gzip.GzipFile]:
    """The bytes of a text file, unpacked where it is compressed."""
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            yield stream  # type: ignore[misc]
    except (OSError, EOFError, zlib.error) as error:
        raise LandingError(f"{path} cannot be read to its end ({error}): send it again", path) from error


def _null(type_: str) -> Expression:
    return ConstantExpression(None).cast(type_)


def _text(expression: Expression) -> Expression:
    """The value as trimmed text; blank is null."""
    return FunctionExpression("nullif", FunctionExpression("trim", expression.cast("VARCHAR")), ConstantExpression(""))


# Text files ----------------------------------------------------------------------------------------------------------


def _stage_text(connection: duckdb.DuckDBPyConnection, landing: Path, file: LandingFile, staged: str) -> None:
    path = landing / file.path
    lines, column = (_csv_lines if file.format == "csv" else _json_lines)(connection, path, file.kind)
    rows = lines.select(
        ConstantExpression(file.path).alias("file"),
        ConstantExpression(file.arrival_day).cast("DATE").alias("arrival_day"),
        ColumnExpression("row_number"),
        *(_text(column(name)).alias(name) for name in CONTRACTS[file.kind].columns),
    )
    try:
        rows.insert_into(staged)
    except _READING_FAULTS as error:
        fault = _malformed_json(path) if file.format == "json" else _malformed_csv(str(error))
        raise LandingError(f"{path}, {fault}: mend that line, or send the file again", path) from error


Lines = tuple[duckdb.DuckDBPyRelation, Callable[[str], Expression]]
"""Lines of a text file with ``row_number``, and the expression that picks a column of the contract."""


def _csv_lines(connection: duckdb.DuckDBPyConnection, path: Path, kind: str) -> Lines:
    header = _csv_header(path)
    _check_columns(path, kind, header)
    contract = CONTRACTS[kind].columns
    names = [name if name in contract else f"ignored {place}" for place, name in enumerate(header)]
    lines = connection.sql(
        query("landing.csv_lines"), params={"file": glob.escape(str(path)), "columns": dict.fromkeys(names, "VARCHAR")}
    )
    return lines, lambda name: ColumnExpression(name) if name in names else _null("VARCHAR")


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
    """``line 3: ...`` out of DuckDB's explanation, which also holds advice about options that nobody can set here."""
    lines = message.splitlines()
    number = lines[0].rpartition("Line:")[2].strip() if "Line:" in lines[0] else "unknown"
    wanted = ("Expected Number", "Value with unterminated", "Invalid unicode", "Maximum line size", "The CSV Parser")
    reasons = [line.removeprefix("Invalid Input Error: ") for line in lines if any(part in line for part in wanted)]
    return f"line {number}: not valid CSV in UTF-8 ({reasons[0] if reasons else lines[0]})"


def _json_lines(connection: duckdb.DuckDBPyConnection, path: Path, kind: str) -> Lines:
    _check_columns(path, kind, _json_keys(path))
    lines = connection.sql(query("landing.json_lines"), params={"file": glob.escape(str(path))})
    return lines, lambda name: FunctionExpression(
        "json_extract_string", ColumnExpression("json"), ConstantExpression(f'$."{name}"')
    )


def _json_keys(path: Path, lines: int = 100) -> list[str]:
    """Keys of the first objects: a column that none of them has is missing from the file, not from a row."""
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
    """The first line that is no JSON; DuckDB's own count is one too high where a record is cut off."""
    with _open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                json.loads(line or b"null")
            except ValueError as error:
                if line.strip():
                    return f"line {number}: not valid JSON ({error})"
    return "not valid JSON Lines"


# Parquet -------------------------------------------------------------------------------------------------------------


def _parquet_rows(
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
    _check_columns(Path(paths[0]), kind, list(types))

    def value(name: str) -> Expression:
        if name not in types:
            return _null("VARCHAR").alias(name)
        column = ColumnExpression(name)
        if str(types[name]) in OWN_TYPES.get(name, ()):
            return column
        if types[name].id not in ("list", "array"):
            return _text(column).alias(name)
        return (
            _null("VARCHAR") if name == "embedding" else FunctionExpression("to_json", column).cast("VARCHAR")
        ).alias(name)

    embedded = "embedding" in types and types["embedding"].id in ("list", "array")
    vector = ColumnExpression("embedding").try_cast("FLOAT[]") if embedded else _null("FLOAT[]")
    # From the name, which is one constant for a file: no join with the list of files.
    file = FunctionExpression("substr", ColumnExpression("filename"), ConstantExpression(len(f"{landing}/") + 1))
    folder_day = FunctionExpression(
        "regexp_extract", file, ConstantExpression("/day=([0-9-]+)/"), ConstantExpression(1)
    )
    return scan.select(
        file.alias("file"),
        folder_day.try_cast("DATE").alias("arrival_day"),
        (ColumnExpression("file_row_number") + ConstantExpression(1)).alias("row_number"),
        *(value(name) for name in CONTRACTS[kind].columns),
        *([vector.alias("embedding_list")] if kind == "items" else []),
    )


def _check_columns(path: Path, kind: str, found: list[str]) -> None:
    contract = CONTRACTS[kind]
    missing = [name for name in contract.required if name not in found]
    shown = ", ".join(found[:20]) or "none"
    if missing:
        raise LandingError(
            f"{path} lacks the required column {', '.join(missing)} of {kind}; its columns are: {shown}. "
            "Rename or add it, and send the file again",
            path,
        )
    if contract.any_of and not set(contract.any_of) & set(found):
        raise LandingError(
            f"{path} has none of the columns {', '.join(contract.any_of)}, of which {kind} need at least one; "
            f"its columns are: {shown}. Rename or add one, and send the file again",
            path,
        )
