"""What `alignrec ingest` asks of a log."""

from datetime import date, datetime, timedelta

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rows import fill

from alignrec_assets.warehouse.connection import create_tables
from alignrec_assets.warehouse.queries import query

START = datetime(2026, 1, 5)
rows = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 5)), max_size=12)


@settings(max_examples=40, deadline=None)
@given(events=rows, shown=rows)
def test_items_met_strictly_before_an_impression_are_counted_once(events, shown):
    expected = {}
    for user, _, at in shown:
        before = len({item for who, item, when in events if who == user and when < at})
        expected[before] = expected.get(before, 0) + 1
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA raw")
        for table, lines in (("events", events), ("feedback_logs", shown)):
            connection.execute(f"CREATE TABLE raw.{table} (user_id VARCHAR, item_id VARCHAR, ts TIMESTAMP)")
            for user, item, at in lines:
                connection.execute(
                    f"INSERT INTO raw.{table} VALUES (?, ?, ?)", [user, item, START + timedelta(hours=at)]
                )
        found = connection.execute(query("ingest.impressions_by_items_before")).fetchall()
    assert [(int(before), count) for before, count in found] == sorted(expected.items())


@pytest.fixture
def connection():
    with duckdb.connect() as connection:
        create_tables(connection)
        yield connection


def asked(connection, name):
    return connection.execute(query(f"ingest.{name}")).fetchall()


def test_items_differ_by_what_clusters_are_made_from(connection):
    same = {"title": "t", "tags": ["a", "b"], "category": "c", "description": "d"}
    others = [{}, {"tags": ["b", "a"]}, *({name: None} for name in same), {"embedding": [1.0]}]
    fill(connection, "raw.items", [same | {"item_id": str(place)} | other for place, other in enumerate(others)])
    assert asked(connection, "catalogue") == [(7, 6)]  # the order of tags makes no other item


def test_events_are_counted_by_what_they_tell(connection):
    signals = [
        {"watch_s": 1.0}, {"completed": False}, {"liked": True, "positive": True}, {"shared": False}, {"skipped": True},
        {"watch_s": 2.0, "completed": True, "positive": True}, {"rating": 5.0}, {},
    ]  # fmt: skip
    fill(connection, "raw.events", [{"user_id": "ab"[place % 2], **signal} for place, signal in enumerate(signals)])
    assert asked(connection, "events") == [(8, 2, 6, 2)]


def test_impressions_are_counted_by_how_they_were_served(connection):
    rows = [
        {"policy": "random", "positive": True}, {"policy": "random", "history": [1, 2], "positive": False},
        {"policy": "table", "history": [], "positive": False}, {"positive": False},
    ]  # fmt: skip
    fill(connection, "raw.feedback_logs", rows)
    assert asked(connection, "impressions") == [(4, 2, 2, 1)]


def test_ratings_are_counted_in_their_order(connection):
    fill(connection, "raw.events", [{"rating": rating} for rating in (4.5, 3.0, 4.5, None, 1.0)])
    assert asked(connection, "ratings") == [(1.0, 1), (3.0, 1), (4.5, 2)]


def test_rows_of_a_day_are_those_of_all_kinds_but_items(connection):
    days = [(day, kind, 3) for day in (9, 5) for kind in ("events", "feedback", "items")] + [(None, "outcomes", 7)]
    rows = [{"day": day and date(2026, 1, day), "kind": kind, "rows": rows} for day, kind, rows in days]
    fill(connection, "raw.landing_days", rows)
    assert asked(connection, "rows_by_day") == [(date(2026, 1, 5), 6), (date(2026, 1, 9), 6)]


def test_users_are_counted_by_the_distinct_items_that_they_met(connection):
    met = [("a", "x"), ("a", "x"), ("b", "x"), ("b", "y"), ("c", "y"), ("d", "x"), ("d", "y"), ("d", "z")]
    fill(connection, "raw.events", [{"user_id": user, "item_id": item} for user, item in met])
    assert asked(connection, "users_by_items") == [(1, 2), (2, 1), (3, 1)]
