"""The feed: how it welcomes, what it shows of what was played, and whose favourites it knows."""

import numpy as np
import pytest
from scipy import stats

from models.arena.feed import FAVOURITES, LEFT_EARLY_WEIGHT, ONBOARDING_PLAYS, PUSH_SPREAD, SHARPNESS, Feed


def new_feed(tastes, seed=0):
    return Feed(np.asarray(tastes, dtype=np.float32), np.random.default_rng(seed))


def test_newcomers_are_welcomed_by_taste_and_by_what_is_promoted():
    tastes = np.random.default_rng(1).normal(size=(50, 30))
    feed = new_feed(tastes)
    assert np.allclose(feed.plays.sum(axis=1), ONBOARDING_PLAYS, rtol=1e-5)
    # What is not taste is one push per topic, the same for all, up to the scale of each user.
    rest = np.log(feed.plays) - tastes
    rest -= rest.mean(axis=1, keepdims=True)
    assert np.allclose(rest, rest[0], atol=1e-4)


def test_the_push_is_log_normal():
    pushes = [np.log(new_feed(np.zeros((1, 96)), seed).plays[0]) for seed in range(20)]
    centred = np.array(pushes) - np.mean(pushes, axis=1, keepdims=True)
    square_sum = (centred**2).sum() / PUSH_SPREAD**2
    assert 0.0005 < stats.chi2(20 * 95).cdf(square_sum) < 0.9995
    scaled = centred.ravel() / (PUSH_SPREAD * np.sqrt(95 / 96))
    assert stats.kstest(scaled, "norm").pvalue > 0.001


def test_topics_are_shown_by_the_sharpened_share_of_plays():
    feed = new_feed(np.zeros((3, 5)))
    feed.plays[:] = [[1, 2, 3, 4, 0], [10, 1, 1, 1, 1], [0, 0, 0, 0, 7]]
    users, places = np.array([1, 0, 2]), np.array([30_000, 20_000, 10])
    shown = feed.topics(users, places, np.random.default_rng(2))
    assert len(shown) == places.sum()
    for user, topics in zip(users, np.split(shown, np.cumsum(places)[:-1]), strict=True):
        sharp = feed.plays[user].astype(np.float64) ** SHARPNESS
        observed, expected = np.bincount(topics, minlength=5), sharp / sharp.sum() * len(topics)
        possible = sharp > 0
        assert observed[~possible].sum() == 0
        if possible.sum() > 1:
            assert stats.chisquare(observed[possible], expected[possible]).pvalue > 0.001


def test_what_was_played_most_is_shown_more_often_than_it_was_played():
    feed = new_feed(np.zeros((1, 4)))
    feed.plays[:] = [4, 2, 1, 1]
    shown = np.bincount(feed.topics(np.array([0]), np.array([40_000]), np.random.default_rng(3)), minlength=4)
    error = np.sqrt(0.5 * 0.5 / 40_000)
    assert shown[0] / shown.sum() > 0.5 + 4 * error


def test_a_play_that_pleased_counts_one_and_another_less():
    feed = new_feed(np.zeros((2, 4)))
    before = feed.plays.copy()
    feed.remember(np.array([0, 0, 0, 1]), np.array([2, 2, 1, 2]), np.array([True, True, False, False]))
    added = [[0, LEFT_EARLY_WEIGHT, 2, 0], [0, 0, LEFT_EARLY_WEIGHT, 0]]
    assert np.allclose(feed.plays - before, added, atol=1e-5)


def test_favourites_are_those_of_the_morning():
    feed = new_feed(np.zeros((2, 6)))
    feed.plays[:] = [[9, 8, 7, 1, 1, 1], [1, 1, 1, 7, 8, 9]]
    feed.morning()
    users, topics = np.repeat([0, 1], 6), np.tile(np.arange(6), 2)
    expected = [True] * 3 + [False] * 6 + [True] * 3
    assert feed.is_favourite(users, topics).tolist() == expected
    feed.remember(np.zeros(50, dtype=int), np.full(50, 5), np.ones(50, dtype=bool))
    assert feed.is_favourite(users, topics).tolist() == expected
    feed.morning()
    assert (
        feed.is_favourite(users, topics).tolist() == [True, True, False, False, False, True] + [False] * 3 + [True] * 3
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_a_newcomer_already_has_favourites(seed):
    feed = new_feed(np.random.default_rng(seed).normal(size=(20, 9)), seed)
    for user in range(20):
        top = set(np.argsort(-feed.plays[user])[:FAVOURITES])
        assert set(np.flatnonzero(feed.is_favourite(np.full(9, user), np.arange(9)))) == top
