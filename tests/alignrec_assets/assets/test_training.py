from datetime import date, timedelta

import duckdb
import polars as pl
import pytest

from alignrec_assets.assets.training import pointwise_rows, refresh_day
from alignrec_assets.settings import Settings
from alignrec_assets.warehouse.queries import query

FIRST = date(2026, 1, 5)


@pytest.mark.parametrize(
    ("days", "expected"), [(1, 1), (6, 6), (7, 7), (8, 7), (14, 7), (34, 7), (35, 35), (36, 35), (63, 63), (100, 91)]
)
def test_the_novelty_model_learns_from_the_first_week_and_then_every_28_days(days, expected):
    latest = FIRST + timedelta(days=days - 1)
    assert refresh_day(FIRST, latest, every=28) == FIRST + timedelta(days=expected - 1)


@pytest.fixture
def counted():
    """One impression a day for each of 200 users, days 1 to 4, all of history [1, 2] and cluster 3."""
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA feedback")
    connection.execute(
        "CREATE TABLE feedback.transition_users AS "
        "SELECT DATE '2026-01-01' + CAST(d AS INTEGER) AS day, 't' AS taxonomy_version, [1, 2] AS history, "
        "3 AS cluster_id, 'u' || u AS user_id, 1 AS impressions, CAST(u % 2 AS BIGINT) AS positives "
        "FROM range(0, 4) days(d), range(0, 200) users(u)"
    )
    yield connection
    connection.close()


def cells(connection, name, **parameters):
    rows = connection.execute(query(name), {"taxonomy_version": "t", **parameters}).fetchall()
    return [(list(history), *counts) for history, *counts in rows]


def test_some_users_are_a_part_of_more_users(counted):
    def users(share):
        found = cells(counted, "evaluation.cells_of_some_users", as_of=date(2026, 1, 3), window_days=2, share=share)
        return found[0][3] if found else 0

    assert users(1.0) == 200
    assert users(0.0) == 0
    assert 0 < users(0.1) < users(0.3) < users(0.9) < 200
    assert 30 < users(0.3) < 90
    everybody = cells(counted, "evaluation.cells_of_some_users", as_of=date(2026, 1, 3), window_days=2, share=1.0)
    assert everybody == [([1, 2], 3, 400, 200, 200)]  # days 2 and 3


def test_held_out_histories_are_divided_by_the_report_share():
    histories = [[a, b] for a in range(40) for b in range(a + 1, 40)]
    frame = pl.DataFrame(
        {
            "history": histories,
            "cluster_id": 41,
            "impressions": 9,
            "users": 9,
            "positives": [sum(h) % 9 for h in histories],
        },
    )
    settings = Settings.model_validate({"alignment": {"holdout_share": 0.4, "report_share": 0.75}})
    counts = dict(pointwise_rows(frame, settings).group_by("split").len().iter_rows())
    assert counts["test"] / len(histories) == pytest.approx(0.3, abs=0.05)
    assert counts["validation"] / len(histories) == pytest.approx(0.1, abs=0.04)
