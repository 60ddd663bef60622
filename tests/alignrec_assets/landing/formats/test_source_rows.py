"""A source row that cannot be read is rejected with file, line and reason, counted and kept; no other row changes."""

import json
import re
import unicodedata
from datetime import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.formats.converters import convert
from alignrec_assets.landing.formats.reading import identifier, without_blanks
from alignrec_assets.landing.formats.rejected import forget_rejected
from alignrec_assets.settings.sections import LandingSettings

SETTINGS = LandingSettings()
FIELDS = "between {} where {} are needed"
QUOTE_IT = ": write a field that holds the separator in double quotes"
RATING = "userId,movieId,rating,timestamp"
LOG = "user_id,video_id,time_ms,is_click,is_like,long_view,play_time_ms,duration_ms,is_rand"
GOOD_LOG = "{user},{item},1649350800000,1,0,1,4000,20000,0"
GOOD = {
    "movielens": {
        "ratings.csv": [RATING, *(f"{user},{user % 7 + 1},4.5,96498{user:04}" for user in range(60))],
        "movies.csv": ["movieId,title,genres", *(f'{film},"Film {film}, The (1995)",Comedy' for film in range(1, 30))],
        "tags.csv": ["userId,movieId,tag,timestamp", *(f"{user},1,funny,1" for user in range(30))],
    },
    "movietweetings": {
        "ratings.dat": [f"{user}::{user % 7 + 1}::8::13620{user:05}" for user in range(60)],
        "movies.dat": [f"{film}::Film {film} (1995)::Comedy|Drama" for film in range(1, 30)],
    },
    "kuairand": {
        "log_standard.csv": [LOG, *(GOOD_LOG.format(user=user, item=user % 7 + 1) for user in range(60))],
        "log_random.csv": [LOG, *(GOOD_LOG.format(user=user, item=3)[:-1] + "1" for user in range(60))],
        "video_features_basic.csv": [
            "video_id,upload_dt,video_duration,tag", *(f'{item},2022-04-01,20000.0,"1,2"' for item in range(1, 30))
        ],
    },
    "movielens 1m": {
        "ratings.dat": [f"{user}::{user % 7 + 1}::4::97830{user:04}" for user in range(60)],
        "movies.dat": [f"{film}::Film {film} (1995)::Comedy|Drama" for film in range(1, 30)],
    },
    "movielens 100k": {
        "u.data": [f"{user}\t{user % 7 + 1}\t4\t87830{user:04}" for user in range(60)],
        "u.item": [f"{film}|Film {film} (1995)|01-Jan-1995||http://x|{'0|' * 18}1" for film in range(1, 30)],
    },
}  # fmt: skip
"""Sound lines of each file of each format."""
TIME = "is not a time in whole {} since 1970, before 2100"
AN_ID = "is not an id: fractions and rounded numbers cannot be one"
COMMA = "is not a number (write a decimal point, not a comma)"
BAD = [
    *(
        ("movielens", "ratings.csv", line, reason)
        for line, reason in {
            "1,1,4,0,964982703": f"the row has 5 fields {FIELDS.format(repr(','), 4)}{QUOTE_IT}",
            '1,1,"4,0",964982703': f"rating: '4,0' {COMMA}",
            "1,1,4": f"the row has 3 fields {FIELDS.format(repr(','), 4)}",
            "1,1,,964982703": "rating: missing",
            "1,1,NULL,964982703": "rating: missing ('NULL' stands for nothing)",
            "1,1,four,964982703": "rating: 'four' is not a number",
            "1,1,inf,964982703": "rating: 'inf' is not a number",
            "1,1,4.0,9999-12-31": f"timestamp: '9999-12-31' {TIME.format('seconds')}",
            "1,1,4.0,253402300799": f"timestamp: '253402300799' {TIME.format('seconds')}",
            "1,1,4.0,99999999999999999999999": f"timestamp: '99999999999999999999999' {TIME.format('seconds')}",
            "1,1,4.0,-1": f"timestamp: '-1' {TIME.format('seconds')}",
            "1,1,4.0,964982703.5": f"timestamp: '964982703.5' {TIME.format('seconds')}",
            "1,1,4.0,2015-01-01T00:00:00Z": f"timestamp: '2015-01-01T00:00:00Z' {TIME.format('seconds')}",
            ",1,4.0,964982703": "userId: missing",
            "\u3000,1,4.0,964982703": "userId: missing",
            "\\N,1,4.0,964982703": "userId: missing ('\\\\N' stands for nothing)",
            "1,undefined,4.0,964982703": "movieId: missing ('undefined' stands for nothing)",
            "1,5.5,4.0,964982703": f"movieId: '5.5' {AN_ID}",
            "1.2e+07,1,4.0,964982703": f"userId: '1.2e+07' {AN_ID}",
            "x,y,4.0,soon": f"timestamp: 'soon' {TIME.format('seconds')}",
            "None,y,x,964982703": "userId: missing ('None' stands for nothing); rating: 'x' is not a number",
        }.items()
    ),
    *(
        ("movielens", "movies.csv", line, reason)
        for line, reason in {
            "1,American President, The (1995),Comedy|Drama": f"the row has 4 fields {FIELDS.format(repr(','), 3)}"
            + QUOTE_IT,
            '3,"Grumpier Old Men (1995),Comedy': "the row leaves a double quote open",
            '3,"Heat" (1995),Comedy': "the row is not valid CSV (',' expected after '\"')",
            "3,,Comedy": "title: missing",
            ",Heat (1995),Comedy": "movieId: missing",
        }.items()
    ),
    ("movielens", "tags.csv", "1,1,so, funny,9", f"the row has 5 fields {FIELDS.format(repr(','), 4)}{QUOTE_IT}"),
    ("movielens", "tags.csv", "1,NaN,funny,9", f"movieId: 'NaN' {AN_ID}"),
    ("movietweetings", "ratings.dat", "1::1::8::13::62", f"the row has 5 fields {FIELDS.format(repr('::'), 4)}"),
    ("movietweetings", "ratings.dat", "1:1::8::1362062307", f"the row has 3 fields {FIELDS.format(repr('::'), 4)}"),
    ("movietweetings", "ratings.dat", "1::1::8,0::1362062307", f"rating: '8,0' {COMMA}"),
    ("movietweetings", "ratings.dat", "1::1::8::1362062307000", f"ts: '1362062307000' {TIME.format('seconds')}"),
    ("movietweetings", "movies.dat", "1::Heat (1995)", f"the row has 2 fields {FIELDS.format(repr('::'), 3)}"),
    (
        "movietweetings", "movies.dat", "1::Mission:::Drama",
        "the row has three colons in a row, so that it is unclear where a field ends",
    ),
    ("movielens 1m", "ratings.dat", "null::1::4::978300760", "user_id: missing ('null' stands for nothing)"),
    ("movielens 1m", "movies.dat", "1::A::B::C", f"the row has 4 fields {FIELDS.format(repr('::'), 3)}"),
    ("movielens 100k", "u.data", "1 1 4 878300760", f"the row has 1 fields {FIELDS.format(repr(chr(9)), 4)}"),
    ("movielens 100k", "u.data", "1\t1\t4,5\t878300760", f"rating: '4,5' {COMMA}"),
    (
        "movielens 100k", "u.item", f"1|Heat|or not (1995)|01-Jan-1995||http://x|{'0|' * 18}1",
        f"the row has 25 fields {FIELDS.format(repr('|'), 24)}",
    ),
    ("movielens 100k", "u.item", f"1|Heat (1995)|01-Jan-1995||http://x|{'0|' * 18}2", "Western: '2' is not 0 or 1"),
    *(
        ("kuairand", "log_standard.csv", line, reason)
        for line, reason in {
            "1,1,1649350800,000,1,0,1,4000,20000,0": f"the row has 10 fields {FIELDS.format(repr(','), 9)}{QUOTE_IT}",
            "1,1,9999-12-31,1,0,1,4000,20000,0": f"time_ms: '9999-12-31' {TIME.format('milliseconds')}",
            "1,1,253402300799000,1,0,1,4000,20000,0": f"time_ms: '253402300799000' {TIME.format('milliseconds')}",
            "1,1,1649350800000,yes,0,1,4000,20000,0": "is_click: 'yes' is not 0 or 1",
            "1,1,1649350800000,1,2,1,4000,20000,0": "is_like: '2' is not 0 or 1",
            "1,1,1649350800000,1,0,.01,4000,20000,0": "long_view: '.01' is not 0 or 1",
            "1,1,1649350800000,1,0,1,-4,20000,0": "play_time_ms: '-4' is not a number of at least 0",
            '1,1,1649350800000,1,0,1,"4,5",20000,0': f"play_time_ms: '4,5' is not a number of at least 0 {COMMA[16:]}",
            "1,1,1649350800000,1,0,1,4000,long,0": "duration_ms: 'long' is not a number of at least 0",
            "1,1,1649350800000,1,0,1,4000,20000,maybe": "is_rand: 'maybe' is not 0 or 1",
        }.items()
    ),
    *(
        ("kuairand", "video_features_basic.csv", line, reason)
        for line, reason in {
            "1,2022-04-01,20000.0,1,2": f"the row has 5 fields {FIELDS.format(repr(','), 4)}{QUOTE_IT}",
            '1,2022-04-01,20000.0,"[1, 2"': "tag: '[1, 2' is not a list of tag ids with commas between them",
            '1,2022-04-01,20000.0,"1-2"': "tag: '1-2' is not a list of tag ids with commas between them",
            '1,2022-04-01,20000.0,"{1,2}"': "tag: '{1,2}' is not a list of tag ids with commas between them",
            "1,01.04.2022,20000.0,1": "upload_dt: '01.04.2022' is not a day such as 2022-04-01",
            "1,2022-04-01 soon,20000.0,1": "upload_dt: '2022-04-01 soon' is not a day such as 2022-04-01",
            "1,2022-02-30,20000.0,1": "upload_dt: '2022-02-30' is not a day such as 2022-04-01",
            "1,2022-04-01,20s,1": "video_duration: '20s' is not a number of at least 0",
        }.items()
    ),
]  # fmt: skip
"""A format, its file, a line that cannot be read, and the reason."""


def written(folder, name, **changed):
    """The files of a format in a folder; ``changed`` are lines by file name, with ``__`` for a dot."""
    folder.mkdir(parents=True)
    for file, sound_lines in GOOD[name].items():
        lines = changed.get(file.replace(".", "__"), sound_lines)
        (folder / file).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    return folder


def converted(folder, name, landing, **options):
    return convert(name.split()[0], folder, landing, SETTINGS, **options)


def read(landing):
    """The rows of every kind."""
    kinds = [path for path in landing.iterdir() if path.is_dir() and path.name != "REJECTED"]
    return {
        kind.name: pl.concat(pl.read_parquet(path) for path in sorted(kind.rglob("*.parquet"))).rows() for kind in kinds
    }


def rejected(landing):
    return [json.loads(line) for path in sorted((landing / "REJECTED").glob("*")) for line in path.open("rb")]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """What the sound lines of each format become."""
    folder = tmp_path_factory.mktemp("sound")
    for name in GOOD:
        found = converted(written(folder / "source" / name, name), name, folder / name)
        assert not [note for note in found.notes if "cannot be read" in note]
    return {name: read(folder / name) for name in GOOD}


@pytest.mark.parametrize(("name", "file", "line", "reason"), BAD, ids=[f"{bad[0]} {bad[1]} {bad[2]}" for bad in BAD])
def test_a_row_that_cannot_be_read_is_rejected_and_changes_no_other(
    tmp_path, sound, comes_out, name, file, line, reason
):
    lines = GOOD[name][file]
    for at in (1, 20, len(lines)):
        source = written(tmp_path / f"source {at}", name, **{file.replace(".", "__"): [*lines[:at], line, *lines[at:]]})
        landing = tmp_path / f"landing {at}"
        found = converted(source, name, landing)
        assert read(landing) == sound[name]
        (row,) = rejected(landing)
        assert (row["file"], row["line"], row["reason"]) == (file, at + 1, reason)
        assert (landing / "REJECTED" / f"{file}.jsonl").is_file()
        (note,) = [note for note in found.notes if "cannot be read" in note]
        assert f"(1 of {file}). The first: {file}, line {at + 1}: {reason}." in note
    comes_out("converters", f"{name}, {file}: `{line}`", f"rejected: {reason}")


READ_AS = {
    ("movielens", "ratings.csv"): {
        "5.0,1,4.5,1000000000": ("5", "1", 4.5),
        "5,1.00,4.5,1000000000.0": ("5", "1", 4.5),
        "+5.0,01.,4.5,1000000000": ("5", "1", 4.5),
        "5\t,\u200b\u00a01\u3000,4.50,1000000000": ("5", "1", 4.5),
        '"5","1","4.5","1000000000"': ("5", "1", 4.5),
        "5,1,.5,1000000000\r": ("5", "1", 0.5),
        "5,1,45e-1,1000000000": ("5", "1", 4.5),
        "05,1,4.5,1000000000": ("05", "1", 4.5),
        "re\u0301,1,4.5,1000000000": ("ré", "1", 4.5),
    },
    ("movietweetings", "ratings.dat"): {
        "5.0::0001::8::1000000000": ("5", "0001", 8.0),
        " 5 :: 0001 :: 8 :: 1000000000 ": ("5", "0001", 8.0),
    },
    ("movielens 100k", "u.data"): {"5.0\t1\t4\t1000000000\r": ("5", "1", 4.0)},
}


@pytest.mark.parametrize(
    ("name", "file", "line", "row"), [(*at, *each) for at in READ_AS for each in READ_AS[at].items()]
)
def test_a_spelling_that_is_clear_is_read_as_what_it_is(tmp_path, comes_out, name, file, line, row):
    source = written(tmp_path / "source", name, **{file.replace(".", "__"): [*GOOD[name][file], line]})
    converted(source, name, tmp_path / "landing")
    assert rejected(tmp_path / "landing") == []
    events = pl.read_parquet(tmp_path / "landing" / "events" / "day=2001-09-09").select("user_id", "item_id", "rating")
    assert events.rows() == [row]
    comes_out("converters", f"{name}, {file}: `{line}`", f"user {row[0]}, item {row[1]}, rating {row[2]}")


@pytest.mark.parametrize(
    ("cell", "tags"),
    [
        ('"1,2"', ["tag:1", "tag:2"]),
        ('"[1, 2]"', ["tag:1", "tag:2"]),
        ("\"['1', '2']\"", ["tag:1", "tag:2"]),
        ('"[""1"", ""2""]"', ["tag:1", "tag:2"]),
        ("1", ["tag:1"]),
        ("1.0", ["tag:1"]),
        ("[1]", ["tag:1"]),
        ("", None),
        ('"[]"', None),
        ("NULL", None),
    ],
)
def test_tags_are_lists_in_every_spelling(tmp_path, comes_out, cell, tags):
    lines = [*GOOD["kuairand"]["video_features_basic.csv"], f"99,2022-04-01,1,{cell}"]
    converted(written(tmp_path / "source", "kuairand", video_features_basic__csv=lines), "kuairand", tmp_path / "a")
    items = pl.read_parquet(tmp_path / "a" / "items").filter(item_id="99")
    assert items["tags"].to_list() == [tags]
    assert rejected(tmp_path / "a") == []
    comes_out("converters", f"kuairand, tag: `{cell}`", f"tags: {', '.join(tags or ['none'])}")


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("change", ["CRLF", "some CRLF", "byte order mark", "no end", "blank lines"])
def test_ends_of_lines_and_marks_change_nothing(tmp_path, sound, comes_out, name, change):
    source = written(tmp_path / "source", name)
    for file in GOOD[name]:
        content = (source / file).read_bytes()
        changed = {
            "CRLF": content.replace(b"\n", b"\r\n"),
            "some CRLF": content.replace(b"\n", b"\r\n", 7),
            "byte order mark": b"\xef\xbb\xbf" + content,
            "no end": content.rstrip(b"\n"),
            "blank lines": content.replace(b"\n", b"\n\n \n", 3),
        }
        (source / file).write_bytes(changed[change])
    converted(source, name, tmp_path / "landing")
    assert read(tmp_path / "landing") == sound[name]
    assert rejected(tmp_path / "landing") == []
    comes_out("converters", f"{name}: {change}", "the same rows")


@pytest.mark.parametrize("name", ["movielens", "kuairand"])
@pytest.mark.parametrize("separator", ["\t", ";", "|"])
@pytest.mark.parametrize("header", [str.lower, str.upper])
def test_the_separator_is_told_from_the_header_and_names_match_without_case(
    tmp_path, sound, comes_out, name, separator, header
):
    changed = {}
    for file, (first, *lines) in GOOD[name].items():
        cells = [line.replace('"', "").replace("|", "/") for line in (header(first), *lines)]
        if file in ("movies.csv", "video_features_basic.csv"):
            wanted = first.count(",")
            cells = [separator.join(_split_first_and_last(cell, wanted)) for cell in cells]
        else:
            cells = [cell.replace(",", separator) for cell in cells]
        changed[file.replace(".", "__")] = cells
    converted(written(tmp_path / "source", name, **changed), name, tmp_path / "landing")
    assert rejected(tmp_path / "landing") == []
    assert read(tmp_path / "landing") == sound[name]
    comes_out("converters", f"{name}: {separator!r} between the fields", "the same rows")


def _split_first_and_last(line, wanted):
    """The cells of a line whose second cell, of a film, or last cell, of a video, holds commas."""
    cells = line.split(",")
    if wanted == 2:
        return [cells[0], ",".join(cells[1:-1]), cells[-1]]
    return [*cells[:3], ",".join(cells[3:])]


def test_a_title_with_a_line_separator_does_not_shift_the_line_number(tmp_path, comes_out):
    lines = [*GOOD["movietweetings"]["movies.dat"][:5], "99::Odd\u2028 title\x0b (1995)::Drama", "100::Heat"]
    lines += GOOD["movietweetings"]["movies.dat"][5:]
    converted(written(tmp_path / "s", "movietweetings", movies__dat=lines), "movietweetings", tmp_path / "a")
    assert [row["line"] for row in rejected(tmp_path / "a")] == [7]
    items = pl.read_parquet(tmp_path / "a" / "items").filter(item_id="99")
    assert items["title"].to_list() == ["Odd\u2028 title"]
    comes_out("text files", "movies.dat: a title with U+2028, then a row with two fields", "line 7 is named")


@pytest.mark.parametrize(
    ("name", "file", "line"),
    [
        ("movielens", "movies.csv", "3,Misérables,Drama"),
        ("movielens", "tags.csv", "3,1,Misérables,1"),
        ("movielens", "ratings.csv", "é,1,4,964982703"),
        ("movietweetings", "movies.dat", "3::Misérables::Drama"),
        ("kuairand", "log_standard.csv", GOOD_LOG.format(user="é", item=1)),
    ],
)
def test_latin_1_is_refused_by_file_line_and_byte(tmp_path, comes_out, name, file, line):
    source = written(tmp_path / "source", name)
    with (source / file).open("ab") as stream:
        stream.write(line.encode("latin-1") + b"\n")
    number, byte = len(GOOD[name][file]) + 1, line.index("é") + 1
    told = f"{file}, line {number}, byte {byte}: 0xe9 is not text in UTF-8. Save the file as UTF-8"
    with pytest.raises(LandingError, match=told):
        converted(source, name, tmp_path / "landing")
    assert not list((tmp_path / "landing").rglob("*"))
    comes_out("text files", f"{name}, {file} in Latin-1: `{line}`", f"refused: {told}")


def test_too_many_rejected_rows_are_refused_before_anything_is_written(tmp_path, comes_out):
    lines = [*GOOD["movielens"]["ratings.csv"], *(["1,1,4,0,964982703"] * 20)]
    source = written(tmp_path / "source", "movielens", ratings__csv=lines)
    converted(written(tmp_path / "sound", "movielens"), "movielens", tmp_path / "landing")
    before = read(tmp_path / "landing")
    with pytest.raises(LandingError, match=r"20 of 139 rows cannot be read \(20 of ratings\.csv\)") as refusal:
        converted(source, "movielens", tmp_path / "landing")
    assert "14.4%, more than the 5.0% allowed by landing.rejected_share_limit" in str(refusal.value)
    assert "ratings.csv, line 62: the row has 5 fields" in str(refusal.value)
    assert read(tmp_path / "landing") == before
    generous = LandingSettings(rejected_share_limit=0.2)
    found = convert("movielens", source, tmp_path / "landing", generous)
    assert len(rejected(tmp_path / "landing")) == 20
    assert found.rows["events"] == 60
    comes_out("converters", "20 of 139 rows cannot be read", "refused before anything is written, with the first three")


def test_rejected_rows_are_the_same_bytes_twice_and_go_with_their_source(tmp_path):
    lines = [*GOOD["movielens"]["ratings.csv"], "7,1,4,0,964982703", "8,1,bad,964982703"]
    source, landing = written(tmp_path / "source", "movielens", ratings__csv=lines), tmp_path / "landing"
    converted(source, "movielens", landing)
    kept = landing / "REJECTED" / "ratings.csv.jsonl"
    once = kept.read_bytes()
    assert [json.loads(line) for line in once.splitlines()] == [
        {
            "file": "ratings.csv", "line": 62, "user_id": "7", "payload": "7,1,4,0,964982703",
            "reason": f"the row has 5 fields between ',' where 4 are needed{QUOTE_IT}",
        },
        {
            "file": "ratings.csv", "line": 63, "reason": "rating: 'bad' is not a number", "user_id": "8",
            "payload": {"userId": "8", "movieId": "1", "rating": "bad", "timestamp": "964982703"},
        },
    ]  # fmt: skip
    converted(source, "movielens", landing)
    assert kept.read_bytes() == once
    (source / "ratings.csv").write_text("\n".join(GOOD["movielens"]["ratings.csv"]), encoding="utf-8")
    converted(source, "movielens", landing)
    assert not kept.exists()


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("userId,movieId,rating", "lacks the column timestamp; its columns are: userId, movieId, rating"),
        ("userId movieId rating timestamp", "lacks the column userId, movieId, timestamp, rating"),
        ("userId,movieId,rating,timestamp,UserID", "names the column userId twice: take one of them away"),
        (f"{RATING}\r1,1,4,964982703\r", "its lines end with carriage returns alone; save it with line feeds"),
        ("x" * 200_000, "its first line cannot be read as column names"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused(tmp_path, comes_out, header, told):
    source = written(tmp_path / "source", "movielens", ratings__csv=[header, "1,1,4,964982703"])
    with pytest.raises(LandingError, match=rf"ratings\.csv:? {told}") as refusal:
        converted(source, "movielens", tmp_path / "landing")
    assert len(str(refusal.value)) < 1000
    comes_out("text files", f"ratings.csv begins with `{header[:60]!r}`", f"refused: {told}")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("1,cooking, baking", "line 2: the row has 3 fields"),
        ('1,"cooking', "line 2: the row leaves a double quote open"),
        ("one,cooking", "line 2: 'one' is not the id of a tag, a whole number"),
        ("1,caf\u00e9", "line 2, byte 6: 0xe9 is not text in UTF-8"),
    ],
)
def test_tag_names_that_cannot_be_read_are_refused(tmp_path, comes_out, names, told):
    path = tmp_path / "names.csv"
    path.write_bytes(f"tag_id,tag_name\n{names}\n2,owls\n".encode("latin-1"))
    with pytest.raises(LandingError, match=rf"names\.csv, {told}"):
        converted(written(tmp_path / "source", "kuairand"), "kuairand", tmp_path / "landing", tag_names=path)
    comes_out("converters", f"kuairand, tag names: `{names}`", f"refused: {told}")


TEXT = st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=12)


@settings(deadline=None, max_examples=30)
@given(title=TEXT.filter(lambda text: text.strip()), year=st.sampled_from(["", " (1995)"]))
def test_every_title_survives_quoting(tmp_path_factory, title, year):
    quoted = '"' + title.replace('"', '""') + year + '"'
    folder = tmp_path_factory.mktemp("title")
    lines = [*GOOD["movielens"]["movies.csv"], f"99,{quoted},Drama"]
    converted(written(folder / "source", "movielens", movies__csv=lines), "movielens", folder / "a")
    ((found, when),) = (
        pl.read_parquet(folder / "a" / "items").filter(item_id="99").select("title", "published_at").rows()
    )
    wanted = pl.Series([title + year]).str.normalize("NFC").str.strip_chars()[0]
    assert found == (wanted.removesuffix("(1995)").rstrip() if year else wanted)
    assert when == (datetime(1995, 1, 1) if year else None)


ID = st.one_of(
    st.from_regex(r"[+-]?[0-9]{1,4}\.0{0,2}", fullmatch=True),
    st.text(alphabet="ab05.+-é\u0301 \t\u00a0\u200b\u3000\ufeff", max_size=5),
)


@given(st.lists(ID, min_size=1, max_size=20))
def test_whole_numbers_are_their_integers_text_and_fractions_no_ids(ids):
    text = without_blanks(pl.Series(ids).str.normalize("NFC"), ())
    for cell, found in zip(ids, identifier("id").parse(text), strict=True):
        bare = unicodedata.normalize("NFC", cell.strip("\t\u200b\ufeff\u00a0\u3000 "))
        number = re.fullmatch(r"([+-]?[0-9]*)\.([0-9]*)", bare)
        if number and number[1].strip("+-") and not number[2].strip("0"):
            assert found == str(int(number[1]))
        elif number and number[2]:
            assert found is None
        else:
            assert found == (bare or None)


def test_a_forgotten_user_leaves_the_rejected_rows(tmp_path):
    lines = [*GOOD["movielens"]["ratings.csv"], "7,1,4,0,964982703", "8,1,bad,964982703", "77,7,bad,964982703"]
    converted(written(tmp_path / "source", "movielens", ratings__csv=lines), "movielens", tmp_path / "landing")
    assert forget_rejected(tmp_path / "landing", "7") == {"REJECTED/ratings.csv.jsonl": 1}
    assert [row["user_id"] for row in rejected(tmp_path / "landing")] == ["8", "77"]
    assert forget_rejected(tmp_path / "landing", "8") == {"REJECTED/ratings.csv.jsonl": 1}
    assert forget_rejected(tmp_path / "landing", "77") == {"REJECTED/ratings.csv.jsonl": 1}
    assert not list((tmp_path / "landing" / "REJECTED").iterdir())
    assert forget_rejected(tmp_path / "landing", "8") == {}
