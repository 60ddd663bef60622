"""`alignrec ingest` on real data sets: what it chooses, what it leaves alone, and what it refuses."""

from datetime import date

import polars as pl
import pytest
from support.sources import DAYS, FIRST, SOURCES, interactions, write_source

from alignrec_assets.commands.chosen_calendar import CalendarError
from alignrec_assets.commands.chosen_settings import CatalogueError, ThinLogError
from alignrec_assets.commands.ingest import ingest_source
from alignrec_assets.home import Home
from alignrec_assets.settings.chosen_values import fixed_settings
from alignrec_assets.settings.sources import load_settings, update_settings_file

FIRST_DAY, LAST_DAY = date(2026, 1, 5), date(2026, 1, 24)
SOURCE_OF = {"kuairand": "random", "landing with impressions": "random"}
POSITIVE = {
    "movietweetings": {"rating_at_least": 7.0},
    "kuairand": {"rating_at_least": None, "watch_share": 0.5},
    "landing": {"rating_at_least": 4.0},
    "landing with impressions": {"when_unknown": True},
}


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def ingest(home, folder, frame, kind="movietweetings"):
    lines = []
    ingest_source(home, *write_source(kind, folder, frame), None, lines.append)
    return lines


@pytest.mark.parametrize("kind", SOURCES)
def test_every_format_gets_its_settings_with_reasons(kind, home, tmp_path):
    lines = ingest(home, tmp_path / "source", interactions(500), kind)
    settings = load_settings(home)
    assert (settings.calendar.first_day, settings.calendar.last_day) == (FIRST_DAY, LAST_DAY)
    assert (LAST_DAY - FIRST_DAY).days + 1 == DAYS
    assert settings.calendar.partition == "week"  # 500 rows in 20 days
    assert settings.feedback.source == SOURCE_OF.get(kind, "replay")
    for name, value in POSITIVE.get(kind, {"rating_at_least": 4.0}).items():
        assert getattr(settings.positive, name) == value
    assert fixed_settings(home) == set()
    told = [line.strip().partition(" = ")[0] for line in lines if " = " in line and line.startswith("  ")]
    text = home.settings.read_text()
    assert len(told) == text.count("# ingest chose ")
    assert {"feedback.source", "interests.clusters", "novelty.refresh_days", "feedback.window_days"} <= set(told)
    assert not list(home.path.glob(".ingest-*"))


def test_more_data_widen_the_calendar_and_choose_again(home, tmp_path):
    ingest(home, tmp_path / "few", interactions(500))
    assert load_settings(home).feedback.window_days == 28
    ingest(home, tmp_path / "many", interactions(1_000, days=60))
    settings = load_settings(home)
    assert settings.calendar.last_day == date(2026, 3, 5)
    assert settings.feedback.window_days == 112  # 28 doubled until all 60 days count
    assert fixed_settings(home) == set()
    assert home.settings.read_text().count("clusters = ") == 1


def test_what_the_user_set_stays_and_rows_outside_a_narrow_calendar_are_counted(home, tmp_path):
    home.create()
    typed = {
        "calendar": {"first_day": date(2026, 1, 10), "last_day": date(2026, 1, 20)},
        "interests": {"clusters": 11},
        "positive": {"rating_at_least": 9.5},
    }
    update_settings_file(home, typed)
    frame = interactions(2_000)
    with pytest.raises(ThinLogError, match="is positive by the rule"):  # no rating is as high as 9.5
        ingest(home, tmp_path / "source", frame)
    update_settings_file(home, {"positive": {"rating_at_least": 8.5}})
    lines = ingest(home, tmp_path / "again", frame)
    days = frame.select(pl.from_epoch("second").dt.date())["second"]
    outside = frame.height - int(days.is_between(*typed["calendar"].values()).sum())
    assert (
        f"{outside:,} of {frame.height:,} rows lie outside the calendar that {home.settings} names: not read" in lines
    )
    settings = load_settings(home)
    assert (settings.calendar.first_day, settings.calendar.last_day) == (date(2026, 1, 10), date(2026, 1, 20))
    assert (settings.interests.clusters, settings.positive.rating_at_least) == (11, 8.5)
    assert "all 11 days that were ingested" in home.settings.read_text()


def test_an_open_log_stays_open(home, tmp_path):
    home.create()
    update_settings_file(home, {"calendar": {"first_day": FIRST_DAY}})
    lines = ingest(home, tmp_path / "source", interactions(500))
    assert load_settings(home).calendar.last_day is None
    assert "the calendar has no last_day: the log is open, and its days run up to yesterday" in lines


def test_a_calendar_that_one_row_sets_is_refused_until_its_days_are_named(home, tmp_path):
    frame = interactions(500)
    stray = frame.head(1).with_columns(second=pl.lit(0, pl.Int64))
    with pytest.raises(CalendarError, match=r"1 of 501 rows \(0.20%; 1970-01-01\).*\[calendar\] in .*settings.toml"):
        ingest(home, tmp_path / "source", pl.concat([stray, frame]))
    assert not home.settings.exists()
    update_settings_file(home, {"calendar": {"first_day": FIRST_DAY, "last_day": LAST_DAY}})
    lines = ingest(home, tmp_path / "again", pl.concat([stray, frame]))
    assert any(line.startswith("1 of 501 rows lie outside") for line in lines)


@pytest.mark.parametrize(
    ("given", "columns", "fault", "told"),
    [
        ("no positive event", {"likes": pl.lit(False)}, ThinLogError, "none of 500 events is positive"),
        ("one user", {"user": pl.lit(1)}, ThinLogError, "1 of 1 users met 3 items or more"),
        ("a user for each event", {"user": pl.int_range(pl.len())}, ThinLogError, "0 of 500 users met 3 items"),
        ("one item", {"item": pl.lit(1), "topic": pl.lit(1)}, CatalogueError, "1 distinct texts, and 5 are needed"),
    ],
)
def test_a_log_that_cannot_end_in_a_table_is_refused_with_what_is_missing(
    given, columns, fault, told, home, tmp_path, comes_out
):
    with pytest.raises(fault, match=told) as refused:
        ingest(home, tmp_path / "source", interactions(500).with_columns(**columns))
    comes_out("thin logs", f"{given} in 500 rows", str(refused.value))


def test_the_world_of_the_tests_begins_when_they_say():
    assert FIRST.date() == FIRST_DAY
