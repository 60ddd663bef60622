"""Rows of source files as text: which line each begins on, its fields, and why a row that cannot be split is broken.

Files are read in blocks, so memory does not depend on their size. A line ends with a line feed, with or without a
carriage return before it; no other character ends a line.
"""

import csv
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from alignrec_assets.landing.data_contract import LandingError

BLOCK_BYTES = 1 << 23
"""A row must fit into a block."""
LINE = "line number"
"""Column of the line on which a row begins, from 1."""
_LOOK_AHEAD = 1_000
"""Most lines of one row: a quote that is open for longer was left open."""
_FIELD_END = "\x1f"
"""Stands for the separator ``::``, because the fast reader takes separators of one byte."""
_UNCLEAR = b"\x1f:"
"""Three colons in a row, where ``_FIELD_END`` stands for the first two."""


@dataclass(frozen=True)
class Layout:
    """How the rows of a source file are written.

    Attributes:
        columns: names of the fields, in their order.
        separator: between fields: one character, or ``::``.
        quoted: whether a field may stand in double quotes, as in CSV.
        header: whether the first line names the columns.
        latin_1: whether the format allows Latin-1 beside UTF-8.
    """

    columns: tuple[str, ...]
    separator: str
    quoted: bool = False
    header: bool = False
    latin_1: bool = False

    @property
    def mark(self) -> str:
        """The separator as one byte."""
        return _FIELD_END if self.separator == "::" else self.separator


@dataclass(frozen=True)
class Broken:
    """A row that cannot be split into fields: its line, the reason, and its text."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Block:
    """Some rows of a file.

    Attributes:
        rows: those that have all fields, as text in NFC, with the column ``LINE``.
        broken: the others.
        cut_off: whether another row begins in the block and ends after it.
    """

    rows: pl.DataFrame
    broken: list[Broken]
    cut_off: bool = False


def require_content(path: Path) -> None:
    """Refuse a file that is missing or empty.

    Raises:
        LandingError: naming it.
    """
    if not path.is_file():
        raise LandingError(f"{path} is missing: the folder of the data set should hold it")
    if path.stat().st_size == 0:
        raise LandingError(f"{path} is empty: fetch it again")


def read_blocks(path: Path, layout: Layout) -> Iterator[Block]:
    """The rows of a file, in blocks. Blank lines are no rows.

    Raises:
        LandingError: naming the file that is missing or empty, the byte that is not text in the encoding of the format,
            or the line that is too long.
    """
    require_content(path)
    encoding = "latin-1" if layout.latin_1 and _is_latin_1(path) else "utf-8"
    with path.open("rb") as stream:
        line, rest = 1, b""
        if layout.header:
            line += len(stream.readline()) > 0
        elif stream.read(len(BOM_UTF8)) != BOM_UTF8:
            stream.seek(0)
        while True:
            chunk = stream.read(BLOCK_BYTES)
            data = rest + chunk
            end = data.rfind(b"\n") + 1 if chunk else len(data)
            text = _as_utf_8(path, data[:end], line, encoding)
            whole = text if text.endswith(b"\n") or not text else text + b"\n"
            block, lines = _split(whole, line, layout, last=not chunk)
            yield block
            if not chunk:
                return
            rest = (b"\n".join(text.split(b"\n")[lines:]) if block.cut_off else b"") + data[end:]
            line += lines
            if len(rest) > BLOCK_BYTES:
                raise LandingError(f"{path}, line {line} is longer than {BLOCK_BYTES >> 20} MiB: is it a text file?")


def text_of(path: Path, line: bytes, number: int) -> str:
    """A line of a UTF-8 file as text, without its end and without a byte order mark.

    Raises:
        LandingError: naming the byte that is not UTF-8.
    """
    return _as_utf_8(path, line, number, "utf-8").decode().removeprefix("\ufeff").rstrip("\r\n")


def _as_utf_8(path: Path, text: bytes, line: int, encoding: str) -> bytes:
    if encoding != "utf-8":
        return text.decode(encoding).encode()
    try:
        text.decode()
    except UnicodeDecodeError as error:
        before = text[: error.start]
        was = "UTF-16" if text[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "LATIN1"
        raise LandingError(
            f"{path}, line {line + before.count(10)}, byte {error.start - before.rfind(10)}: "
            f"0x{text[error.start]:02x} is not text in UTF-8. Save the file as UTF-8, for example with "
            f"`iconv -f {was} -t UTF-8`"
        ) from error
    return text


def _is_latin_1(path: Path) -> bool:
    """Whether the lines beyond ASCII are Latin-1. In Latin-1, a line is valid UTF-8 only by a very odd chance."""
    utf_8 = latin_1 = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
                utf_8 = utf_8 or (0 if line.isascii() else number)
            except UnicodeDecodeError:
                latin_1 = latin_1 or number
    if utf_8 and latin_1:
        raise LandingError(
            f"{path} mixes encodings: line {utf_8} is UTF-8, line {latin_1} is not. Save the file as UTF-8"
        )
    return latin_1 > 0


def _split(text: bytes, line: int, layout: Layout, *, last: bool) -> tuple[Block, int]:
    """Rows of whole lines, the first of which has the number ``line``, and how many lines they take."""
    if layout.separator == "::":
        text = text.replace(b"::", _FIELD_END.encode())
    if layout.quoted and b'"' in text:
        return _split_quoted(text, line, layout, last=last)
    count = text.count(b"\n")
    return _split_plain(text, np.arange(line, line + count), layout), count


def _split_plain(text: bytes, numbers: npt.NDArray[np.int64], layout: Layout) -> Block:
    """Rows of lines without quotes; ``numbers`` are the numbers of the lines."""
    octets = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(octets == ord("\n"))
    separators = np.searchsorted(np.flatnonzero(octets == ord(layout.mark)), ends)
    sound = np.diff(separators, prepend=0) == len(layout.columns) - 1
    if b"\0" in text or (layout.separator == "::" and _UNCLEAR in text):
        sound[:] = False
    broken: list[Broken] = []
    if not sound.all():
        lines = text.split(b"\n")
        for at in np.flatnonzero(~sound):
            fault = _fault(lines[at], layout)
            sound[at] = fault is None
            if fault:
                told = lines[at].decode().rstrip("\r").replace(layout.mark, layout.separator)
                broken.append(Broken(int(numbers[at]), fault, told))
        text, numbers = b"".join(lines[at] + b"\n" for at in np.flatnonzero(sound)), numbers[sound]
    return Block(_frame(text, numbers, layout), broken)


def _fault(line: bytes, layout: Layout) -> str | None:
    """Why a line without quotes cannot be split; none where it can be, empty where it is blank."""
    if not line.strip():
        return ""
    if b"\0" in line:
        return "holds a NUL byte"
    if layout.separator == "::" and _UNCLEAR in line:
        return "has three colons in a row, so that it is unclear where a field ends"
    return _count_fault(line.count(layout.mark.encode()) + 1, layout)


def _count_fault(found: int, layout: Layout) -> str | None:
    wanted = len(layout.columns)
    if found == wanted:
        return None
    fix = ": write a field that holds the separator in double quotes" if layout.quoted and found > wanted else ""
    return f"has {found} fields between {layout.separator!r} where {wanted} are needed{fix}"


def _frame(text: bytes, numbers: npt.NDArray[np.int64], layout: Layout) -> pl.DataFrame:
    schema = dict.fromkeys(layout.columns, pl.String())
    if not text:
        return pl.DataFrame(schema={**schema, LINE: pl.Int64})
    rows = pl.read_csv(text, has_header=False, separator=layout.mark, quote_char=None, schema=schema)
    return _composed(rows.with_columns(pl.Series(LINE, numbers)), text)


def _composed(rows: pl.DataFrame, text: bytes) -> pl.DataFrame:
    """The rows with text in Unicode's composed form, NFC."""
    return rows if text.isascii() else rows.with_columns(pl.col(pl.String).str.normalize("NFC"))


def _split_quoted(text: bytes, line: int, layout: Layout, *, last: bool) -> tuple[Block, int]:
    """Rows of lines some of which hold quotes; a row at the end that goes on in the next block is left to it."""
    lines = text.split(b"\n")[:-1]
    plain: list[int] = []
    quoted: list[list[str | int]] = []
    broken: list[Broken] = []
    at = 0
    while at < len(lines):
        if b'"' not in lines[at]:
            plain.append(at)
            at += 1
            continue
        upto, fields, fault = _quoted_row(lines, at, layout, last=last)
        if upto == at:
            break
        if fault:
            broken.append(Broken(line + at, fault, lines[at].decode().rstrip("\r")))
        else:
            quoted.append([*fields, line + at])
        at = upto
    block = _split_plain(b"".join(lines[at] + b"\n" for at in plain), np.array(plain, np.int64) + line, layout)
    rows = pl.DataFrame(quoted, schema=block.rows.schema, orient="row")
    return Block(block.rows.vstack(_composed(rows, text)), block.broken + broken, cut_off=at < len(lines)), at


def _quoted_row(lines: list[bytes], at: int, layout: Layout, *, last: bool) -> tuple[int, list[str], str | None]:
    """The line after the row that begins at a line, its fields, and what is wrong with it.

    A quote may stay open over several lines. Where the next of them reads as a row of its own, the quote was left open
    by mistake: then the first line alone is wrong. The same line is returned where the row goes on after the lines.
    """
    text = lines[at].decode().rstrip("\r")
    left_open: tuple[int, list[str], str] = at + 1, [], "leaves a double quote open"
    for after in range(at + 1, at + _LOOK_AHEAD):
        try:
            fields = next(csv.reader([text], delimiter=layout.separator, strict=True))
        except csv.Error as error:
            if "unexpected end of data" not in str(error):
                return left_open if after > at + 1 else (at + 1, [], f"is not valid CSV ({error})")
        else:
            fault = "holds a NUL byte" if "\0" in text else _count_fault(len(fields), layout)
            return (at + 1 if fault else after), fields, fault
        if after == len(lines):
            return left_open if last else (at, [], None)
        if _stands_alone(lines[after], layout):
            return left_open
        text += "\n" + lines[after].decode().rstrip("\r")
    return left_open


def _stands_alone(line: bytes, layout: Layout) -> bool:
    """Whether a line has all fields of a row, and no quote without its partner."""
    if line.count(b'"') % 2:
        return False
    try:
        fields = next(csv.reader([line.decode()], delimiter=layout.separator, strict=True), [])
    except csv.Error:
        return False
    return len(fields) == len(layout.columns)
