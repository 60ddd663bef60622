"""Scores of a day: the signals that a log shows are scored, the others are named."""

from datetime import date

import duckdb
import polars as pl
import pytest

from alignrec_assets.assets.feedback import ScoresByDay
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.connection import create_tables
from alignrec_assets.warehouse.contract import check_table
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
