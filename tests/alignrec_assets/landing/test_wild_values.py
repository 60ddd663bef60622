"""Values as tools write them: the same id, text, time or flag comes out of every format, or the row names its fault."""

import json
import math
import re
import unicodedata

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.landing import D1, D2, D3, EVENT, IMPRESSION, RULE, connect, load, reasons, rows, write, zone_of

from alignrec_assets.landing.data_contract import near_misses
from alignrec_assets.landing.formats.reading import identifier
from alignrec_assets.landing.ids import BLANKS, clean_id
from alignrec_assets.landing.loading import load_events, load_items
from alignrec_assets.landing.survey import survey
from alignrec_assets.settings.sections import LandingSettings
from alignrec_assets.warehouse.queries import query

FORMATS = ("csv", "jsonl", "parquet")
each_format = pytest.mark.parametrize("suffix", FORMATS)
OUTCOME = {"request_id": "r", "item_id": "a", "ts": "2026-01-02T10:01:00Z", "positive": True}


def read_events(landing, connection):
    """Load the catalogue and the events alone."""
    zone = zone_of(landing)
    load_items(connection, zone)
    survey(connection, zone, "events")
    return load_events(connection, zone, [D1, D2, D3], RULE)


def users(landing, connection, *files):
    """The users of events that each file names, after all of them were loaded."""
    for name, values, type_ in files:
        frame = pl.DataFrame({"user_id": pl.Series(values, dtype=type_, strict=False)}).with_columns(
            pl.lit("a").alias("item_id"),
            pl.Series("ts", [f"2026-01-02T00:{minute:02}:00Z" for minute in range(len(values))]),
        )
        path = landing / "events" / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".parquet":
            frame.write_parquet(path)
        elif path.suffix == ".csv":
            frame.write_csv(path)
        else:
            frame.write_ndjson(path)
    read_events(landing, connection)
    return [user for (user,) in rows(connection, "raw.events", "DISTINCT user_id")]


# Ids -----------------------------------------------------------------------------------------------------------------

WHOLE = [pl.Int8, pl.Int64, pl.UInt64, pl.Float32, pl.Float64, pl.Decimal(20, 2), pl.String]


@each_format
def test_a_whole_number_of_any_type_is_the_text_of_its_integer(landing, connection, suffix, comes_out):
    files = [(f"{place}.{suffix}", [101, 5], type_) for place, type_ in enumerate(WHOLE)]
    assert users(landing, connection, *files) == ["101", "5"]
    assert reasons(connection) == []
    comes_out("id types", f"`user_id` 101 as {', '.join(map(str, WHOLE))} in {suffix}", "one user `101`")


@each_format
def test_outcomes_with_ids_of_another_type_join_their_impressions(landing, connection, suffix, comes_out):
    write(landing / "feedback" / "x.parquet", [IMPRESSION | {"request_id": 101}])
    write(landing / "outcomes" / f"x.{suffix}", [OUTCOME | {"request_id": 101.0}])
    load(connection, landing)
    assert rows(connection, "raw.feedback_logs", "request_id, positive") == [("101", True)]
    comes_out("id types", f"feedback `request_id` INT64 101, outcomes 101.0 in {suffix}", "joined: positive")


NO_IDS = {1.5: "not a whole number", 1e-9: "not a whole number", math.nan: "not a whole number",
          math.inf: "not a whole number", 2.0**60: "a rounded number", -(2.0**53): "a rounded number"}  # fmt: skip


@each_format
def test_numbers_that_are_not_exactly_whole_are_no_ids(landing, connection, suffix, comes_out):
    values = [value for value in NO_IDS if suffix != "jsonl" or math.isfinite(value)]  # JSON has no such number
    assert users(landing, connection, (f"x.{suffix}", [*values, 7.0], pl.Float64)) == ["7"]
    found = connection.sql("FROM raw.rejected_rows SELECT reason ORDER BY row_number").fetchall()
    for value, (reason,) in zip(values, found, strict=True):
        assert re.fullmatch(rf"user_id: '.*' is {NO_IDS[value]}.*", reason)
        comes_out("id types", f"`user_id` {value} in {suffix}", f"rejected: {reason}")


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    st.one_of(st.text(), st.integers().map(str), st.integers().map(lambda whole: f"{whole}.0"), st.floats().map(str))
)
@example("\u00a0a\u3000")
@example("-0.0")
@example("007")
@example("zoe\u0308")
def test_the_cleaned_id_equals_a_plain_reading(text):
    text = text.replace("\0", "").encode("utf-8", "ignore").decode()
    with duckdb.connect() as connection:
        connection.execute(query("macros.landed_values"))
        ((found,),) = connection.execute("SELECT landed_id(landed_text($1, $2), [])", [text, BLANKS]).fetchall()
    assert found == (clean_id(text) or None)


SPELLINGS = [
    *("101", "101.0", "101.", "-0.0", "007", "007.0", "1.5", ".5", "1e5", "12e4567", "1e+16", "1.8e18", "1e-9"),
    *("1.0e-9", "9007199254740993.0", "123456789012345.0", "nan", "NaN", "inf", "-Infinity", "10.0.0.1", "a.b", "v1.5"),
]


def test_converters_and_landing_files_agree_on_what_an_id_is():
    texts = [clean_id(text) for text in SPELLINGS]
    converted = identifier("user_id").parse(pl.Series(SPELLINGS)).to_list()
    with duckdb.connect() as connection:
        connection.execute(query("macros.landed_values"))
        faults = [connection.execute("SELECT id_fault('user_id', $1)", [text]).fetchone()[0] for text in texts]
    assert converted == [None if fault else text for text, fault in zip(texts, faults, strict=True)]


def test_the_blanks_are_those_of_unicode():
    spaces = {chr(code) for code in range(0x10FFFF) if chr(code).isspace()}
    assert set(BLANKS) - spaces == {"\u200b", "\u2060", "\ufeff"}
    assert spaces <= set(BLANKS)


@each_format
def test_blanks_around_an_id_do_not_count(landing, connection, suffix, comes_out):
    blanks = ["\t", "\r", "\u00a0", "\u3000", "\u200b", "\ufeff", "\u2028", " \n "]
    spelled = [spelling for blank in blanks for spelling in (f"u{blank}", f"{blank}u")]
    assert users(landing, connection, (f"x.{suffix}", ["u", *spelled], pl.String)) == ["u"]
    comes_out("nothing", f"`user_id` with {', '.join(map(ascii, blanks))} around it in {suffix}", "trimmed: one user")


@each_format
def test_spellings_of_nothing_are_no_ids(landing, connection, suffix, comes_out):
    nothings = LandingSettings().missing_values
    assert users(landing, connection, (f"x.{suffix}", [*nothings, "u"], pl.String)) == ["u"]
    assert reasons(connection) == ["user_id: missing"] * len(nothings)
    comes_out("nothing", f"`user_id` {', '.join(nothings)} in {suffix}", "rejected: user_id: missing")


@each_format
def test_spellings_of_nothing_are_missing_in_optional_columns_too_but_words_stay(landing, connection, suffix):
    write(
        landing / "items" / f"z.{suffix}", [{"item_id": "z", "title": "None", "category": "NULL", "duration_s": "NULL"}]
    )
    write(landing / "events" / f"x.{suffix}", [EVENT | {"watch_s": "\\N", "liked": "None", "rating": "null"}])
    load(connection, landing)
    assert rows(connection, "raw.events", "watch_s, liked, rating") == [(None, None, None)]
    found = connection.sql("FROM raw.items SELECT title, category, duration_s WHERE item_id = 'z'").fetchall()
    assert found == [("None", "NULL", None)]


@each_format
def test_texts_are_in_the_normal_form(landing, connection, suffix, comes_out):
    decomposed = unicodedata.normalize("NFD", "zoë")
    assert users(landing, connection, (f"x.{suffix}", [decomposed, "zoë"], pl.String)) == ["zoë"]
    write(landing / "items" / f"z.{suffix}", [{"item_id": "z", "title": unicodedata.normalize("NFD", "Résumé")}])
    load_items(connection, zone_of(landing))
    assert ("Résumé",) in rows(connection, "raw.items", "title")
    comes_out("bytes", f"`zoë` decomposed and composed in {suffix}", "one user")


# Bytes ---------------------------------------------------------------------------------------------------------------


def parquet_of_bytes(landing, *values):
    table = pa.table({"user_id": pa.array(values, pa.binary()), "item_id": ["a"] * len(values),
                      "ts": [f"2026-01-02T00:{minute:02}:00Z" for minute in range(len(values))]})  # fmt: skip
    (landing / "events").mkdir(exist_ok=True)
    pq.write_table(table, landing / "events" / "x.parquet")


def test_bytes_without_the_text_mark_are_read_as_utf_8(landing, connection, comes_out):
    parquet_of_bytes(landing, "zoë".encode(), b" u ", None)
    read_events(landing, connection)
    assert rows(connection, "raw.events", "user_id") == [("u",), ("zoë",)]
    comes_out("bytes", r"Parquet binary without text mark `zo\xc3\xab`", "the user `zoë`")


def test_bytes_that_are_no_text_are_refused_by_file_and_column(landing, connection, comes_out):
    parquet_of_bytes(landing, b"u", b"\xff\xfe")
    (fault,) = [file.fault for file in survey(connection, zone_of(landing), "events")]
    assert "x.parquet, row 2: column user_id holds bytes that are not text in UTF-8" in fault
    comes_out("bytes", r"Parquet binary `\xff\xfe`", "the file is refused, with row and column")


# Folders and columns -------------------------------------------------------------------------------------------------


@each_format
@pytest.mark.parametrize("folder", ["user_id=x", "item_id=b", "filename=y", "ts=2031-01-01"])
def test_folder_names_never_supply_columns(tmp_path, connection, suffix, folder, comes_out):
    landing = tmp_path / folder / "home"
    write(landing / "items" / f"items.{suffix}", [{"item_id": "a", "title": "Owls"}])
    write(landing / "events" / "day=2026-01-02" / f"x.{suffix}", [EVENT, EVENT | {"user_id": "v"}])
    write(landing / "feedback" / f"x.{suffix}", [IMPRESSION])
    write(landing / "outcomes" / f"x.{suffix}", [OUTCOME])
    load(connection, landing)
    assert rows(connection, "raw.events", "user_id, item_id, day") == [("u", "a", D2), ("v", "a", D2)]
    assert rows(connection, "raw.feedback_logs", "user_id, positive") == [("u", True)]
    comes_out("folder names", f"a home below `{folder}`, {suffix}", "the files' own columns")


@each_format
@pytest.mark.parametrize("spelling", ["Liked", "LIKED", " liked ", "\ufeffliked"])
def test_columns_are_matched_without_case(landing, connection, suffix, spelling, comes_out):
    write(landing / "events" / f"x.{suffix}", [{"User_ID": "u", "item_id": "a", "TS": EVENT["ts"], spelling: True}])
    read_events(landing, connection)
    assert rows(connection, "raw.events", "user_id, liked") == [("u", True)]
    comes_out("columns", f"the column `{spelling.strip()}` in {suffix}", "read as `liked`")


def test_keys_of_json_lines_may_differ_from_line_to_line(landing, connection):
    events = [EVENT] * 150 + [EVENT | {"user_id": "v", "Liked": True}, EVENT | {"user_id": "w", "liked": True}]
    write(landing / "events" / "x.jsonl", events)
    read_events(landing, connection)
    assert rows(connection, "raw.events", "user_id, liked") == [("u", None), ("v", True), ("w", True)]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_column_that_comes_in_two_cases_is_refused(landing, connection, suffix):
    write(landing / "events" / f"x.{suffix}", [EVENT | {"Liked": True, "liked": False}])
    (fault,) = [file.fault for file in survey(connection, zone_of(landing), "events")]
    assert "names the column liked twice (Liked, liked): keep one" in fault


@pytest.mark.parametrize("name", ["filename", "file", "row_number", "day", "arrival_day", "landing file", "json"])
@each_format
def test_columns_with_the_readers_own_names_are_only_ignored(landing, connection, suffix, name):
    write(landing / "events" / f"a.{suffix}", [EVENT | {name: "2031-01-01"}])
    if suffix == "parquet" and name == "landing file":
        pytest.skip("the reader's own name of the file's column")
    read_events(landing, connection)
    assert rows(connection, "raw.events", "user_id, day") == [("u", D2)]


def test_the_one_name_that_a_parquet_file_cannot_have_holds_back_that_file_alone(landing, connection, comes_out):
    write(landing / "events" / "x.parquet", [EVENT | {"file_row_number": 5}])
    write(landing / "events" / "y.parquet", [EVENT])
    faults = [file.fault for file in survey(connection, zone_of(landing), "events") if file.fault]
    assert len(faults) == 1 and "x.parquet has a column file_row_number" in faults[0]
    comes_out("columns", "a Parquet column `file_row_number`", "that file is refused, with the name")


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        ("events", "watch_sec", "watch_s"),
        ("events", "Completion", "completed"),
        ("events", "like", "liked"),
        ("feedback", "propensities", "propensity"),
        ("items", "durations", "duration_s"),
    ],
)
def test_an_unread_column_close_to_an_absent_one_is_named(landing, connection, kind, name, meant, comes_out):
    required = ["user_id", "item_id", "ts", "request_id", "policy", "title"]
    assert near_misses(kind, [*required, name, "colour"]) == {name: meant}
    told = []
    row = {"items": {"item_id": "z", "title": "Z"}, "events": EVENT, "feedback": IMPRESSION}[kind]
    write(landing / kind / "x.csv", [row | {name: "1"}])
    survey(connection, zone_of(landing), kind, told.append)
    assert told == [f"{kind}/x.csv: the column {name} is not read; {meant} may be meant: rename it"]
    survey(connection, zone_of(landing), kind, told.append)
    assert len(told) == 1
    comes_out("columns", f"the column `{name}` of {kind}", told[0])


# Types ---------------------------------------------------------------------------------------------------------------

TAGS = [
    ("bird|night", ["bird", "night"]),
    ('["bird", "night"]', ["bird", "night"]),
    ("['bird', 'night']", ["bird", "night"]),
    ("('bird','night')", ["bird", "night"]),
    ("('bird',)", ["bird"]),
    ("{'bird', 'night'}", None),
    ('[{"id": 16, "name": "bird"}, {"id": 2, "name": "night"}]', ["bird", "night"]),
    ("[{'id': 16, 'name': 'bird'}]", ["bird"]),
    ('[{"id": 16}]', None),
    ('[["bird"]]', None),
    ("[bird", None),
    ("(no genres listed)", ["(no genres listed)"]),
    ("[1, 2]", ["1", "2"]),
]


@each_format
def test_tags_are_read_as_what_they_are_or_rejected(landing, connection, suffix, comes_out):
    items = [{"item_id": f"z{place}", "tags": text, "title": "Z"} for place, (text, _) in enumerate(TAGS)]
    write(landing / "items" / f"z.{suffix}", items)
    load_items(connection, zone_of(landing))
    found = dict(rows(connection, "raw.items", "item_id, tags"))
    for place, (text, tags) in enumerate(TAGS):
        assert found.get(f"z{place}") == tags, text
        comes_out("types", f"tags `{text}`", "rejected: is not a list" if tags is None else ", ".join(tags))
    assert len(reasons(connection)) == sum(tags is None for _, tags in TAGS)
    assert all("is not a list" in reason for reason in reasons(connection))


def test_tags_of_parquet_may_be_structs_with_names(landing, connection):
    write(landing / "items" / "z.parquet", [{"item_id": "z", "tags": [{"id": 16, "name": "bird"}], "title": "Z"}])
    load_items(connection, zone_of(landing))
    assert connection.sql("FROM raw.items SELECT tags WHERE item_id = 'z'").fetchall() == [(["bird"],)]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("column", ["watch_s", "Watch_S"])
def test_a_duration_of_arrow_is_read_in_seconds(landing, connection, unit, column, comes_out):
    frame = pl.DataFrame([EVENT]).with_columns(pl.duration(seconds=90).cast(pl.Duration(unit)).alias(column))
    (landing / "events").mkdir()
    frame.write_parquet(landing / "events" / "x.parquet")
    write(landing / "events" / "y.parquet", [EVENT | {"user_id": "v", "watch_s": 90}])
    read_events(landing, connection)
    assert rows(connection, "raw.events", "user_id, watch_s") == [("u", 90.0), ("v", 90.0)]
    comes_out("types", f"`watch_s` as an Arrow duration of 90 s in {unit}", "90 seconds")


FLAGS = {"true": True, "TRUE": True, "1": True, "1.0": True, "0": False, "0.0": False, "false": False,
         ".01": None, "0.5": None, "2": None, "10": None, "1.01": None, "-1": None, "nan": None}  # fmt: skip


@each_format
def test_flags_are_one_zero_or_words(landing, connection, suffix, comes_out):
    events = [EVENT | {"user_id": f"u{place}", "liked": text} for place, text in enumerate(FLAGS)]
    write(landing / "events" / f"x.{suffix}", events)
    read_events(landing, connection)
    found = dict(connection.sql("FROM raw.events SELECT user_id, liked").fetchall())
    for place, (text, flag) in enumerate(FLAGS.items()):
        assert found.get(f"u{place}") is flag, text
        comes_out("types", f"liked `{text}`", "rejected: is not true or false" if flag is None else str(flag).lower())


OFFSETS = {"+05:30": True, "-12:00": True, "+14:00": True, "+1400": True,
           "+25:00": False, "-99:00": False, "+16:00": False}  # fmt: skip


@each_format
def test_offsets_of_no_place_on_earth_are_refused(landing, connection, suffix, comes_out):
    events = [EVENT | {"user_id": offset, "ts": f"2026-01-02T12:00:00{offset}"} for offset in OFFSETS]
    write(landing / "events" / f"x.{suffix}", events)
    read_events(landing, connection)
    assert {user for (user,) in rows(connection, "raw.events", "user_id")} == {o for o, good in OFFSETS.items() if good}
    for offset, good in OFFSETS.items():
        comes_out("types", f"ts `...T12:00:00{offset}`", "read" if good else "rejected: is not an ISO 8601 time")


def test_histories_of_parquet_and_of_text_stand_side_by_side(landing, connection):
    write(landing / "feedback" / "x.parquet", [IMPRESSION])
    write(landing / "feedback" / "y.csv", [IMPRESSION | {"request_id": "s", "history": "[1, x]"}])
    write(landing / "feedback" / "z.csv", [IMPRESSION | {"request_id": "t", "history": "[2, 1]"}])
    load(connection, landing)
    assert rows(connection, "raw.feedback_logs", "request_id, history") == [("r", [3, 7]), ("t", [1, 2])]
    assert reasons(connection) == ["history: '[1, x]' is not a list of cluster ids"]


# Text files that are not quite CSV or JSON Lines ---------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", ["\t", ";"])
def test_other_delimiters_are_told_by_the_header(landing, connection, delimiter, comes_out):
    (landing / "events").mkdir()
    text = "user_id,item_id,ts\nu,a,2026-01-02\n".replace(",", delimiter)
    (landing / "events" / "x.csv").write_text(text)
    read_events(landing, connection)
    assert rows(connection, "raw.events", "user_id") == [("u",)]
    comes_out("text files", f"a CSV file with {unicodedata.name(delimiter, 'TAB')} between fields", "read")


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
@pytest.mark.parametrize("ends", ["mixed", "crlf", "lf"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
def test_marks_and_line_ends_do_not_count(landing, connection, name, ends, mark, comes_out):
    (landing / "events").mkdir()
    events = [EVENT | {"user_id": f"u{place}"} for place in range(4)]
    lines = [json.dumps(event) for event in events]
    if name == "x.csv":
        lines = [",".join(EVENT), *(",".join(event.values()) for event in events)]
    kinds = {"mixed": ["\r\n", "\n"], "crlf": ["\r\n"], "lf": ["\n"]}[ends]
    text = "".join(line + kinds[place % len(kinds)] for place, line in enumerate(lines))
    (landing / "events" / name).write_bytes(mark + text.encode())
    read_events(landing, connection)
    assert [user for (user,) in rows(connection, "raw.events", "user_id")] == ["u0", "u1", "u2", "u3"]
    comes_out("text files", f"{name} with {ends} line ends{' and a byte order mark' if mark else ''}", "read")


def test_a_broken_line_of_a_file_with_both_line_ends_is_named(landing, connection):
    (landing / "events").mkdir()
    (landing / "events" / "x.csv").write_bytes(b"user_id,item_id,ts\r\nu,a,2026-01-02\nu,a\n")
    (fault,) = [file.fault for file in survey(connection, zone_of(landing), "events")]
    assert "x.csv, line 3: not valid CSV" in fault


# Many titles at once: reading a landing zone costs a quarter of a second however few there are.
@settings(max_examples=8, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r")), min_size=10, max_size=40))
def test_titles_agree_in_every_format(tmp_path_factory, titles):
    found = []
    for suffix in FORMATS:
        landing = tmp_path_factory.mktemp("landing")
        items = [{"item_id": f"i{place}", "title": title, "tags": "t"} for place, title in enumerate(titles)]
        write(landing / "items" / f"items.{suffix}", items)
        with connect() as connection:
            load_items(connection, zone_of(landing))
            found.append(rows(connection, "raw.items", "item_id, title"))
    assert found[0] == found[1] == found[2]
