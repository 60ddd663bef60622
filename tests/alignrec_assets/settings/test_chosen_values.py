"""Settings that ingest chose stand in the file with their reasons, and are told from those that a user set."""

from datetime import date

import pytest

from alignrec_assets.home import Home
from alignrec_assets.settings.chosen_values import Chosen, fixed_settings, write_chosen
from alignrec_assets.settings.sources import load_settings

CLUSTERS = Chosen("interests.clusters", 40, "180 items for each")
ALL_TYPES = (
    CLUSTERS,
    Chosen("feedback.source", "replay", "no impressions"),
    Chosen("calendar.first_day", date(2026, 1, 5), "the first day with a row"),
    Chosen("positive.liked", False, "ratings tell"),
    Chosen("alignment.holdout_share", 0.45, "66 histories"),
)


@pytest.fixture
def home(tmp_path):
    found = Home(tmp_path)
    found.create()
    return found


def test_reasons_stand_beside_the_values_and_the_rest_of_the_file_stays(home):
    home.settings.write_text("# mine\n[interests] # ours\nseed = 2 # lucky\n")
    write_chosen(home, [CLUSTERS, Chosen("feedback.source", "replay", "no impressions")])
    assert home.settings.read_text() == (
        "# mine\n[interests] # ours\nseed = 2 # lucky\nclusters = 40 # ingest chose 40: 180 items for each\n\n"
        '[feedback]\nsource = "replay" # ingest chose "replay": no impressions\n'
    )


def test_what_was_chosen_is_chosen_again_in_its_place(home):
    write_chosen(home, ALL_TYPES)
    assert fixed_settings(home) == set()
    write_chosen(home, [Chosen("interests.clusters", 50, "more items")])
    assert "clusters = 50 # ingest chose 50: more items\n" in home.settings.read_text()
    assert "ingest chose 40" not in home.settings.read_text()
    assert fixed_settings(home) == set()
    assert load_settings(home).interests.clusters == 50


@pytest.mark.parametrize(
    ("name", "written", "changed"),
    [
        ("interests.clusters", "clusters = 40", "clusters = 41"),
        ("feedback.source", 'source = "replay"', 'source = "logged"'),
        ("calendar.first_day", "first_day = 2026-01-05", "first_day = 2026-01-06"),
        ("positive.liked", "liked = false", "liked = true"),
        ("alignment.holdout_share", "holdout_share = 0.45 # ingest chose 0.45: 66 histories", "holdout_share = 0.45"),
    ],
)
def test_a_value_that_the_user_changed_is_fixed_whatever_its_comment_says(home, name, written, changed):
    write_chosen(home, ALL_TYPES)
    text = home.settings.read_text()
    assert written in text
    home.settings.write_text(text.replace(written, changed))
    assert fixed_settings(home) == {name}


def test_the_environment_and_the_profile_fix_settings_too(home, monkeypatch):
    home.settings.write_text('profile = "study"\n')
    monkeypatch.setenv("ALIGNREC_FEEDBACK__WINDOW_DAYS", "3")
    fixed = fixed_settings(home)
    assert {"interests.clusters", "novelty.maximum_examples", "feedback.window_days"} <= fixed
    assert "feedback.source" not in fixed
