"""Source rows that a conversion could not read, kept beside the landing files: one file for each source file."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from models.files import replacing

REJECTED_FOLDER = "REJECTED"
"""Of the landing folder; a conversion writes it whole."""


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


def write_rejected(rejected: list[Rejected], folder: Path) -> None:
    """Write rows as JSON Lines, in the order of their lines."""
    files: dict[str, list[Rejected]] = {}
    for row in sorted(rejected, key=lambda row: (row.file, row.line)):
        files.setdefault(f"{row.file}.jsonl", []).append(row)
    for name, rows in files.items():
        _write(folder / name, rows)


def forget_rejected(landing: Path, user: str) -> dict[str, int]:
    """Take the rows of a user away; returns how many went, by the path of the file in the landing folder."""
    gone: dict[str, int] = {}
    for path in sorted((landing / REJECTED_FOLDER).glob("*.jsonl")):
        with path.open(encoding="utf-8", newline="\n") as lines:
            rows = [Rejected(**json.loads(line)) for line in lines]
        left = [row for row in rows if not row.names(user)]
        if len(left) < len(rows):
            gone[path.relative_to(landing).as_posix()] = len(rows) - len(left)
            _write(path, left)
        if not left:
            path.unlink()
    return gone


def _write(path: Path, rows: list[Rejected]) -> None:
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(json.dumps(vars(row), ensure_ascii=False) + "\n" for row in rows)
