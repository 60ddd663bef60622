"""The data contract of landing files: the kinds of files, and the columns and types of each kind.

This module checks a file as a whole. ``sql/landing`` types each row and decides whether it keeps the data contract.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path


class LandingError(ValueError):
    """A landing or source file that cannot be used; the message names the file, what is wrong and the fix.

    Attributes:
        path: the landing file whose content is at fault; none where the fault is not in one file.
    """

    def __init__(self, message: str, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True)
class LandingColumns:
    """Columns of one kind of landing file.

    Attributes:
        required: columns that every file must have.
        optional: columns that may be absent.
        any_of: every file must have at least one of these columns; empty: no such demand.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    any_of: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, required ones first."""
        return self.required + self.optional


_OUTCOMES = ("watch_s", "completed", "liked", "shared", "skipped", "positive")
LANDING_COLUMNS = {
    "items": LandingColumns(
        ("item_id",),
        ("title", "description", "tags", "category", "duration_s", "published_at", "updated_at", "embedding"),
        any_of=("title", "tags", "category", "embedding"),
    ),
    "events": LandingColumns(("user_id", "item_id", "ts"), ("rating", *_OUTCOMES)),
    # history, cluster_id, table_version and taxonomy_version may be null for random exposures: checked row by row.
    "feedback": LandingColumns(
        ("request_id", "item_id", "user_id", "ts", "policy"),
        ("history", "cluster_id", "table_version", "taxonomy_version", "position", "propensity", *_OUTCOMES),
    ),
    "outcomes": LandingColumns(("request_id", "item_id", "ts"), _OUTCOMES),
}
"""Columns by kind of landing file."""

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
_FLAGS = dict.fromkeys(("completed", "liked", "shared", "skipped", "positive"), ("BOOLEAN",))
_NUMBERS = dict.fromkeys(("watch_s", "rating", "cluster_id", "position", "propensity"), (*_INTEGERS, "DOUBLE"))
OWN_TYPES = {
    "ts": ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"),
    "history": tuple(f"{type_}[]" for type_ in _INTEGERS),
    **_FLAGS,
    **_NUMBERS,
}
"""Parquet columns of these types are read as they are; columns of other types are read as text."""
CANNOT_BE_OPENED = "cannot be opened"
"""Stands in place of the hash of a file that cannot be opened."""
_SUFFIXES = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".ndjson": "json", ".json": "json"}


@dataclass(frozen=True)
class LandingFile:
    """One landing file.

    Attributes:
        kind: items, events, feedback or outcomes.
        path: relative to the landing folder, with forward slashes.
        arrival_day: day of the folder that holds it; none for a file directly in the folder of its kind.
        content_hash: SHA-256 of its bytes, or ``CANNOT_BE_OPENED``.
    """

    kind: str
    path: str
    arrival_day: date | None
    content_hash: str

    @property
    def format(self) -> str:
        """parquet, csv or json: the reader for this file; empty where no reader fits."""
        return file_format(Path(self.path)) or ""


def file_format(path: Path) -> str | None:
    """``parquet``, ``csv`` or ``json`` by the suffix of the file, else none; text files may end in ``.gz``."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"] and suffixes[-2:-1] != [".parquet"]:
        suffixes.pop()
    return _SUFFIXES.get(suffixes[-1]) if suffixes else None


def check_columns(path: Path, kind: str, found: list[str]) -> None:
    """Refuse a file that lacks a column.

    Raises:
        LandingError: naming the file, the missing columns and those that it has.
    """
    wanted = LANDING_COLUMNS[kind]
    missing = [name for name in wanted.required if name not in found]
    shown = ", ".join(found[:20]) or "none"
    if missing:
        raise LandingError(
            f"{path} lacks the required column {', '.join(missing)} of {kind}; its columns are: {shown}. "
            "Rename or add it, and send the file again",
            path,
        )
    if wanted.any_of and not set(wanted.any_of) & set(found):
        raise LandingError(
            f"{path} has none of the columns {', '.join(wanted.any_of)}, of which {kind} need at least one; "
            f"its columns are: {shown}. Rename or add one, and send the file again",
            path,
        )
