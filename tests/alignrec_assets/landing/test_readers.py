"""A landing file that cannot be read is named, with its line or column and the fix."""

import polars as pl
import pytest
from support.landing import EVENT, load, write, zone_of

from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.loading import load_items
from alignrec_assets.landing.survey import survey


def fault(connection, landing, kind="events"):
    """What is wrong with the one file that cannot be read."""
    (found,) = [file.fault for file in survey(connection, zone_of(landing), kind) if file.fault]
    return found


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_missing_required_column_names_file_column_and_mend(landing, connection, suffix):
    path = write(landing / "events" / f"x.{suffix}", [{"user_id": "u", "item_id": "a", "time": "2026-01-02"}])
    message = fault(connection, landing)
    assert str(path) in message
    assert "lacks the required column ts of events" in message
    assert "user_id, item_id, time" in message


def test_items_need_a_column_that_says_what_they_are(landing, connection):
    write(landing / "items" / "x.csv", [{"item_id": "z", "description": "only this"}])
    with pytest.raises(LandingError, match=r"x\.csv has none of the columns title, tags, category, embedding"):
        load_items(connection, zone_of(landing))


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_truncated_parquet_is_named(landing, connection, kept):
    path = write(landing / "events" / "x.parquet", [EVENT | {"user_id": f"u{i}"} for i in range(500)])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    message = fault(connection, landing)
    assert str(path) in message
    assert "send it again" in message


@pytest.mark.parametrize("place", [8, 2000])
def test_a_damaged_page_of_a_parquet_is_named(landing, connection, place):
    good = write(landing / "events" / "a.parquet", [EVENT])
    path = landing / "events" / "x.parquet"
    pl.DataFrame([EVENT | {"user_id": f"u{i * 7919}"} for i in range(5000)]).write_parquet(path, compression="snappy")
    content = bytearray(path.read_bytes())
    content[place : place + 200] = b"\xab" * 200
    path.write_bytes(content)
    faults = [file.fault for file in survey(connection, zone_of(landing), "events") if file.fault]
    if not faults:  # the survey reads little more than time stamps
        with pytest.raises(LandingError) as caught:
            load(connection, landing)
        assert caught.value.path == path
        faults = [str(caught.value)]
    assert str(path) in faults[0]
    assert str(good) not in faults[0]


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.jsonl", "x.csv.gz"])
@pytest.mark.parametrize("content", [bytes(range(256)) * 8, b"hello world\nthis is no data\n", b"\n"])
def test_a_file_that_is_no_data_at_all_is_named(landing, connection, name, content):
    path = landing / "events" / name
    path.parent.mkdir()
    path.write_bytes(content)
    assert str(path) in fault(connection, landing)


def test_a_file_of_another_kind_is_named_with_what_to_do(landing, connection):
    path = landing / "events" / "notes.txt"
    path.parent.mkdir()
    path.write_text("hello")
    message = fault(connection, landing)
    assert str(path) in message
    assert "move it away" in message


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("x.csv", "user_id,item_id,ts\nu,a,2026-01-02\nu,a\n", 3),
        ("x.csv", "user_id,item_id,ts\nu,a,2026-01-02,7\n", 2),
        ("x.csv", 'user_id,item_id,ts\nu,a,2026-01-02\nu,"a,2026-01-02\n', 3),
        ("x.jsonl", '{"user_id": "u", "item_id": "a", "ts": "2026-01-02"}\n{"user_id": \n', 2),
        ("x.jsonl", '{"user_id": "u", "item_id": "a", "ts": "2026-01-02"}\n' * 150 + "{]\n", 151),
        ("x.json", '[{"user_id": "u"},\n{"user_id": "v"}]\n', 1),
    ],
)
def test_a_malformed_line_is_named(landing, connection, name, text, line):
    path = landing / "events" / name
    path.parent.mkdir()
    path.write_text(text)
    message = fault(connection, landing)
    assert str(path) in message
    assert f"line {line}:" in message


def test_a_column_named_twice_is_refused(landing, connection):
    (landing / "events").mkdir()
    (landing / "events" / "x.csv").write_text("user_id,item_id,ts,ts\nu,a,2026-01-02,2026-01-02\n")
    assert "names the column ts twice" in fault(connection, landing)
