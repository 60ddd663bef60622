"""What is asked before a user or old days go, on rows made by hand."""

from datetime import date, datetime

import duckdb
import pytest
from support.rows import fill

from alignrec_assets.warehouse.connection import create_tables
from alignrec_assets.warehouse.queries import query


@pytest.fixture
def connection():
    with duckdb.connect() as connection:
        create_tables(connection)
        yield connection


def day(number):
    return date(2026, 1, number)


def asked(connection, name, **parameters):
    return connection.execute(query(f"housekeeping.{name}"), parameters).fetchall()


@pytest.mark.parametrize(
    ("found", "counted", "first"),
    [([7, 6], [9, 8], 6), ([9, 8], [7, 6], 6), ([9, 8], [], 8), ([], [7], 7), ([], [], None)],
)
def test_the_first_day_of_a_user_is_the_first_of_landing_files_and_tables(connection, found, counted, first):
    """The same days of impressions, a week later. Of the other user earlier days are counted."""
    users = [("ada", at) for at in counted] + [("bob", 1)]
    connection.execute(query("macros.landed_values"))
    for table, later in (("found_events", 0), ("found_feedback", 7)):
        connection.execute(f"CREATE TEMP TABLE {table} (ts VARCHAR)")
        for at in found:
            connection.execute(f"INSERT INTO {table} VALUES (?)", [f"{day(at + later)}T23:00:00Z"])
    for table, later in (("interests.user_cluster_days", 0), ("feedback.transition_users", 7)):
        fill(connection, table, [{"user_id": user, "day": day(at + later)} for user, at in users])
    expected = (first and day(first), first and day(first + 7))
    assert asked(connection, "first_days_of_user", user="ada") == [expected]


def test_requests_of_a_user_are_those_of_landing_files_and_of_the_table_each_once(connection):
    connection.execute("CREATE TEMP TABLE found_feedback AS SELECT unnest(['r1', 'r2', 'r1', NULL]) AS request_id")
    logs = [("ada", "r2"), ("ada", "r3"), ("bob", "r4")]
    fill(connection, "raw.feedback_logs", [{"user_id": user, "request_id": request} for user, request in logs])
    assert sorted(asked(connection, "requests_of_user", user="ada")) == [("r1",), ("r2",), ("r3",)]


@pytest.mark.parametrize(
    ("made_at", "folder", "found"),
    [(9, "m", [("m", True)]), (8, "m", [("m", True)]), (7, "m", []), (9, None, [])],
)
def test_a_novelty_model_is_of_the_examples_that_were_there_when_it_was_made(connection, made_at, folder, found):
    rows = [
        ("training.novelty_examples", 8, None),
        ("training.pointwise_examples", 1, "p"),
        ("novelty_model", made_at, folder),
        ("alignment_model", 9, "a"),
    ]
    for asset, at, where in rows:
        details = "{}" if where is None else f'{{"folder": "{where}"}}'
        connection.execute(
            "INSERT INTO registry.fingerprints BY NAME SELECT $asset AS asset, $details AS details, $at AS made_at",
            {"asset": asset, "details": details, "at": datetime(2026, 1, at)},
        )
    fill(connection, "training.novelty_examples", [{"user_id": "ada"}])
    assert asked(connection, "novelty_models_by_examples", user="ada") == found
    assert asked(connection, "novelty_models_by_examples", user="bob") == [(folder, False) for _ in found]


def test_old_days_are_those_before_the_first_that_is_kept(connection):
    fill(connection, "raw.feedback_logs", [{"day": day(at)} for at in (3, 3, 2, 5)])
    fill(connection, "raw.events", [{"day": day(at)} for at in (6, 4, 8, 4, 5)])
    assert asked(connection, "old_raw_days", first_kept=day(5)) == [
        ("raw.events", 5, 2, day(4), day(4), 1),
        ("raw.feedback_logs", 4, 3, day(2), day(3), 2),
    ]
