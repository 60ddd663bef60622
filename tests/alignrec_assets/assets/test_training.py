"""Training sets: the settings that decide how counted cells become examples."""

from datetime import date, datetime
from hashlib import md5

import dagster as dg
import duckdb
import polars as pl
import pytest
from support.rows import fill

from alignrec_assets.assets import training
from alignrec_assets.assets.training import (
    last_day_learned,
    news_of_feedback,
    pointwise_options,
    require_a_positive,
    require_transitions,
    told_examples,
)
from alignrec_assets.refresh.asset_factory import build_assets
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.settings.sources import update_settings_file
from alignrec_assets.warehouse.connection import Warehouse, create_tables
from alignrec_assets.warehouse.records import Record, write_records
from alignrec_assets.warehouse.rows import append_rows
from models.alignment.pointwise_examples import PointwiseOptions

FIRST = date(2026, 1, 5)
TAXONOMY = "t"


@pytest.mark.parametrize("prior", ["cluster", "affinity"])
@pytest.mark.parametrize(("interval", "rounded"), [("auto", None), (0.1, 0.1)])
def test_examples_are_made_by_the_settings(prior, interval, rounded):
    alignment = {"holdout_share": 0.4, "report_share": 0.75, "unseen_cluster_share": 0.2, "seed": 9}
    feedback = {"prior": prior, "normalisation": "lift", "interval": interval}
    settings = Settings.model_validate({"alignment": alignment, "feedback": feedback})
    assert pointwise_options(settings) == PointwiseOptions(
        holdout_share=0.4,
        report_share=0.75,
        unseen_cluster_share=0.2,
        prior=prior,
        normalisation="lift",
        interval=rounded,
        seed=9,
    )


@pytest.mark.parametrize(
    ("partition", "held_out", "last"),
    [("day", 0, "2026-02-11"), ("day", 3, "2026-02-08"), ("week", 0, "2026-02-15"), ("week", 3, "2026-02-08")],
)
def test_the_days_held_out_come_after_the_last_day_that_teaches(home, partition, held_out, last):
    settings = Settings.model_validate(
        {"calendar": {"first_day": FIRST, "partition": partition}, "alignment": {"holdout_days": held_out}}
    )
    with Warehouse(home).writing() as connection:
        days = [FIRST, date(2026, 2, 11)] if partition == "day" else [FIRST, date(2026, 2, 9)]
        write_records(connection, "feedback.transition_scores", {str(day): Record("f") for day in days})
    assert str(last_day_learned(Warehouse(home), settings)) == last


@pytest.mark.parametrize(("source", "share"), [("replay", 0.5), ("replay", 0.9), ("logged", 0.5)])
def test_users_who_are_replayed_teach_the_alignment_model_alone(home, source, share):
    """The first users by the hash of their id are replayed; of a log with feedback of its own, nobody is."""
    update_settings_file(
        home,
        {"calendar": {"first_day": FIRST, "last_day": FIRST}, "feedback": {"source": source, "replay_share": share}},
    )
    users = [f"user {number}" for number in range(60)]
    rows = [
        {"day": FIRST, "taxonomy_version": TAXONOMY, "user_id": user, "history": [0, 1], "cluster_id": 2 + at % 3}
        for at, user in enumerate(users)
    ]
    with Warehouse(home).writing() as connection:
        moment = pl.lit(datetime(2026, 1, 5, 12))
        append_rows(connection, "training.novel_transitions", pl.DataFrame(rows).with_columns(ts=moment))
        write_records(connection, "training.novel_transitions", {str(FIRST): Record("f", len(rows))})
    (asset,) = build_assets([training.novelty_examples], Settings(), dg.DailyPartitionsDefinition(str(FIRST)))
    assert dg.materialize([asset], resources={"home": HomeResource(database=str(home.warehouse))}).success
    with Warehouse(home).reading() as connection:
        found = {user for (user,) in connection.execute("FROM training.novelty_examples SELECT user_id").fetchall()}
    replayed = {user for user in users if int(md5(user.encode()).hexdigest()[:8], 16) / 2**32 < share}
    assert 10 < len(replayed) < 60
    assert found == {*users} - (replayed if source == "replay" else set())


def test_feedback_without_a_single_positive_is_refused_by_name_and_number(comes_out):
    counted = pl.DataFrame({"impressions": [700, 534], "positive": [0, 0], "liked": [0, 3]})
    settings = Settings.model_validate({"feedback": {"window_days": 28}})
    with pytest.raises(
        ValueError, match="'positive', and none of the 1,234 impressions of the 28 days up to 2026-01-18"
    ) as told:
        require_a_positive(counted, settings, date(2026, 1, 18))
    comes_out("no positive", "1,234 impressions, none of them positive", str(told.value))


def test_feedback_with_a_positive_or_with_few_impressions_is_no_error():
    settings = Settings.model_validate({"feedback": {"signal": "liked"}})
    few = pl.DataFrame({"impressions": [60, 39], "liked": [0, 0]})
    require_a_positive(few, settings, date(2026, 1, 18))  # a like may be missing by chance
    with pytest.raises(ValueError, match="none of the 100 impressions"):
        require_a_positive(few.with_columns(impressions=50), settings, date(2026, 1, 18))
    require_a_positive(pl.DataFrame({"impressions": [534], "liked": [1]}), settings, date(2026, 1, 18))
    none = pl.DataFrame(schema={"impressions": pl.Int64, "liked": pl.Int64})
    require_a_positive(none, settings, date(2026, 1, 18))


@pytest.mark.parametrize(
    ("learned", "before", "after", "share", "told"),
    [
        (100, 100, 10, 0.1, "10 impressions since"),
        (100, 104, 6, 0.1, "10 impressions since"),  # four came late for days that were learned from
        (100, 96, 6, 0.1, "10 impressions since"),  # four are gone from them
        (100, 100, 9, 0.1, None),
        (0, 0, 1, 0.1, "1 impressions since"),
        (0, 0, 0, 0.0, None),
    ],
)
def test_news_are_the_impressions_that_came_since_and_those_that_came_or_went_late(learned, before, after, share, told):
    settings = Settings.model_validate({"automation": {"new_feedback_share": share}})
    rows = [{"day": day, "impressions": shown, "positives": 0, "cluster_id": 2, "taxonomy_version": "t", "novel": True}
            for day, shown in ((FIRST, before), (date(2026, 1, 6), after)) if shown]  # fmt: skip
    with duckdb.connect() as connection:
        create_tables(connection)
        fill(connection, "feedback.transition_users", rows)
        facts = {"as_of": str(FIRST), "taxonomy_version": "t", "impressions": learned}
        found = news_of_feedback(connection, facts, date(2026, 1, 6), settings)
    assert found is None if told is None else found.startswith(told)


def test_transitions_of_one_user_teach_nothing_that_could_be_measured(comes_out):
    transitions = pl.DataFrame({"user_id": ["ada", "ada"]})
    with pytest.raises(ValueError, match=r"there are 2 novel transitions of 1 users, and 2 such users are") as told:
        require_transitions(transitions, Settings(), date(2026, 1, 18))
    comes_out("thin logs", "novel transitions of one user alone", str(told.value))
    with pytest.raises(ValueError, match="of 1 users who are not replayed, and"):
        replay = Settings.model_validate({"feedback": {"source": "replay"}})
        require_transitions(transitions, replay, date(2026, 1, 18))
    require_transitions(pl.DataFrame({"user_id": ["ada", "bob"]}), Settings(), date(2026, 1, 18))


def test_the_log_tells_how_many_transitions_are_examples_and_which_wait():
    facts = {
        "as_of": "2026-01-18",
        "novel_transitions": 6673,
        "later_transitions": 0,
        "training_examples": 3400,
        "counted_examples": 1500,
        "validation_examples": 468,
        "holdout_examples": 1305,
    }
    told = told_examples(facts, Settings().novelty)
    assert told == (
        "3,400 of 6,673 novel transitions up to 2026-01-18 are examples (at most 3,400, novelty.maximum_examples), "
        "1,500 more are counted, 468 choose, and 1,305 are held out"
    )
    waiting = told_examples(facts | {"later_transitions": 1200}, Settings().novelty)
    assert waiting == f"{told}; 1,200 later ones wait until novelty.refresh_days = 28 have passed"
