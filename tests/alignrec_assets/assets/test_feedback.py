"""Scores day by day: what each day costs and tells; the signals that a log shows are scored, the others are named."""

from datetime import date, datetime, timedelta

import duckdb
import polars as pl
import pytest
from support.rows import fill

from alignrec_assets.assets import feedback
from alignrec_assets.assets.feedback import ScoresByDay, exposures_by_policy, novel_impression_ratio, score_options
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.connection import create_tables
from alignrec_assets.warehouse.contract import check_table
from alignrec_assets.warehouse.records import Record, write_records
from alignrec_assets.warehouse.rows import append_rows

DAY = date(2026, 1, 5)
SETTINGS = Settings.model_validate({"feedback": {"minimum_impressions": 1, "minimum_users": 1}})
SIGNALS = {"positives": "positive", "likes": "liked", "shares": "shared", "completions": "completed"}


def users(**outcomes):
    """Two cells of 40 users, 10 impressions each; of every user the same outcomes."""
    return pl.DataFrame(
        [
            {"day": DAY, "taxonomy_version": "t", "history": [1, 2], "cluster_id": cluster, "user_id": f"u{user}",
             "novel": True, "impressions": 10, **dict.fromkeys([*SIGNALS, "skips"], 0), **outcomes}
            for cluster in (3, 4)
            for user in range(40)
        ],
        schema_overrides={"history": pl.List(pl.Int32), "cluster_id": pl.Int32},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outcomes", "scored"),
    [
        ({"positives": 3}, {"positive"}),
        ({"positives": 3, "skips": 2}, {"positive", "not_skipped"}),
        ({"likes": 1, "shares": 10}, {"liked", "shared"}),
        ({}, set()),
    ],
)
def test_signals_that_a_log_does_not_have_are_not_scored(outcomes, scored, comes_out):
    with duckdb.connect() as connection:
        create_tables(connection)
        append_rows(connection, "feedback.transition_users", users(**outcomes))
        rows, facts = ScoresByDay(connection, "t", SETTINGS).write(DAY)
        found = connection.execute("FROM feedback.transition_scores SELECT DISTINCT signal").fetchall()
        check_table(connection, "feedback.transition_scores")
    assert {signal for (signal,) in found} == scored
    assert rows == 2 * len(scored)
    unscored = {*SIGNALS.values(), "not_skipped"} - scored
    assert {note.partition(":")[0] for note in facts["notes"] if "not scored" in note} == unscored
    assert scored or len(facts["notes"]) == len(unscored)  # a signal that is not scored is told once
    assert facts["surviving_cell_share"] == 1.0
    told = ", ".join(sorted(unscored))
    comes_out("edge", f"impressions with {', '.join(outcomes) or 'no outcome'}", f"not scored, and named: {told}")


def test_a_signal_whose_scores_are_all_the_same_is_told_and_the_others_are_scored():
    some = users(positives=3, likes=1).with_columns(positives=pl.when(pl.col("cluster_id") == 3).then(1).otherwise(4))
    with duckdb.connect() as connection:
        create_tables(connection)
        append_rows(connection, "feedback.transition_users", some)
        _, facts = ScoresByDay(connection, "t", SETTINGS).write(DAY)
        found = dict(
            connection.execute(
                "SELECT signal, count(DISTINCT score) FROM feedback.transition_scores GROUP BY signal"
            ).fetchall()
        )
    assert found == {"positive": 2, "liked": 1}
    (told,) = [note for note in facts["notes"] if "tell no cells apart" in note]
    assert told.startswith("liked: all 2 scores are 0.5 by quantile and interval 0.")
    assert facts["interval"] > 0  # that of the signal that is learned


@pytest.fixture
def days():
    """Feedback on the first day and on the third, none on the second."""
    with duckdb.connect() as connection:
        create_tables(connection)
        given = {DAY: users(positives=3), DAY + timedelta(days=2): users(positives=3, likes=1).head(40)}
        for day, rows in given.items():
            append_rows(connection, "feedback.transition_users", rows.with_columns(day=pl.lit(day)))
        counted = {day.isoformat(): Record("f", rows.height) for day, rows in given.items()}
        write_records(connection, "feedback.transition_users", counted | {"2026-01-06": Record("f", 0)})
        yield connection


def test_a_day_whose_window_holds_what_the_day_befores_held_is_not_scored_again(days, monkeypatch):
    scored = []
    score_day = feedback.score_day
    monkeypatch.setattr(feedback, "score_day", lambda *given: scored.append(given[1]) or score_day(*given))
    scores = ScoresByDay(days, "t", SETTINGS)
    first, second, third = (scores.write(DAY + timedelta(days=number)) for number in range(3))
    assert scored == [DAY, DAY + timedelta(days=2)]
    assert second == (0, first[1])
    asked = "SELECT day, cluster_id, signal FROM feedback.transition_scores ORDER BY ALL"
    expected = [(DAY, 3, "positive"), (DAY, 4, "positive")]
    # The impressions of the third day are liked, a new signal, and all of cluster 3, which changes both scores.
    changed = [(3, "liked"), (3, "positive"), (4, "liked"), (4, "positive")]
    assert days.execute(asked).fetchall() == expected + [(DAY + timedelta(days=2), *row) for row in changed]
    assert (first[0], third[0]) == (2, 4)


def test_the_share_of_impressions_that_were_novel():
    with duckdb.connect() as connection:
        create_tables(connection)
        span = {"first_day": DAY, "as_of": DAY, "taxonomy_version": "t"}
        assert novel_impression_ratio(connection, span) is None
        append_rows(connection, "feedback.transition_users", users().with_columns(novel=pl.col("user_id") == "u7"))
        assert novel_impression_ratio(connection, span) == 1 / 40


def test_exposures_are_those_of_all_days_that_were_counted():
    shown = {"user_id": "ada", "history": [0, 1], "cluster_id": 2, "taxonomy_version": "t", "final": True}
    logs = [
        shown | {"day": DAY + timedelta(days=at), "ts": datetime(2026, 1, 5 + at), "request_id": f"r{at}",
                 "item_id": f"item{at}", "policy": "table", "positive": at == 0}
        for at in range(3)
    ]  # fmt: skip
    with duckdb.connect() as connection:
        create_tables(connection)
        fill(connection, "interests.clusters", [{"taxonomy_version": "t", "cluster_id": c} for c in range(3)])
        fill(connection, "raw.feedback_logs", logs)
        write_records(connection, "feedback.transition_users", {f"2026-01-0{day}": Record("f", 1) for day in (5, 6)})
        found = exposures_by_policy(connection, SETTINGS, "t").select("policy", "impressions", "novel_positives")
    assert found.rows() == [("table", 2, 1)]


@pytest.mark.parametrize(("interval", "rounded"), [("auto", None), (0.1, 0.1)])
def test_scores_are_rounded_by_the_settings(interval, rounded):
    assert score_options(Settings.model_validate({"feedback": {"interval": interval}}).feedback)["interval"] == rounded
