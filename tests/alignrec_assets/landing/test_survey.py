"""The survey of the landing zone: which files there are, which days their rows belong to, and which cannot be read."""

import gzip
from datetime import date

import pytest
from support.landing import (
    CALENDAR,
    D1,
    D2,
    D3,
    D4,
    DAY_LONG,
    EVENT,
    IMPRESSION,
    OPEN,
    load,
    reasons,
    rows,
    write,
    zone_of,
)

from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.survey import data_end, day_inputs, landing_files, out_of_scope, survey, unreadable_days
from alignrec_assets.landing.zone import Calendar


def test_hidden_and_unfinished_files_are_passed_over(landing):
    for name in (".x.csv", "_SUCCESS", "x.parquet.partial"):
        (landing / "items" / name).write_text("nonsense")
    assert [file.path for file in landing_files(landing, "items")] == ["items/items.jsonl"]


def test_a_file_is_surveyed_once(landing, connection):
    write(landing / "events" / "x.jsonl", [EVENT, EVENT | {"ts": "2026-01-04"}, EVENT | {"ts": "2031-01-04"}])
    first = survey(connection, zone_of(landing), "events")
    assert [(file.file, file.first_day, file.last_day) for file in first] == [("events/x.jsonl", D2, D4)]
    assert rows(connection, "raw.landing_days", "day, rows") == [(D2, 1), (D4, 1), (date(2031, 1, 4), 1)]
    connection.execute("UPDATE raw.landing_days SET day = DATE '2026-01-03' WHERE day = DATE '2026-01-02'")
    assert survey(connection, zone_of(landing), "events")[0].first_day == D3


def test_a_survey_of_an_older_alignrec_is_made_again(landing, connection):
    write(landing / "events" / "x.jsonl", [EVENT])
    survey(connection, zone_of(landing), "events")
    connection.execute("DELETE FROM raw.landing_days")  # which it did not have
    assert survey(connection, zone_of(landing), "events")[0].first_day == D2


def test_a_calendar_that_widens_needs_no_second_survey(landing, connection):
    write(landing / "events" / "x.jsonl", [EVENT, EVENT | {"ts": "2026-01-04"}])
    short = Calendar(D1, D2, closed=True)
    load(connection, landing, days=[D1, D2], calendar=short)
    assert [(side.early, side.rows) for side in out_of_scope(connection, zone_of(landing, short))] == [(False, 1)]
    assert rows(connection, "raw.events", "day") == [(D2,)]
    load(connection, landing, calendar=OPEN)
    assert rows(connection, "raw.events", "day") == [(D2,), (D4,)]
    assert out_of_scope(connection, zone_of(landing, OPEN)) == []


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("kind", ["events", "feedback", "outcomes"])
def test_rows_outside_the_calendar_are_counted_and_are_no_error(landing, connection, kind, suffix, comes_out):
    row = {"events": EVENT, "feedback": IMPRESSION, "outcomes": {"request_id": "r", "item_id": "a"}}[kind]
    stamps = ["1996-05-05", "2026-01-01T00:00:00Z", "2031-01-04", "9999-12-31T23:59:59Z"]
    write(landing / kind / f"x.{suffix}", [row | {"request_id": ts, "user_id": ts, "ts": ts} for ts in stamps])
    for calendar in (CALENDAR, OPEN):
        load(connection, landing, calendar=calendar)
        found = out_of_scope(connection, zone_of(landing, calendar))
        assert [(side.kind, side.early, side.rows) for side in found] == [(kind, True, 1), (kind, False, 2)]
        assert reasons(connection) == []
        if kind != "outcomes":
            assert rows(connection, "raw.events" if kind == "events" else "raw.feedback_logs", "day") == [(D1,)]
    comes_out(
        "out of scope", f"{kind} of 1996, 2026, 2031 and 9999 in {suffix}, calendar of 2026", "one read, three counted"
    )


def test_a_clock_that_is_ahead_moves_no_end_of_the_data(landing, connection, comes_out):
    write(landing / "feedback" / "x.jsonl", [IMPRESSION])
    write(landing / "events" / "x.jsonl", [EVENT, EVENT | {"ts": "2031-01-04"}])
    load(connection, landing, calendar=OPEN)
    assert data_end(connection, zone_of(landing, OPEN)) == D2
    assert rows(connection, "raw.feedback_logs", "final") == [(False,)]
    inputs = day_inputs(connection, zone_of(landing, OPEN), "events", [D2, D3, D4])
    assert [bool(files) for files in inputs.values()] == [True, False, False]
    comes_out("future", "an event of 2031 in an open log", "held back until its day; no impression is final for it")


def test_inputs_of_a_day_are_the_files_that_hold_its_rows(landing, connection):
    write(landing / "events" / "x.jsonl", [EVENT])
    write(landing / "events" / "y.jsonl", [EVENT, EVENT | {"ts": "2026-01-04"}])
    survey(connection, zone_of(landing), "events")
    inputs = day_inputs(connection, zone_of(landing), "events", [D1, D2, D3])
    assert {day: [entry.split()[0] for entry in entries] for day, entries in inputs.items()} == {
        D1: [],
        D2: ["events/x.jsonl", "events/y.jsonl"],
        D3: [],
    }


def test_inputs_of_a_feedback_day_change_until_its_window_has_closed(landing, connection):
    write(landing / "feedback" / "x.jsonl", [IMPRESSION | {"ts": "2026-01-01"}])
    inputs = []
    for day in (1, 2, 3, 4):
        write(landing / "outcomes" / f"{day}.jsonl", [{"request_id": "o", "item_id": "a", "ts": f"2026-01-0{day}"}])
        for kind in ("feedback", "outcomes"):
            survey(connection, zone_of(landing), kind)
        inputs.append(day_inputs(connection, zone_of(landing), "feedback", [D1], DAY_LONG)[D1])
    assert len({tuple(entries) for entries in inputs[:3]}) == 3
    assert inputs[2] == inputs[3]  # the window of the first closes where the third begins
    assert [entry.split()[0] for entry in inputs[3]] == ["feedback/x.jsonl", "outcomes/1.jsonl", "outcomes/2.jsonl"]


def refusal(connection, landing, kind="events"):
    """What is wrong with the landing zone as a whole."""
    with pytest.raises(LandingError) as caught:
        survey(connection, zone_of(landing), kind)
    return str(caught.value)


def test_all_files_that_cannot_be_read_are_found_among_many(landing, connection):
    bad = {3, 4, 11}
    for number in range(13):
        path = write(landing / "events" / f"{number:02}.csv", [EVENT | {"ts": "2026-01-03"}])
        if number in bad:
            path.write_text("user_id,item_id,ts\nu,a\n")
    found = survey(connection, zone_of(landing), "events")
    assert {file.file for file in found if file.fault} == {f"events/{number:02}.csv" for number in bad}
    assert all(file.file in file.fault for file in found if file.fault)
    load(connection, landing)
    assert rows(connection, "raw.events", "day, user_id") == [(D3, "u")]
    assert rows(connection, "raw.landing_files", "count(*)") == [(11,)]  # ten, and the catalogue


@pytest.mark.parametrize("name", ["x.csv.gz", "x.jsonl.gz"])
def test_damage_inside_a_compressed_file_holds_back_its_day_alone(landing, connection, name):
    path = landing / "events" / f"day={D1}" / name
    path.parent.mkdir(parents=True)
    content = bytearray(gzip.compress(b"user_id,item_id,ts\n" + b"u,a,2026-01-02\n" * 500))
    content[12:16] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    found = unreadable_days(survey(connection, zone_of(landing), "events"), [D1, D2], CALENDAR)
    assert list(found) == [D1]
    assert f"{path} cannot be read to its end" in found[D1]


def test_a_file_that_cannot_be_opened_holds_back_its_day_alone(landing, connection):
    path = write(landing / "events" / f"day={D1}" / "x.csv", [EVENT | {"ts": "2026-01-02"}])
    assert unreadable_days(survey(connection, zone_of(landing), "events"), [D1, D2], CALENDAR) == {}
    content = path.read_bytes()
    path.unlink()
    path.symlink_to(landing / "elsewhere.csv")
    found = unreadable_days(survey(connection, zone_of(landing), "events"), [D1, D2, D3], CALENDAR)
    assert list(found) == [D1, D2]  # its folder's day, and that of the row that was read before
    assert found[D1] == f"{path} cannot be opened: let this user read it, or take it away"
    path.unlink()
    path.write_bytes(content)
    assert unreadable_days(survey(connection, zone_of(landing), "events"), [D1, D2], CALENDAR) == {}


def test_days_of_a_file_that_cannot_be_read_are_those_that_it_may_count_for(landing, connection):
    damaged = "user_id,item_id,ts\nu,a\n"
    loose = write(landing / "events" / "loose.csv", [EVENT | {"ts": "2026-01-03"}])
    path = write(landing / "events" / f"day={D1}" / "x.csv", [EVENT | {"ts": "2026-01-02"}])
    days = [D1, D2, D3, D4]

    def broken():
        return unreadable_days(survey(connection, zone_of(landing), "events"), days, CALENDAR)

    assert broken() == {}
    path.write_text(damaged)
    assert list(broken()) == [D1, D2]  # its folder's day, and that of the row that was read before
    assert rows(connection, "raw.landing_days", "file, day")[0] == (f"events/day={D1}/x.csv", D2)
    loose.write_text(damaged)
    assert list(broken()) == [D1, D2, D3]
    (landing / "events" / "unknown.csv").write_text(damaged)
    assert list(broken()) == days
    for file in (loose, path, landing / "events" / "unknown.csv"):
        file.unlink()
    assert broken() == {}
    assert rows(connection, "raw.landing_files") == []


def test_impressions_that_cannot_be_read_count_for_the_days_around_them_outcomes_for_those_before(landing, connection):
    days = [date(2026, 1, number) for number in range(1, 8)]
    around = {}
    for kind in ("feedback", "outcomes"):
        path = write(landing / kind / "day=2026-01-04" / "x.csv", [{"request_id": "o"}])
        surveyed = survey(connection, zone_of(landing, OPEN), kind)
        around[kind] = [day.day for day in unreadable_days(surveyed, days, CALENDAR, DAY_LONG)]
        path.unlink()
    # An outcome may come a few seconds before its impression, on the other side of midnight.
    assert around == {"feedback": [3, 4, 5], "outcomes": [3, 4, 5]}


@pytest.mark.parametrize("folder", ["day=2026-13-01", "day=monday", "january"])
def test_a_folder_that_is_no_day_is_named(landing, connection, folder):
    write(landing / "events" / folder / "x.csv", [EVENT])
    message = refusal(connection, landing)
    assert folder in message
    assert "day=YYYY-MM-DD" in message


def test_a_landing_folder_of_a_newer_format_is_refused_by_name(landing, connection):
    (landing / "FORMAT").write_text('{"format_version": 2}')
    assert "says format_version 2" in refusal(connection, landing)
    (landing / "FORMAT").write_text("two")
    assert "is damaged" in refusal(connection, landing)
    (landing / "FORMAT").write_text('{"format_version": 1}')
    assert survey(connection, zone_of(landing), "events") == []
