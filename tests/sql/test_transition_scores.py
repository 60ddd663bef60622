"""Cells of a share of the users, from counts by user and day."""

from datetime import date

import duckdb
import pytest

from alignrec_assets.warehouse.queries import query

WINDOW = {"first_day": date(2026, 1, 2), "as_of": date(2026, 1, 3)}


@pytest.fixture
def counted():
    """One impression a day for each of 200 users, days 1 to 4, all of history [1, 2] and cluster 3."""
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA feedback")
    connection.execute(
        "CREATE TABLE feedback.transition_users AS "
        "SELECT DATE '2026-01-01' + CAST(d AS INTEGER) AS day, 't' AS taxonomy_version, [1, 2] AS history, "
        "3 AS cluster_id, 'u' || u AS user_id, TRUE AS novel, 1 AS impressions, "
        "CAST(u % 2 AS BIGINT) AS positives, 0 AS likes, 0 AS shares, 0 AS completions, 0 AS skips "
        "FROM range(0, 4) days(d), range(0, 200) users(u)"
    )
    yield connection
    connection.close()


def cells(connection, share):
    parameters = {"taxonomy_version": "t", "exposures": "novel", "share": share, **WINDOW}
    rows = connection.execute(query("feedback.transition_scores"), parameters).fetchall()
    return [(list(history), *counts) for history, *counts in rows]


def test_some_users_are_a_part_of_more_users(counted):
    def users(share):
        found = cells(counted, share)
        return found[0][4] if found else 0

    assert users(1.0) == 200
    assert users(0.0) == 0
    assert 0 < users(0.1) < users(0.3) < users(0.9) < 200
    assert 30 < users(0.3) < 90
    assert cells(counted, 1.0) == [([1, 2], 3, 400, 400, 200, 200, 0, 0, 0, 400)]  # days 2 and 3
