"""The data contract of landing files: the kinds of files, and the columns and types of each kind.

This module checks a file as a whole. ``sql/landing`` types each row and decides whether it keeps the data contract.
"""

from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
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

IDS = frozenset({"user_id", "item_id", "request_id"})
"""Columns of ids: text, or whole numbers of any type."""
EXACT_BELOW = {"DOUBLE": 2.0**53, "FLOAT": 2.0**24}
"""Whole numbers below these are exact in the type; others may be rounded."""
FREE_TEXT = frozenset({"title", "description", "tags", "category", "embedding"})
"""Columns in which a spelling of nothing, such as ``None``, may be a word."""
SECONDS = ("watch_s", "duration_s")
"""Columns that count seconds."""
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
NEAR = 0.7
"""How alike a name and a column must be for a warning, from 0 to 1: `completion` and `completed` are 0.74."""
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


def contract_columns(path: Path, kind: str, found: list[str]) -> dict[str, str]:
    """The columns of the data contract that a file has: their names, and those that the file gives them.

    Names are compared without case and without blanks around them.

    Raises:
        LandingError: naming the file, the columns that it lacks or has twice, and those that it has.
    """
    wanted = LANDING_COLUMNS[kind]
    names: dict[str, str] = {}
    for name in found:
        meant = named(name)
        if meant in names and meant in wanted.columns:
            told = f"{path} names the column {meant} twice ({names[meant]}, {name}): keep one"
            raise LandingError(told, path)
        names[meant] = name
    missing = [name for name in wanted.required if name not in names]
    shown = ", ".join(found[:20]) or "none"
    if missing:
        raise LandingError(
            f"{path} lacks the required column {', '.join(missing)} of {kind}; its columns are: {shown}. "
            "Rename or add it, and send the file again",
            path,
        )
    if wanted.any_of and not set(wanted.any_of) & names.keys():
        raise LandingError(
            f"{path} has none of the columns {', '.join(wanted.any_of)}, of which {kind} need at least one; "
            f"its columns are: {shown}. Rename or add one, and send the file again",
            path,
        )
    return {name: names[name] for name in wanted.columns if name in names}


def near_misses(kind: str, found: list[str]) -> dict[str, str]:
    """Columns of a file that are not read, and the absent column of the data contract that each may have meant."""
    names = {named(name): name for name in found}
    absent = [name for name in LANDING_COLUMNS[kind].columns if name not in names]
    unread = {name: meant for meant, name in names.items() if meant not in LANDING_COLUMNS[kind].columns}
    close = {name: get_close_matches(meant, absent, n=1, cutoff=NEAR) for name, meant in unread.items()}
    return {name: matches[0] for name, matches in close.items() if matches}


def named(name: str) -> str:
    """The column that a name in a file stands for: case, and blanks around it, do not count."""
    return name.removeprefix("\ufeff").strip().lower()
