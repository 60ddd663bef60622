"""The attribution window by hand, on the query itself."""

from datetime import date, datetime

import duckdb
import pytest

from alignrec_assets.warehouse.queries import query

IMPRESSION = """
    DATE '2026-01-02' AS day, 'f' AS file, {row}::BIGINT AS row_number, NULL::VARCHAR AS reason,
    {duplicate} AS duplicate, 'r{row}' AS request_id, 'a' AS item_id, 'u' AS user_id,
    TIMESTAMP '2026-01-02 10:00:00' AS ts, [1, 2] AS history, 3 AS cluster_id, 'table' AS policy,
    'v' AS table_version, 't' AS taxonomy_version, 0 AS position, 0.5 AS propensity,
    {watch}::DOUBLE AS watch_s, NULL::BOOLEAN AS completed, {liked}::BOOLEAN AS liked,
    NULL::BOOLEAN AS shared, NULL::BOOLEAN AS skipped, {positive}::BOOLEAN AS positive
"""
OUTCOME = """
    '{request}' AS request_id, 'a' AS item_id, TIMESTAMP '{ts}' AS ts, {reason}::VARCHAR AS reason,
    {watch}::DOUBLE AS watch_s, {completed}::BOOLEAN AS completed, {liked}::BOOLEAN AS liked,
    NULL::BOOLEAN AS shared, NULL::BOOLEAN AS skipped, {positive}::BOOLEAN AS positive
"""
NOTHING = {"watch": "NULL", "liked": "NULL", "completed": "NULL", "positive": "NULL", "reason": "NULL"}


def impression(row=1, duplicate="false", **known):
    return IMPRESSION.format(**(NOTHING | {"row": row, "duplicate": duplicate} | known))


def outcome(ts="2026-01-02 10:00:30", request="r1", **known):
    return OUTCOME.format(**(NOTHING | {"ts": ts, "request": request} | known))


def joined(
    impressions, outcomes, columns="watch_s, liked, completed, positive", hours=24, data_end=date(2026, 1, 9), **rule
):
    parameters = {"watch_share": 0.5, "liked": True, "completed": True, "when_unknown": False} | rule
    parameters |= {"attribution_us": round(hours * 3.6e9), "tolerance_us": 0, "data_end": data_end}
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA raw")
        connection.execute("CREATE TABLE raw.items AS SELECT 'a' AS item_id, 100.0 AS duration_s")
        connection.execute("CREATE TEMP TABLE wanted_days AS SELECT DATE '2026-01-02' AS day")
        for name, selects, empty in (
            ("typed_feedback", impressions, impression()),
            ("doubtful_feedback", impressions, impression()),
            ("checked_outcomes", outcomes, outcome()),
        ):
            body = " UNION ALL ".join(f"SELECT {select}" for select in selects)
            connection.execute(f"CREATE TEMP TABLE {name} AS {body or f'SELECT {empty} LIMIT 0'}")
        found = connection.sql(query("raw.feedback_logs"), params=parameters).project(columns)
        return sorted(found.fetchall())


def test_silence_is_not_positive_even_where_unknown_events_are():
    assert joined([impression()], []) == [(None, None, None, False)]
    assert joined([impression()], [], when_unknown=True) == [(None, None, None, False)]


def test_an_outcome_without_any_signal_is_what_the_rule_says_of_unknown_events():
    assert joined([impression()], [outcome()], when_unknown=True) == [(None, None, None, True)]
    assert joined([impression()], [outcome()], when_unknown=False) == [(None, None, None, False)]


def test_several_outcomes_combine_to_the_longest_watch_and_every_raised_flag():
    outcomes = [
        outcome(watch="20", liked="false"),
        outcome("2026-01-02 11:00:00", watch="49", liked="true"),
        outcome("2026-01-02 12:00:00", completed="false"),
    ]
    assert joined([impression(watch="30")], outcomes, liked=False) == [(49.0, True, False, False)]
    assert joined([impression(watch="50")], outcomes, liked=False) == [(50.0, True, False, True)]
    assert joined([impression()], outcomes, liked=True) == [(49.0, True, False, True)]


@pytest.mark.parametrize(
    ("ts", "counts"),
    [
        ("2026-01-02 09:59:59.999999", False),
        ("2026-01-02 10:00:00", True),
        ("2026-01-03 10:00:00", True),
        ("2026-01-03 10:00:00.000001", False),
    ],
)
def test_the_window_opens_with_the_impression_and_closes_after_its_length(ts, counts):
    assert joined([impression()], [outcome(ts, liked="true")]) == [(None, True if counts else None, None, counts)]


def test_given_positive_beats_the_rule_and_any_given_one_is_enough():
    assert joined([impression(liked="true", positive="false")], [])[0][-1] is False
    assert joined([impression(positive="false")], [outcome(positive="true")])[0][-1] is True


def test_outcomes_of_other_requests_and_rejected_ones_do_not_count():
    outcomes = [outcome(request="r2", liked="true"), outcome(liked="true", reason="'broken'")]
    assert joined([impression()], outcomes) == [(None, None, None, False)]


def test_repeated_impressions_count_once():
    assert joined([impression(1), impression(2, duplicate="true")], [], columns="request_id") == [("r1",)]


@pytest.mark.parametrize(("data_end", "final"), [(date(2026, 1, 3), False), (date(2026, 1, 4), True)])
def test_an_impression_is_final_once_its_window_lies_within_the_data(data_end, final):
    found = joined([impression()], [], columns="ts, final", data_end=data_end)
    assert found == [(datetime(2026, 1, 2, 10), final)]
    assert joined([impression()], [], columns="final", hours=14, data_end=date(2026, 1, 3)) == [(True,)]
