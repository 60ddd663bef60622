"""Each rule from facts of a log to a setting: by hand, and within its range whatever the log."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignrec_assets.commands.chosen_settings import (
    CatalogueError,
    ThinLogError,
    choose_positive,
    choose_settings,
    met_clusters,
    require_teaching,
)
from alignrec_assets.commands.log_facts import LogFacts
from alignrec_assets.settings.schema import Settings

SETTINGS = Settings()
THIN = LogFacts(
    days=20,
    items=60,
    distinct_texts=60,
    events=500,
    positives=300,
    judged_events=0,
    users=50,
    users_by_items={10: 50},
    ratings={2.0: 200, 4.0: 300},
    impressions=0,
    random_impressions=0,
    placed_impressions=0,
    positive_impressions=0,
    impressions_by_items_before={},
)
THICK = replace(
    THIN,
    days=100,
    items=5_000,
    distinct_texts=5_000,
    events=400_000,
    positives=200_000,
    users=10_000,
    users_by_items={40: 10_000},
)


def chosen(facts, settings=SETTINGS, fixed=()):
    return {each.name: each.value for each in choose_settings(facts, settings, fixed)}


def test_a_thin_log_is_replayed_whole_with_few_clusters_and_no_bar():
    found = chosen(THIN)
    assert found["feedback.source"] == "replay"
    assert found["interests.clusters"] == 8
    assert (found["feedback.minimum_impressions"], found["feedback.minimum_users"]) == (1, 1)
    assert found["feedback.window_days"] == 28  # the 20 days of the log are within
    assert found["novelty.refresh_days"] == 1
    assert found["novelty.maximum_examples"] == SETTINGS.novelty.maximum_examples
    assert found["novelty.most_steps"] == SETTINGS.novelty.most_steps
    assert found["novelty.epochs"] == 30  # one step in a pass
    assert found["alignment.holdout_share"] == 0.5


def test_a_thick_log_has_many_clusters_and_examples_for_each():
    found = chosen(THICK)
    assert found["interests.clusters"] == 64
    assert found["novelty.maximum_examples"] == 7900
    assert found["novelty.epochs"] == 2
    assert found["novelty.most_steps"] == 2 * 124  # ceil(7,900 / 64) batches in a pass
    assert found["feedback.window_days"] == 112  # all 100 days: a first interaction happens once
    assert found["alignment.holdout_share"] == 0.3


def test_random_and_logged_impressions_are_chosen_where_they_are():
    random = replace(THICK, impressions=50_000, random_impressions=50_000)
    assert chosen(random)["feedback.source"] == "random"
    assert chosen(replace(random, placed_impressions=1))["feedback.source"] == "logged"


def test_the_window_holds_five_impressions_of_each_cell():
    # 64 clusters make 2,016 histories and 124,992 cells; five for each are 624,960 impressions, at 10,000 a day.
    random = replace(THICK, impressions=1_000_000, random_impressions=1_000_000)
    assert chosen(random)["feedback.window_days"] == 112
    assert chosen(replace(random, days=40))["feedback.window_days"] == 28
    few = replace(random, impressions=900, random_impressions=900)  # 5 for each of 168 cells, at 9 a day
    assert chosen(few)["feedback.window_days"] == 112


def test_impressions_are_worth_enough_clusters_to_align_with():
    shown = replace(THIN, impressions=2_000, random_impressions=2_000)
    assert chosen(shown)["interests.clusters"] == 12
    assert chosen(replace(shown, impressions=1_999, random_impressions=1_999))["interests.clusters"] == 8
    # 24 clusters have 276 histories and 6,072 cells: 30,360 impressions are 5 for each.
    shown = replace(THICK, impressions=30_360, random_impressions=30_360)
    assert chosen(shown)["interests.clusters"] == 24
    assert chosen(replace(shown, impressions=30_359, random_impressions=30_359))["interests.clusters"] == 20


def test_impressions_of_novel_clusters_alone_count_where_they_are_five_for_each_cell():
    # 12 clusters make 660 cells. Of impressions after one item 11/12 are of novel clusters, after 100 items 1 of 6,017.
    early = replace(THIN, impressions=3_600, random_impressions=3_600, impressions_by_items_before={1: 3_600})
    late = replace(early, impressions_by_items_before={100: 3_600})
    assert (chosen(early)["feedback.exposures"], chosen(late)["feedback.exposures"]) == ("novel", "all")
    assert chosen(replace(early, impressions=3_599, random_impressions=3_599))["feedback.exposures"] == "all"
    assert "feedback.exposures" not in chosen(THIN)  # replayed interactions are all of novel clusters
    both = replace(early, impressions_by_items_before={0: 1_800, 100: 1_800})
    assert chosen(both)["feedback.minimum_impressions"] == chosen(late)["feedback.minimum_impressions"] == 2
    (told,) = (each.reason for each in choose_settings(late, SETTINGS, ()) if each.name == "feedback.exposures")
    estimated = "about 1 of 3,600 impressions are of novel clusters (estimated)"
    assert told == f"{estimated}, for 660 cells or more: too few to go by them alone"


def test_clusters_are_as_many_as_impressions_of_novel_clusters_bear():
    # 24 clusters have 6,072 cells. After 10 items 1 - (23/24)^10 = 35% of the clusters are known.
    shown = replace(THICK, impressions=47_000, random_impressions=47_000, impressions_by_items_before={10: 47_000})
    assert chosen(shown)["interests.clusters"] == 24
    assert chosen(replace(shown, impressions=46_000, random_impressions=46_000))["interests.clusters"] == 20
    assert chosen(replace(shown, impressions_by_items_before={0: 47_000}))["interests.clusters"] == 24


def test_the_reason_for_the_clusters_names_what_binds():
    (told,) = (each.reason for each in choose_settings(THIN, SETTINGS, ()) if each.name == "interests.clusters")
    assert told == "at least 8, though data hardly bear them: 60 items with texts of their own, 20 for each"
    some = replace(THICK, distinct_texts=700)
    (told,) = (each.reason for each in choose_settings(some, SETTINGS, ()) if each.name == "interests.clusters")
    assert told == "as many as data bear: 700 items with texts of their own, 20 for each"
    (told,) = (each.reason for each in choose_settings(THICK, SETTINGS, ()) if each.name == "interests.clusters")
    assert told.startswith("data would bear more")


def test_the_bar_for_a_cell_is_half_the_mean_cell():
    # 12 clusters have 66 histories of 10 other clusters: 660 cells.
    shown = replace(THIN, impressions=4_620, random_impressions=4_620)
    found = chosen(shown)
    assert (found["feedback.minimum_impressions"], found["feedback.minimum_users"]) == (3, 3)


def test_fixed_settings_are_not_chosen_and_the_others_go_by_them():
    settings = Settings.model_validate({"interests": {"clusters": 20}, "feedback": {"source": "logged"}})
    found = chosen(THICK, settings, {"interests.clusters", "feedback.source"})
    assert not {"interests.clusters", "feedback.source"} & found.keys()
    assert found["novelty.maximum_examples"] == 3400
    assert found["feedback.window_days"] == 112  # none of the days has an impression


def test_users_meet_as_many_clusters_as_balls_fill_boxes():
    # One user, 2 items, 2 clusters: 2 (1 - 1/4) = 1.5 clusters are met; a history of one takes 1 / 1 of them.
    facts = replace(THIN, events=2, positives=2, users_by_items={2: 1})
    assert met_clusters(facts, 2, 1) == pytest.approx(0.5)


@given(
    st.integers(5, 10**6),
    st.integers(1, 10**6),
    st.floats(0, 1),
    st.integers(1, 5_000),
    st.integers(1, 3_000),
    st.integers(0, 10**7),
    st.integers(0, 1_000),
)
def test_every_choice_is_a_setting_that_is_accepted_with_a_reason_of_one_line(
    items, users, share, met, days, shown, before
):
    events = users * met
    facts = replace(
        THIN,
        days=days,
        items=items,
        distinct_texts=items,
        events=events,
        positives=int(share * events),
        users=users,
        users_by_items={met: users},
        impressions=shown,
        random_impressions=shown,
        impressions_by_items_before={before: shown},
    )
    found = choose_settings(facts, SETTINGS, ())
    values = {}
    for each in found:
        section, _, key = each.name.partition(".")
        values.setdefault(section, {})[key] = each.value
        assert each.reason
        assert "\n" not in each.reason
    settings = Settings.model_validate(values)
    assert settings.interests.clusters <= min(items, 64)


def test_a_catalogue_of_too_few_texts_is_refused_by_number():
    with pytest.raises(CatalogueError, match="has 60 items with 4 distinct texts, and 5 are needed"):
        chosen(replace(THIN, distinct_texts=4))


def test_a_log_without_a_positive_or_without_users_who_go_on_teaches_nothing():
    require_teaching(THIN, 2)
    with pytest.raises(ThinLogError, match="none of 500 events is positive"):
        require_teaching(replace(THIN, positives=0), 2)
    with pytest.raises(ThinLogError, match=r"1 of 50 users met 3 items or more .*, and 2 are needed"):
        require_teaching(replace(THIN, users_by_items={2: 49, 3: 1}), 2)


def test_a_rule_for_positive_events_is_chosen_only_where_the_default_makes_none():
    assert choose_positive(THIN) is None
    rule, reason = choose_positive(replace(THIN, positives=0))
    assert rule.rating_at_least == 4.0
    assert reason == "60% of 500 ratings are as high, and nothing else tells what pleased"
    rule, reason = choose_positive(replace(THIN, positives=0, ratings={5.0: 500}))
    assert rule.rating_at_least == 5.0
    assert "hardly tell" in reason
    rule, reason = choose_positive(replace(THIN, positives=0, ratings={}))
    assert rule.when_unknown
    assert choose_positive(replace(THIN, positives=0, ratings={}, judged_events=3)) is None
