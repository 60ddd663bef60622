"""Text files become rows with line numbers: what csv writes is read back, and a broken row takes no other with it."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.formats import records
from alignrec_assets.landing.formats.records import LINE, Layout, read_blocks

CSV = Layout(("a", "b", "c"), ",", quoted=True)
CELL = st.one_of(
    st.text(alphabet='a1é",; :\u2028\u0085\x0b\x1f|', max_size=6),
    st.sampled_from(["one\ntwo", 'a "b"\nc', "\n", "x\n\ny"]),
)


def read(path, layout, block_bytes=records.BLOCK_BYTES):
    """Rows as (line, fields) and broken rows as (line, reason), whatever the size of the blocks."""
    patch = pytest.MonkeyPatch()
    patch.setattr(records, "BLOCK_BYTES", block_bytes)
    with patch.context():
        blocks = list(read_blocks(path, layout))
    patch.undo()
    rows = [(row[-1], tuple(cell or "" for cell in row[:-1])) for block in blocks for row in block.rows.iter_rows()]
    assert all(block.rows.columns == [*layout.columns, LINE] for block in blocks)
    return sorted(rows), sorted((broken.line, broken.reason) for block in blocks for broken in block.broken)


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=12),
    ends=st.lists(st.sampled_from(["\n", "\r\n"]), min_size=12, max_size=12),
    block_bytes=st.integers(60, 400),
)
def test_what_csv_writes_is_read_back_in_blocks_of_any_size(tmp_path_factory, rows, ends, block_bytes):
    text, wanted, line = "", [], 1
    for row, end in zip(rows, ends, strict=False):
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerow(row)
        text += stream.getvalue()[:-1] + end
        wanted.append((line, row))
        line += stream.getvalue().count("\n")
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert read(path, CSV, block_bytes) == (wanted, [])


TOO_MANY = "has 4 fields between ',' where 3 are needed: write a field that holds the separator in double quotes"
BROKEN = {
    "1,2": "has 2 fields between ',' where 3 are needed",
    "1,2,3,4": TOO_MANY,
    "1,American President, The (1995),x": TOO_MANY,
    '1,"2",3,4': TOO_MANY,
    '1, "a,b",3': TOO_MANY,
    '1,"Grumpier Old Men (1995),3': "leaves a double quote open",
    '1,2,"': "leaves a double quote open",
    '"': "leaves a double quote open",
    '1,"Heat" (1995),3': "is not valid CSV (',' expected after '\"')",
    '1,"a""b" c,3': "is not valid CSV (',' expected after '\"')",
    "1,a\0b,3": "holds a NUL byte",
    '1,"a\0b",3': "holds a NUL byte",
}


@pytest.mark.parametrize("block_bytes", [80, records.BLOCK_BYTES])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("line", "reason"), BROKEN.items())
def test_a_broken_row_takes_no_other_with_it(tmp_path, line, reason, end, block_bytes):
    good = ['7,"x, y",8', "7,plain,8", '7,"two' + end + 'lines",8', '7,an "inner" quote,8']
    for at in range(len(good) + 1):
        path = tmp_path / f"{at}.csv"
        path.write_text(end.join([*good[:at], line, *good[at:]]), encoding="utf-8", newline="")
        rows, broken = read(path, CSV, block_bytes)
        assert [fields for _, fields in rows] == [
            ("7", "x, y", "8"), ("7", "plain", "8"), ("7", "two\nlines", "8"), ("7", 'an "inner" quote', "8")
        ]  # fmt: skip
        assert broken == [(at + 1 + (at > 2), reason)]


SOUND = ['7,"x, y",8', "7,plain,8", '7,"two\nlines",8', '7,an "inner" quote,8', '"two\nlines",7,"8"']


@settings(deadline=None)
@given(
    line=st.text(alphabet='",1a \r\0;é', max_size=12),
    before=st.lists(st.sampled_from(SOUND), max_size=4),
    after=st.lists(st.sampled_from(SOUND), max_size=4),
    block_bytes=st.sampled_from([90, records.BLOCK_BYTES]),
)
def test_whatever_a_line_holds_the_rows_around_it_stay(tmp_path_factory, line, before, after, block_bytes):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_text("\n".join([*before, line, *after, ""]), encoding="utf-8", newline="")
    rows, broken = read(path, CSV, block_bytes)
    at = len("\n".join([*before, ""]).split("\n"))
    around = [next(csv.reader([row])) for row in (*before, *after)]
    assert [list(fields) for number, fields in rows if number != at] == around
    assert len(rows) + len(broken) == len(around) + bool(line.strip())


DOTS = Layout(("a", "b", "c"), "::")


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("1::2001: Ein Märchen::x|y", ("1", "2001: Ein Märchen", "x|y")),
        ("1::Film::", ("1", "Film", "")),
        ("1::::", ("1", "", "")),
        ('1::The "Best" (1999)::', ("1", 'The "Best" (1999)', "")),
        ("1::a\u2028b\x0bc::d", ("1", "a\u2028b\x0bc", "d")),
        ("1::a:b:c::d", ("1", "a:b:c", "d")),
        ("1::Film", "has 2 fields between '::' where 3 are needed"),
        ("1:2::3", "has 2 fields between '::' where 3 are needed"),
        ("1,2,3", "has 1 fields between '::' where 3 are needed"),
        ("1::A :: B::x", "has 4 fields between '::' where 3 are needed"),
        ("1::Film:::x", "has three colons in a row, so that it is unclear where a field ends"),
    ],
)
def test_fields_between_double_colons(tmp_path, line, outcome):
    path = tmp_path / "rows.dat"
    path.write_text(f"0::first::z\n{line}\n\n9::last::z", encoding="utf-8")
    rows, broken = read(path, DOTS)
    told = broken if isinstance(outcome, str) else [row for row in rows if row[0] == 2]
    assert told == [(2, outcome)]
    assert [line for line, _ in rows if line != 2] == [1, 4]


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b""])
def test_a_byte_order_mark_is_no_part_of_the_first_field(tmp_path, start):
    path = tmp_path / "rows.dat"
    path.write_bytes(start + b"1::a::b")
    assert read(path, DOTS) == ([(1, ("1", "a", "b"))], [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,Misérables,x\n".encode("latin-1"), r"line 1, byte 6: 0xe9 is not text in UTF-8.*iconv -f LATIN1"),
        (b"1,2,3\r\n\n1,caf\xe9 au lait,3\n", r"line 3, byte 6: 0xe9 is not text"),
        ("1,2,3\n".encode("utf-16"), r"line 1, byte 1: 0xff is not text.*iconv -f UTF-16"),
        (b"1,2,3\n4,5\xc3,6\n", "line 2, byte 4: 0xc3"),
    ],
)
@pytest.mark.parametrize("block_bytes", [16, records.BLOCK_BYTES])
def test_bytes_that_are_no_utf_8_are_named(tmp_path, content, message, block_bytes):
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(LandingError, match=rf"rows\.csv, {message}"):
        read(path, CSV, block_bytes)


def test_latin_1_is_read_where_the_format_allows_it_and_never_mixed(tmp_path):
    old = Layout(("a", "b", "c"), "::", latin_1=True)
    path = tmp_path / "rows.dat"
    for encoding in ("latin-1", "utf-8"):
        path.write_text("1::é::\n2::b::\n", encoding=encoding)
        assert read(path, old) == ([(1, ("1", "é", "")), (2, ("2", "b", ""))], [])
    path.write_bytes("1::é::\n".encode() + "2::é::\n".encode("latin-1"))
    with pytest.raises(LandingError, match="line 1 is UTF-8, line 2 is not"):
        read(path, old)


def test_text_is_composed(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('1,re\u0301sume\u0301,x\n2,"re\u0301sume\u0301",x\n', encoding="utf-8")
    assert [fields[1] for _, fields in read(path, CSV)[0]] == ["résumé", "résumé"]


def test_a_line_without_an_end_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("1,2,3\n" + "x" * 500, encoding="utf-8")
    with pytest.raises(LandingError, match="line 2 is longer than"):
        read(path, CSV, 100)
