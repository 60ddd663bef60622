"""Fingerprints: what is seen of days, by spans, and which days change when one of them does."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignrec_assets.home import Home
from alignrec_assets.refresh.fingerprints import SeenDays, day_fingerprints, days_read
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import Record, write_records

DAY = date(2026, 1, 1)
DAYS = [DAY + timedelta(days=day) for day in range(10)]
SETTINGS = Settings.model_validate({"feedback": {"window_days": 3}})
records = st.dictionaries(
    st.sampled_from(DAYS), st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=len(DAYS)
)


def seen(made):
    return SeenDays({day.isoformat(): Record(version, rows) for day, (version, rows) in made.items()})


@given(one=records, other=records, first=st.integers(0, 9), length=st.integers(0, 9))
def test_two_spans_are_alike_when_the_same_days_have_the_same_rows(one, other, first, length):
    begin, end = DAYS[first], DAYS[min(first + length, 9)]
    told = [
        [(day, version) for day, (version, rows) in sorted(made.items()) if rows and begin <= day <= end]
        for made in (one, other)
    ]
    found = [seen(made).version(begin, end) for made in (one, other)]
    assert (found[0] == found[1]) == (told[0] == told[1])
    assert (found[0] is None) == (not told[0])


@pytest.fixture
def connection(tmp_path):
    home = Home(tmp_path)
    home.create()
    with Warehouse(home).writing() as connection:
        yield connection


def write(connection, table, day, version="v", rows=1):
    write_records(connection, table, {day.isoformat() if day else "": Record(version, rows)})


def changed_days(connection, table, day, source):
    """Days of a table whose fingerprint changes when a day of what it reads does."""
    before = day_fingerprints(connection, table, DAYS, SETTINGS)
    write(connection, source, day, "another")
    after = day_fingerprints(connection, table, DAYS, SETTINGS)
    return [each.day for each in DAYS if before[each] != after[each]]


@pytest.fixture
def filled(connection):
    for whole in ("interests.clusters", "interests.item_clusters"):
        write(connection, whole, None)
    for day in DAYS:
        for table in ("raw.events", "raw.feedback_logs", "interests.user_cluster_days", "feedback.transition_users"):
            write(connection, table, day, rows=0 if day.day in (5, 6) else 1)
    return connection


def test_a_day_changes_those_that_look_at_it_and_have_rows_of_their_own(filled):
    assert changed_days(filled, "interests.user_cluster_days", DAYS[2], "raw.events") == [3]
    past = changed_days(filled, "interests.first_interactions", DAYS[2], "interests.user_cluster_days")
    assert past == [3, 4, 7, 8, 9, 10]  # days 5 and 6 have no events: they are made from nothing


def test_what_changed_since_the_day_before_is_made_from_both(filled):
    assert changed_days(filled, "feedback.transition_scores", DAYS[2], "feedback.transition_users") == [3, 4, 5, 6]


def test_changes_begin_anew_where_the_day_before_was_not_made(filled):
    alone = day_fingerprints(filled, "feedback.transition_scores", [DAYS[7]], SETTINGS)[DAYS[7]]
    after = day_fingerprints(filled, "feedback.transition_scores", [DAYS[6], DAYS[7]], SETTINGS)[DAYS[7]]
    assert alone != after
    write(filled, "feedback.transition_scores", DAYS[6])
    assert day_fingerprints(filled, "feedback.transition_scores", [DAYS[7]], SETTINGS)[DAYS[7]] == after


def test_days_read_are_those_with_rows(filled):
    read = days_read(filled, "training.pointwise_examples", DAYS[5], SETTINGS)["feedback.transition_users"]
    assert read["days"] == ["2026-01-04", "2026-01-04"]  # of the window from day 4 to 6
