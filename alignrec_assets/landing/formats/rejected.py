"""Source rows that a conversion could not read, kept beside the landing files: one file for each source file."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from models.files import replacing

REJECTED_FOLDER = "REJECTED"
"""Of the landing folder; a conversion writes it whole."""
_EXAMPLES = 3
"""Rejected rows that a message shows."""


@dataclass(frozen=True)
class Rejected:
    """A source row that cannot be read.

    Attributes:
        file: name of the source file.
        line: on which the row begins, from 1.
        reason: which field has which value, and what is wrong with it.
        user_id: the user whom the row names; none where it names none that can be read.
        payload: the row: its fields by column, or its text where it cannot be split into fields.
    """

    file: str
    line: int
    reason: str
    user_id: str | None
    payload: dict[str, str | None] | str

    def names(self, user: str) -> bool:
        """Whether the row is of a user; the text of a row that cannot be split is searched for the id."""
        cells = re.split(r"[,;|:\t\n\"]", self.payload) if isinstance(self.payload, str) else []
        return user == self.user_id or user in map(str.strip, cells)


class RejectedRows:
    """The rejected rows of a conversion: they are written as they are found, so that memory does not hold them.

    Attributes:
        folder: for one file of JSON Lines for each source file.
        counts: how many there are, by source file.
        first: the first few of each source file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.first: list[Rejected] = []

    def add(self, file: str, rows: list[Rejected]) -> None:
        """Add rows of a source file; all of them come after the rows that were added before."""
        if not rows:
            return
        in_order = sorted(rows, key=lambda row: row.line)
        self.first += in_order[: max(_EXAMPLES - self.counts[file], 0)]
        self.counts[file] += len(rows)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{file}.jsonl").open("a", encoding="utf-8", newline="\n") as stream:
            stream.writelines(map(_as_json, in_order))

    def told(self, rows_read: int) -> str:
        """How many of the rows were rejected, and the first few with their reasons."""
        files = ", ".join(f"{count:,} of {file}" for file, count in sorted(self.counts.items()))
        first = sorted(self.first, key=lambda row: (row.file, row.line))[:_EXAMPLES]
        examples = "; ".join(f"{row.file}, line {row.line}: {row.reason}" for row in first)
        return f"{self.counts.total():,} of {rows_read:,} rows cannot be read ({files}). The first: {examples}."


def forget_rejected(landing: Path, user: str) -> dict[str, int]:
    """Take the rows of a user away; returns how many went, by the path of the file in the landing folder."""
    gone: dict[str, int] = {}
    for path in sorted((landing / REJECTED_FOLDER).glob("*.jsonl")):
        with path.open(encoding="utf-8", newline="\n") as lines:
            rows = [Rejected(**json.loads(line)) for line in lines]
        left = [row for row in rows if not row.names(user)]
        if len(left) < len(rows):
            gone[path.relative_to(landing).as_posix()] = len(rows) - len(left)
            with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as stream:
                stream.writelines(map(_as_json, left))
        if not left:
            path.unlink()
    return gone


def names_user(landing: Path, user: str) -> bool:
    """Whether a kept row is of a user."""
    for path in sorted((landing / REJECTED_FOLDER).glob("*.jsonl")):
        with path.open(encoding="utf-8", newline="\n") as lines:
            if any(Rejected(**json.loads(line)).names(user) for line in lines):
                return True
    return False


def _as_json(row: Rejected) -> str:
    return json.dumps(vars(row), ensure_ascii=False) + "\n"
