"""Items: their distributions, their words, how the catalogue grows, and draws of items by group."""

import datetime as dt
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from support.worlds import FIRST_DAY, numbers

from models.arena.catalogue import (
    DURATION_RANGE_S,
    DURATION_SPREAD,
    GENERAL_TAGS,
    MEDIAN_DURATION_S,
    MIXED_SHARE,
    NEW_SHARE,
    PICK_QUALITY,
    PICK_SPREAD,
    QUALITY_FREEDOM,
    QUALITY_SCALE,
    SECOND_TOPIC_WEIGHT,
    STRAY_WORD_SHARE,
    TITLES,
    Catalogue,
    GroupSampler,
)
from models.arena.topics import load_topics

TOPICS, _ = load_topics(24)
ITEMS = 6_000


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue(TOPICS, ITEMS, FIRST_DAY, seed=3)


def test_the_same_seed_gives_the_same_items_and_another_seed_others():
    one, same, other = (Catalogue(TOPICS, 100, FIRST_DAY, seed) for seed in (1, 1, 2))
    assert one.first_frame.equals(same.first_frame)
    assert (one.quality == same.quality).all()
    assert one.grow(FIRST_DAY).equals(same.grow(FIRST_DAY))
    assert not one.first_frame.equals(other.first_frame)


def test_durations_are_log_normal_clipped_to_their_range(catalogue):
    shortest, longest = DURATION_RANGE_S
    assert catalogue.duration_s.min() == shortest
    assert catalogue.duration_s.max() == longest
    assert (catalogue.duration_s == np.rint(catalogue.duration_s)).all()
    assert (catalogue.first_frame["duration_s"].to_numpy() == catalogue.duration_s).all()
    # Whole seconds: a value n stands for n - 0.5 to n + 0.5; what lies outside the range is at its ends.
    edges = np.array([shortest, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 70, 80, 95, 115, 140, 180, 230, longest]) + 0.5
    log_normal = stats.lognorm(DURATION_SPREAD, scale=MEDIAN_DURATION_S)
    expected = np.diff([0, *log_normal.cdf(edges[:-1]), 1]) * ITEMS
    observed = np.histogram(catalogue.duration_s, [0, *edges])[0]
    assert stats.chisquare(observed, expected).pvalue > 0.001


def test_quality_is_students_t(catalogue):
    assert stats.kstest(catalogue.quality / QUALITY_SCALE, stats.t(QUALITY_FREEDOM).cdf).pvalue > 0.001


def test_the_chance_to_be_picked_is_log_normal_around_a_share_of_the_quality(catalogue):
    noise = (np.log(catalogue.pick_weights) - PICK_QUALITY * catalogue.quality) / PICK_SPREAD
    assert stats.kstest(noise, "norm").pvalue > 0.001
    assert stats.spearmanr(noise, catalogue.quality).pvalue > 0.001


def test_mixed_items_have_their_share_and_topics_are_uniform(catalogue):
    mixed = catalogue.topics[:, 0] != catalogue.topics[:, 1]
    assert stats.binomtest(int(mixed.sum()), ITEMS, MIXED_SHARE).pvalue > 0.001
    assert stats.chisquare(np.bincount(catalogue.main_topics, minlength=24)).pvalue > 0.001
    distance = (catalogue.topics[mixed, 1] - catalogue.topics[mixed, 0]) % 24  # any other topic is as likely as another
    assert stats.chisquare(np.bincount(distance, minlength=24)[1:]).pvalue > 0.001
    assert np.allclose(catalogue.weights, [1 - SECOND_TOPIC_WEIGHT, SECOND_TOPIC_WEIGHT])


def test_the_first_items_are_published_evenly_over_the_ninety_days_before(catalogue):
    midnight = dt.datetime.combine(FIRST_DAY, dt.time(), dt.UTC)
    age = (pl.lit(midnight) - pl.col("published_at")).dt.total_minutes()
    minutes = catalogue.first_frame.select(age).to_series().to_numpy()
    assert minutes.min() >= 1
    assert stats.kstest(minutes / (90 * 24 * 60), "uniform").pvalue > 0.001


def test_new_items_are_poisson_with_ids_that_go_on_and_are_published_the_day_before():
    catalogue = Catalogue(TOPICS, 400, FIRST_DAY, seed=5)
    frames = []
    for number in range(300):
        day = FIRST_DAY + dt.timedelta(days=number)
        before = len(catalogue.item_ids)
        new = catalogue.grow(day)
        assert new["item_id"].to_list() == [f"i{item:07d}" for item in range(before, before + new.height)]
        assert new["published_at"].dt.date().is_in([day - dt.timedelta(days=1)]).all()
        frames.append(new)
    counts = np.array([frame.height for frame in frames])
    mean = NEW_SHARE * 400
    observed = np.bincount(np.minimum(counts, 5), minlength=6)
    poisson = stats.poisson(mean)
    expected = np.append(poisson.pmf(np.arange(5)), poisson.sf(4)) * len(counts)
    assert stats.chisquare(observed, expected).pvalue > 0.001
    everything = pl.concat([catalogue.first_frame, *frames])
    assert everything["item_id"].to_list() == catalogue.item_ids.to_list()
    assert everything["duration_s"].to_list() == catalogue.duration_s.tolist()
    rows = len(catalogue.item_ids)
    assert all(
        len(column) == rows
        for column in (catalogue.topics, catalogue.weights, catalogue.quality, catalogue.pick_weights)
    )


def test_words_come_from_the_topics_of_the_item(catalogue):
    anywhere = {word for topic in TOPICS for word in topic.keywords}
    word = "([a-z]+)"
    titles = [re.compile(title.format(a=word, b=word), re.IGNORECASE) for title in TITLES]
    strays = with_two_words = 0
    for (main, second), row in zip(catalogue.topics, catalogue.first_frame.iter_rows(named=True), strict=True):
        own = {*TOPICS[main].keywords, *TOPICS[second].keywords}
        assert set(row["tags"]) <= own | {TOPICS[main].name} | set(GENERAL_TAGS)
        assert len(set(row["tags"])) == len(row["tags"]) >= 2
        assert row["category"] in {TOPICS[main].family, None}
        if row["description"]:
            assert set(re.findall("[a-z]+", row["description"].removeprefix("About "))) - {"and"} <= own
        first, *rest = next(found.groups() for title in titles if (found := title.fullmatch(row["title"])))
        assert first.lower() in TOPICS[main].keywords
        for word in rest:
            assert word.lower() in anywhere
            with_two_words += 1
            strays += word.lower() not in TOPICS[second].keywords
    share = STRAY_WORD_SHARE * (1 - 1 / len(TOPICS))  # the rest of the borrowed words happen to be of the topic itself
    assert stats.binomtest(strays, with_two_words, share).pvalue > 0.001


def test_under_facets_half_of_the_words_are_those_of_the_facet():
    """So the tags alone, without the names, tell the topic and the facet of every item."""
    topics, _ = load_topics(768)
    catalogue = Catalogue(topics, 3_000, FIRST_DAY, seed=3)
    for (main, other), row in zip(catalogue.topics, catalogue.first_frame.iter_rows(named=True), strict=True):
        of_topic, of_facet = set(topics[main].keywords), set(topics[main].facet_words)
        tags = row["tags"]
        assert tags[0] in of_facet
        assert tags[1] in of_topic
        of_other = topics[other].facet_words if other != main else ()
        assert set(tags[2:]) <= {*of_other, topics[main].name, *GENERAL_TAGS}
        assert row["category"] in {topics[main].family, None}
        if row["description"]:
            found = re.fullmatch(r"About ([a-z]+), ([a-z]+) and ([a-z]+)\.", row["description"]).groups()
            assert found[0] in of_topic
            assert found[1] in of_facet
            assert found[2] in topics[other].keywords


def test_missing_categories_and_descriptions_have_their_shares(catalogue):
    for column, share in (("category", 0.1), ("description", 0.5)):
        assert stats.binomtest(catalogue.first_frame[column].null_count(), ITEMS, share).pvalue > 0.001


def test_ids_are_numbers_in_order(catalogue):
    assert (numbers(catalogue.item_ids) == np.arange(ITEMS)).all()


def test_draws_follow_the_weights_within_each_group():
    rng = np.random.default_rng(0)
    groups = np.array([2, 0, -1, 2, 2, 0, 3, -1, 2])
    weights = np.array([1.0, 3.0, 99.0, 2.0, 4.0, 1.0, 0.5, 99.0, 0.5])
    sampler = GroupSampler(groups, 4, weights)
    assert sampler.sizes.tolist() == [2, 0, 4, 1]
    asked = np.repeat([0, 2, 3], 20_000)
    drawn = sampler.draw(asked, rng)
    assert (groups[drawn] == asked).all()
    for group in (0, 2):
        members = np.flatnonzero(groups == group)
        observed = np.bincount(drawn[asked == group], minlength=len(groups))[members]
        expected = weights[members] / weights[members].sum() * 20_000
        assert stats.chisquare(observed, expected).pvalue > 0.001


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 5), st.floats(1e-6, 1e6)), min_size=1, max_size=40).filter(
        lambda items: any(group >= 0 for group, _ in items)
    ),
    st.integers(0, 2**32 - 1),
)
def test_a_draw_always_belongs_to_the_group_asked_for(items, seed):
    groups = np.array([group for group, _ in items])
    sampler = GroupSampler(groups, 6, np.array([weight for _, weight in items]))
    rng = np.random.default_rng(seed)
    asked = rng.choice(groups[groups >= 0], 50)
    assert (groups[sampler.draw(asked, rng)] == asked).all()


def test_every_topic_has_an_item_and_too_few_items_are_refused():
    topics, _ = load_topics(24)
    assert set(Catalogue(topics, 24, FIRST_DAY, seed=1).main_topics) == set(range(24))
    with pytest.raises(ValueError, match="23 items are too few for 24 topics"):
        Catalogue(topics, 23, FIRST_DAY, seed=1)


def test_an_empty_group_is_refused():
    sampler = GroupSampler(np.array([0, 0, 2, 2]), 4, np.ones(4))
    with pytest.raises(ValueError, match="group 3 holds no item"):
        sampler.draw(np.array([0, 3]), np.random.default_rng(0))
