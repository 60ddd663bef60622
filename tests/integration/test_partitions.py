"""Partitions of a day, a week and a month: histories go by the moment, so the same log gives the same rows."""

import os
from datetime import UTC, date, datetime, timedelta

import duckdb
import numpy as np
import polars as pl
import pytest

from alignrec_assets.commands.run import RunFailedError, day_range, run_line
from alignrec_assets.home import HOME_VARIABLE, Home
from alignrec_assets.settings.sources import load_settings, update_settings_file
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.records import read_records
from alignrec_assets.warehouse.rows import read_frame

FIRST, DAYS = date(2025, 1, 15), 90
LAST = FIRST + timedelta(days=DAYS - 1)
KINDS = ("film", "music", "news", "sport", "travel", "food", "games", "science")
EVENTS = "FROM raw.events SELECT user_id, item_id, ts, positive ORDER BY ALL"
MOMENTS = "FROM interests.first_interactions SELECT user_id, cluster_id, history, ts, item_id, positive ORDER BY ALL"
NOVEL = "FROM training.novel_transitions SELECT user_id, cluster_id, history, ts ORDER BY ALL"

SCORED = ["history", "cluster_id", "signal", "impressions", "users", "positives", "score"]


def write_log(landing):
    """40 users with 60 events each, on some of the days: most at night, so that days and months end between them."""
    chance = np.random.default_rng(4)
    items = [{"item_id": f"i{item}", "title": f"{KINDS[item % 8]} {KINDS[item // 8 % 8]}"} for item in range(64)]
    nights = [datetime.combine(FIRST, datetime.min.time(), UTC) + timedelta(days=int(day)) for day in range(DAYS)]
    events = [
        {"user_id": f"u{user}", "item_id": f"i{item}", "rating": float(rating),
         "ts": nights[night] + timedelta(minutes=int(minute))}
        for user in range(40)
        for item, rating, night, minute in zip(
            chance.integers(64, size=60), chance.integers(1, 6, size=60), chance.choice([0, 3, 16, 17, 44, 45, 89], 60),
            chance.integers(1440, size=60), strict=True)
    ]  # fmt: skip
    for kind, rows in (("items", items), ("events", events)):
        (landing / kind).mkdir(parents=True, exist_ok=True)
        pl.DataFrame(rows).unique(["item_id", *(["user_id", "ts"] if kind == "events" else [])]).write_parquet(
            landing / kind / "log.parquet"
        )


def settings_of(partition):
    return {
        "calendar": {"first_day": FIRST, "last_day": LAST, "partition": partition},
        "interests": {"clusters": 8, "embedding": "tfidf"},
        "positive": {"rating_at_least": 4.0},
        "feedback": {"source": "replay", "replay_share": 0.6, "window_days": 1000, "minimum_impressions": 1,
                     "minimum_users": 1},
    }  # fmt: skip


def run_days(home):
    os.environ[HOME_VARIABLE] = str(home.path)
    told = []
    run_line(home, None, None, told.append, selections=("days",))
    return told


def rows(home, sql, **parameters):
    with Warehouse(home).reading() as connection:
        return connection.execute(sql, parameters or None).fetchall()


def standing(home, as_of):
    with Warehouse(home).reading() as connection:
        ((taxonomy,),) = connection.execute("FROM interests.clusters SELECT DISTINCT taxonomy_version").fetchall()
        parameters = {"as_of": as_of, "taxonomy_version": taxonomy}
        return read_frame(connection, query("feedback.standing_scores"), parameters).select(SCORED).rows()


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """One home for each partition, of the same log; environment variables are as before afterwards."""
    before = dict(os.environ)
    found = {}
    for partition in ("day", "week", "month"):
        home = Home(tmp_path_factory.mktemp(partition))
        home.create()
        write_log(home.landing)
        update_settings_file(home, settings_of(partition))
        run_days(home)
        found[partition] = home
    yield found
    os.environ.clear()
    os.environ.update(before)


def test_partitions_are_called_by_their_first_day(homes):
    keys = {}
    for partition, home in homes.items():
        with Warehouse(home).reading() as connection:
            keys[partition] = sorted(read_records(connection, "raw.events"))
        assert {str(day) for (day,) in rows(home, "FROM raw.events SELECT DISTINCT day")} <= {*keys[partition]}
    assert len(keys["day"]) == DAYS
    assert keys["week"][:2] == ["2025-01-13", "2025-01-20"]  # Mondays
    assert keys["month"] == ["2025-01-01", "2025-02-01", "2025-03-01", "2025-04-01"]


@pytest.mark.parametrize("partition", ["week", "month"])
def test_the_same_log_gives_the_same_rows_whatever_the_partition(homes, partition):
    for sql in (EVENTS, MOMENTS, NOVEL):
        by_day = rows(homes["day"], sql)
        assert len(by_day) > 50
        assert rows(homes[partition], sql) == by_day
    assert standing(homes[partition], LAST) == standing(homes["day"], LAST) != []


def test_a_log_of_few_days_keeps_few_scores(homes):
    days = dict(rows(homes["day"], "FROM feedback.transition_scores SELECT day, count(*) GROUP BY day"))
    told = {day for (day,) in rows(homes["day"], "FROM feedback.transition_users SELECT DISTINCT day")}
    assert {*days} <= told  # the window never ends, so nothing changes on other days
    assert len(told) < 8


def test_another_partition_makes_every_row_again_and_none_twice(homes):
    home = homes["week"]
    update_settings_file(home, settings_of("month"))
    run_days(home)
    assert rows(home, MOMENTS) == rows(homes["day"], MOMENTS)
    days = {str(day) for (day,) in rows(home, "FROM raw.events SELECT DISTINCT day")}
    assert days == {"2025-01-01", "2025-02-01", "2025-03-01", "2025-04-01"}
    assert len(rows(home, "FROM registry.fingerprints WHERE asset = 'raw.events'")) == 4
    assert not any("none of the calendar" in line for line in run_days(home))  # the second run finds nothing to clear
    assert standing(home, LAST) == standing(homes["day"], LAST)


def test_one_more_day_makes_its_own_partition(homes):
    home = homes["month"]
    made = dict(rows(home, "FROM registry.fingerprints SELECT asset || partition, made_at WHERE partition <> ''"))
    following = LAST + timedelta(days=1)
    calendar = {"first_day": FIRST, "last_day": following, "partition": "month"}
    update_settings_file(home, {"calendar": calendar})
    pl.DataFrame(
        {"user_id": ["u1"], "item_id": ["i5"], "rating": [5.0], "ts": [datetime(2025, 4, 15, 1, tzinfo=UTC)]}
    ).write_parquet(home.landing / "events" / "more.parquet")
    run_days(home)
    again = dict(rows(home, "FROM registry.fingerprints SELECT asset || partition, made_at WHERE partition <> ''"))
    assert {name for name in made if made[name] != again[name]} <= {name for name in made if "2025-04-01" in name}
    assert made["raw.events2025-04-01"] != again["raw.events2025-04-01"]
    assert load_settings(home).calendar.last_day == following


def test_scores_as_of_a_day_are_those_of_its_window(homes):
    """Whatever changed before: the latest rows up to a day are the scores that its window gives alone."""
    from alignrec_assets.assets.feedback import score_day

    home = homes["day"]
    settings = load_settings(home)
    with Warehouse(home).reading() as connection:
        ((taxonomy,),) = connection.execute("FROM interests.clusters SELECT DISTINCT taxonomy_version").fetchall()
        for offset in (5, 16, 17, 60, DAYS - 1):
            day = FIRST + timedelta(days=offset)
            alone, _ = score_day(connection, day, taxonomy, settings)
            assert sorted(standing(home, day), key=str) == sorted(alone.select(SCORED).rows(), key=str)


def test_any_day_of_a_partition_names_it(homes):
    calendar = load_settings(homes["month"]).calendar
    assert day_range(calendar, date(2025, 2, 11), date(2025, 3, 31)) == ("2025-02-01", "2025-03-01")
    with pytest.raises(RunFailedError, match="day 2025-05-01 is outside the calendar 2025-01-01 to 2025-04-01"):
        day_range(calendar, None, date(2025, 5, 1))


def test_no_event_is_lost_between_landing_and_table(homes):
    with duckdb.connect() as connection:
        landed = connection.execute(
            "SELECT count(*) FROM read_parquet($1)", [str(homes["day"].landing / "events" / "log.parquet")]
        ).fetchall()
    assert rows(homes["day"], "FROM raw.events SELECT count(*)") == landed
