"""A source data set while it is converted: its tables with typed fields, and the rows that had to be left out."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from pathlib import Path
from tempfile import mkdtemp

import polars as pl

from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.formats.reading import Field, without_blanks
from alignrec_assets.landing.formats.records import BLOCK_BYTES, LINE, Layout, read_blocks, require_content, text_of
from alignrec_assets.landing.formats.rejected import REJECTED_FOLDER, Rejected, RejectedRows
from alignrec_assets.settings.sections import LandingSettings

_SEPARATORS = (",", "\t", ";", "|")
"""What may stand between the fields of a file with a header; the header tells which one does."""


@dataclass(frozen=True)
class Table:
    """Rows of a source file with one column for each field, and the columns that the file lacks."""

    rows: pl.LazyFrame
    missing: tuple[str, ...]


@dataclass
class Source:
    """A data set that is being converted.

    Attributes:
        folder: of the data set.
        scratch: folder for the rows that were read, on a disk that has room for them.
        settings: words that stand for nothing, and the share of rows that may be rejected.
        tag_names: CSV file of tag id and name, or none.
        notes: what the user should know, one sentence each.
        rows_read: how many rows were read, rejected ones too.
        rejected: the rows that cannot be read.
    """

    folder: Path
    scratch: Path
    settings: LandingSettings
    tag_names: Path | None = None
    notes: list[str] = field(default_factory=list)
    rows_read: int = 0
    rejected: RejectedRows = field(init=False)

    def __post_init__(self) -> None:
        """Rejected rows go to the folder of what is to become the landing files."""
        self.rejected = RejectedRows(self.staging / REJECTED_FOLDER)

    @property
    def staging(self) -> Path:
        """Folder of the files that are moved to the landing folder when all of them are written."""
        return self.scratch / "landing"

    def csv(self, path: Path, required: Mapping[str, Field], optional: Mapping[str, Field] | None = None) -> Table:
        """Read a file with a header, whose separator is told from the header.

        Args:
            path: the file.
            required: fields whose columns must be there, by the name that they get.
            optional: fields whose columns may be absent; they are null then.

        Raises:
            LandingError: naming the file that is missing, is not text, or lacks a column.
        """
        fields = {**required, **(optional or {})}
        wanted = [each.column for each in required.values()]
        layout = _read_header(path, wanted, [each.column for each in fields.values()])
        present = {name: each for name, each in fields.items() if each.column in layout.columns}
        rows = self.plain(path, layout, present)
        for name in fields.keys() - present.keys():
            nothing = fields[name].parse(pl.Series([None], dtype=pl.String))
            rows = rows.with_columns(pl.lit(None, nothing.dtype).alias(name))
        return Table(rows, tuple(each.column for name, each in fields.items() if name not in present))

    def plain(self, path: Path, layout: Layout, fields: Mapping[str, Field]) -> pl.LazyFrame:
        """Read a file of a known layout: the rows whose fields can be read, with a column for each field.

        Raises:
            LandingError: naming the file that is missing or is not text.
        """
        folder = Path(mkdtemp(dir=self.scratch))
        parts: list[Path] = []
        for block in read_blocks(path, layout):
            broken = [
                Rejected(path.name, row.line, f"the row {row.reason}", _naive_user(row.text, layout, fields), row.text)
                for row in block.broken
            ]
            sound, unreadable = self._read_fields(path, block.rows, fields)
            self.rows_read += block.rows.height + len(broken)
            self.rejected.add(path.name, broken + unreadable)
            parts.append(folder / f"{len(parts)}.arrow")
            sound.write_ipc(parts[-1], compression="lz4")
        return pl.scan_ipc(parts, glob=False)

    def _read_fields(
        self, path: Path, rows: pl.DataFrame, fields: Mapping[str, Field]
    ) -> tuple[pl.DataFrame, list[Rejected]]:
        """The values of rows whose fields can all be read, and the other rows."""
        values: dict[str, pl.Series] = {}
        faults: dict[str, pl.Series] = {}
        for name, each in fields.items():
            text = without_blanks(rows[each.column], () if each.free_text else self.settings.missing_values)
            values[name] = each.parse(text).alias(name)
            if values[name].null_count():
                fault = values[name].is_null() & (text.is_not_null() | each.required)
                if fault.any():
                    faults[name] = fault
        found = pl.DataFrame(list(values.values()))
        if not faults:
            return found, []
        unreadable = reduce(or_, faults.values())
        rejected = []
        for at in unreadable.arg_true():
            row = rows.row(at, named=True)
            line = row.pop(LINE)
            reasons = "; ".join(self._reason(fields[name], row) for name, fault in faults.items() if fault[at])
            user = values["user_id"][at] if "user_id" in values else None
            rejected.append(Rejected(path.name, line, reasons, user, row))
        return found.filter(~unreadable), rejected

    def _reason(self, wanted: Field, row: Mapping[str, str | None]) -> str:
        """``rating: '4,5' is not a number``, as in ``raw.rejected_rows``."""
        text = (row[wanted.column] or "").strip()
        if not text or text in self.settings.missing_values:
            return f"{wanted.column}: missing" + (f" ({text!r} stands for nothing)" if text else "")
        comma = " (write a decimal point, not a comma)" if "," in text and "number" in wanted.wanted else ""
        return f"{wanted.column}: {text[:60]!r} is not {wanted.wanted}{comma}"

    def refuse_too_many(self) -> None:
        """Refuse a source of which too large a share cannot be read.

        Raises:
            LandingError: naming the share, the setting and the first rows.
        """
        share, limit = self.rejected.counts.total() / max(self.rows_read, 1), self.settings.rejected_share_limit
        if share > limit:
            raise LandingError(
                f"{self.folder}: {self.rejected.told(self.rows_read)} That is {share:.1%}, more than the {limit:.1%} "
                "allowed by landing.rejected_share_limit, and nothing was written: fix the rows, or raise the limit"
            )


def _naive_user(text: str, layout: Layout, fields: Mapping[str, Field]) -> str | None:
    """The user of a row that cannot be split, if it is split nevertheless; none where rows have no users."""
    cells = text.split(layout.separator)
    place = layout.columns.index(fields["user_id"].column) if "user_id" in fields else len(cells)
    return cells[place].strip(' "') if place < len(cells) else None


def _read_header(path: Path, required: list[str], known: list[str]) -> Layout:
    """The layout of a file with a header; names of known columns are told without regard to case and blanks."""
    require_content(path)
    with path.open("rb") as stream:
        first = text_of(path, stream.readline(BLOCK_BYTES), 1)
    if "\r" in first:
        raise LandingError(f"{path}: its lines end with carriage returns alone; save it with line feeds")
    called = {name.casefold(): name for name in known}
    layouts = []
    for separator in _SEPARATORS:
        cells = _header_cells(path, first, separator)
        names = [called.get(cell.casefold(), cell) for cell in cells]
        twice = {name for name in names if name in known and names.count(name) > 1}
        if twice:
            raise LandingError(f"{path} names the column {', '.join(sorted(twice))} twice: take one of them away")
        unique = tuple(name if name in known else f"{name} ({place})" for place, name in enumerate(names, start=1))
        fits = len(set(required) & set(names)), len(names)
        layouts.append((fits, names, Layout(unique, separator, quoted=True, header=True)))
    _, names, layout = max(layouts, key=lambda each: each[0])
    lacks = [name for name in required if name not in names]
    if lacks:
        shown = ", ".join(name[:40] for name in names[:20])
        raise LandingError(f"{path} lacks the column {', '.join(lacks)}; its columns are: {shown}")
    return layout


def _header_cells(path: Path, first: str, separator: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([first], delimiter=separator), [])]
    except csv.Error as error:
        raise LandingError(f"{path}: its first line cannot be read as column names ({error})") from error
