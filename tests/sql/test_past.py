"""What is known of users before and on wanted days, each query by hand on rows of its own."""

from datetime import date, datetime, timedelta

import duckdb
import pytest
from support.rows import fill

from alignrec_assets.warehouse.connection import create_tables
from alignrec_assets.warehouse.queries import query

HERE, OTHER = "taxonomy-a", "taxonomy-b"
CLUSTERS = {"item1": 1, "item2": 2, "other2": 2, "item3": 3}  # item9 has no cluster


def day(number):
    return date(2026, 1, number)


def at(number, hour=0):
    return datetime(2026, 1, number) + timedelta(hours=hour)


@pytest.fixture
def connection():
    with duckdb.connect() as connection:
        create_tables(connection)
        rows = [{"taxonomy_version": HERE, "item_id": i, "cluster_id": c} for i, c in CLUSTERS.items()]
        fill(connection, "interests.item_clusters", rows)
        connection.execute(
            "CREATE TEMP TABLE wanted_days AS SELECT unnest([DATE '2026-01-04', DATE '2026-01-05']) AS day"
        )
        yield connection


def days_of(connection, *rows):
    """Rows of interests.user_cluster_days: user, cluster, day, hours of the first and of the last positive event."""
    fill(
        connection,
        "interests.user_cluster_days",
        [
            {
                "taxonomy_version": taxonomy,
                "user_id": user,
                "cluster_id": cluster,
                "day": day(number),
                "first_ts": at(number, first),
                "last_positive_ts": None if positive is None else at(number, positive),
            }
            for user, cluster, number, first, positive, taxonomy in rows
        ],
    )


def asked(connection, name, **parameters):
    return sorted(connection.execute(query(f"interests.{name}"), parameters).fetchall(), key=str)


def test_the_past_is_the_kept_one_and_the_days_after_it_up_to_the_wanted_ones(connection):
    kept = {"taxonomy_version": HERE, "user_id": "ada", "cluster_id": 1, "first_ts": at(1), "last_positive_ts": at(2)}
    fill(connection, "interests.user_clusters", [kept])
    days = [("ada", 1, number, 3, 4, HERE) for number in (2, 3, 5, 6)] + [("ada", 7, 3, 3, 4, OTHER)]
    days_of(connection, *days)
    later = [("ada", 1, at(number, 3), at(number, 4)) for number in (3, 5)]  # not of day 6, nor of another taxonomy
    found = asked(connection, "past", snapshot_day=day(2), taxonomy_version=HERE)
    assert found == sorted([("ada", 1, at(1), at(2)), *later], key=str)
    without = asked(connection, "past", snapshot_day=None, taxonomy_version=HERE)
    assert without == sorted([("ada", 1, at(2, 3), at(2, 4)), *later], key=str)


def test_positives_are_those_of_users_who_ask_with_clusters_that_are_known(connection):
    connection.execute("CREATE TEMP TABLE moments (user_id VARCHAR, ts TIMESTAMP, history INTEGER[])")
    connection.execute("INSERT INTO moments VALUES ('ada', NULL, NULL), ('eve', NULL, [1, 2])")
    connection.execute("CREATE TEMP TABLE past (user_id VARCHAR, cluster_id INTEGER, last_positive_ts TIMESTAMP)")
    for row in [("ada", 1, at(1)), ("ada", 2, None), ("bob", 1, at(1)), ("eve", 1, at(1))]:
        connection.execute("INSERT INTO past VALUES (?, ?, ?)", row)
    events = [
        ("ada", "item3", 4, True), ("ada", "item2", 4, False), ("ada", "item9", 4, True), ("ada", "item1", 3, True),
        ("bob", "item3", 4, True), ("eve", "item3", 4, True),
    ]  # fmt: skip
    rows = [{"user_id": u, "item_id": i, "day": day(n), "ts": at(n, 5), "positive": p} for u, i, n, p in events]
    fill(connection, "raw.events", rows)
    assert asked(connection, "positives") == [("ada", 1, at(1)), ("ada", 3, at(4, 5))]


def test_a_first_touch_is_of_the_first_moment_and_of_the_lower_item(connection):
    connection.execute("CREATE TEMP TABLE past (user_id VARCHAR, cluster_id INTEGER, first_ts TIMESTAMP)")
    for row in [("ada", 2, at(4, 6)), ("ada", 2, at(5)), ("ada", 3, at(4, 7)), ("ada", 1, at(3))]:
        connection.execute("INSERT INTO past VALUES (?, ?, ?)", row)
    events = [("other2", 6), ("item2", 6), ("item2", 8), ("item3", 7), ("item1", 9), ("item9", 6)]
    rows = [{"user_id": "ada", "item_id": i, "day": day(4), "ts": at(4, h), "positive": h == 7} for i, h in events]
    fill(connection, "raw.events", rows)
    found = connection.sql(query("interests.touches")).project("cluster_id, item_id, ts, positive").fetchall()
    assert sorted(found) == [(2, "item2", at(4, 6), False), (3, "item3", at(4, 7), True)]


def test_what_changes_is_added_to_what_stands(connection):
    standing = [
        {"taxonomy_version": HERE, "user_id": "ada", "cluster_id": 1, "first_ts": at(1), "last_positive_ts": at(1, 9)},
        {"taxonomy_version": HERE, "user_id": "ada", "cluster_id": 2, "first_ts": at(1), "last_positive_ts": None},
        {"taxonomy_version": HERE, "user_id": "bob", "cluster_id": 1, "first_ts": at(1), "last_positive_ts": at(1)},
    ]
    fill(connection, "interests.user_clusters", standing)
    days_of(
        connection,
        ("ada", 1, 2, 1, None, HERE),
        ("ada", 2, 3, 2, 5, HERE),
        ("ada", 2, 4, 1, 3, HERE),
        ("ada", 3, 4, 2, None, HERE),
        ("ada", 3, 3, 2, 8, HERE),
        ("bob", 1, 2, 1, 2, HERE),
        ("bob", 1, 5, 1, 2, HERE),
        ("bob", 2, 3, 1, 2, OTHER),
    )
    found = asked(connection, "user_clusters", after=day(2), until=day(4), taxonomy_version=HERE)
    assert found == [(HERE, "ada", 2, at(1), at(4, 3)), (HERE, "ada", 3, at(3, 2), at(3, 8))]
    found = asked(connection, "user_clusters", after=day(1), until=day(2), taxonomy_version=HERE)
    assert found == [(HERE, "ada", 1, at(1), at(1, 9)), (HERE, "bob", 1, at(1), at(2, 2))]


def test_days_hold_nothing_of_items_without_a_cluster(connection):
    events = [("item1", 6, False), ("item1", 8, True), ("item9", 7, True)]
    fill(
        connection,
        "raw.events",
        [{"user_id": "ada", "item_id": i, "day": day(4), "ts": at(4, h), "positive": p} for i, h, p in events],
    )
    found = asked(connection, "user_cluster_days")
    assert found == [(day(4), HERE, "ada", 1, at(4, 6), at(4, 8), at(4, 8), at(4, 8))]
