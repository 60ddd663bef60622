"""Moods: sessions per day, satisfaction that brings users back, interests that grow, attention that tires."""

import numpy as np
import pytest
from scipy import stats

from models.arena.mood import (
    GROWTH,
    GROWTH_PLAYS,
    MOST_SESSIONS,
    NEUTRAL_SATISFACTION,
    RECOVERY,
    RETURN_LOG_ODDS,
    SATISFACTION_MEMORY,
    TIRING,
    TIRING_PLAYS,
    Mood,
    Temper,
)

USERS = 40_000


def poisson_cut(rate):
    """Probabilities of 0 to MOST_SESSIONS sessions."""
    poisson = stats.poisson(rate)
    return np.append(poisson.pmf(np.arange(MOST_SESSIONS)), poisson.sf(MOST_SESSIONS - 1))


def counts_match(observed, probabilities):
    """Chi-square test; what is expected less than five times is put together with its neighbour."""
    expected = probabilities * observed.sum()
    rare = expected < 5
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    keep = expected > 0
    assert observed[~keep].sum() == 0
    return stats.chisquare(observed[keep], expected[keep]).pvalue > 0.001


@pytest.mark.parametrize("rate", [0.05, 0.5, 2.0, 6.0])
@pytest.mark.parametrize("returning", [False, True])
def test_at_neutral_satisfaction_sessions_are_poisson_cut_at_the_most_of_a_day(rate, returning):
    mood = Mood(np.full(USERS, rate), 2, Temper(returning=returning))
    sessions = mood.sessions_today(np.random.default_rng(1))
    assert counts_match(np.bincount(sessions, minlength=MOST_SESSIONS + 1), poisson_cut(rate))


def test_users_come_at_their_own_rates():
    rates = np.repeat([0.1, 1.0, 3.0], USERS)
    sessions = Mood(rates, 2, Temper()).sessions_today(np.random.default_rng(2)).reshape(3, USERS)
    for found, rate in zip(sessions, (0.1, 1.0, 3.0), strict=True):
        cut = poisson_cut(rate)
        mean = cut @ np.arange(MOST_SESSIONS + 1)
        spread = np.sqrt(cut @ np.arange(MOST_SESSIONS + 1) ** 2 - mean**2)
        assert abs(found.mean() - mean) < 4 * spread / np.sqrt(USERS)


@pytest.mark.parametrize("satisfaction", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("rate", [0.2, 1.5])
def test_satisfaction_moves_the_log_odds_of_coming_and_nothing_else(satisfaction, rate):
    mood = Mood(np.full(USERS, rate), 2, Temper())
    mood.satisfaction[:] = satisfaction
    sessions = mood.sessions_today(np.random.default_rng(3))
    usual = 1 - np.exp(-rate)
    odds = usual / (1 - usual) * np.exp(RETURN_LOG_ODDS * (satisfaction - NEUTRAL_SATISFACTION))
    assert stats.binomtest(int((sessions > 0).sum()), USERS, odds / (1 + odds)).pvalue > 0.001
    of_those_who_came = np.bincount(sessions, minlength=MOST_SESSIONS + 1)[1:]
    assert counts_match(of_those_who_came, poisson_cut(rate)[1:] / usual)


def test_satisfaction_can_be_switched_off():
    mood = Mood(np.full(USERS, 0.5), 2, Temper(returning=False))
    mood.satisfaction[:] = 1.0
    sessions = mood.sessions_today(np.random.default_rng(4))
    assert counts_match(np.bincount(sessions, minlength=MOST_SESSIONS + 1), poisson_cut(0.5))


def test_interests_grow_with_what_pleased_by_hand():
    mood = Mood(np.ones(2), 3, Temper())
    users, topics = np.array([0, 0, 0, 1]), np.array([1, 1, 2, 0])  # one topic twice in the same call
    mood.play(users, topics, np.array([True, True, False, True]))
    expected = [[0.0, GROWTH * (1 - np.exp(-2 / GROWTH_PLAYS)), 0.0], [GROWTH * (1 - np.exp(-1 / GROWTH_PLAYS)), 0, 0]]
    everyone, everything = np.repeat([0, 1], 3), np.tile([0, 1, 2], 2)
    assert np.allclose(mood.grown(everyone, everything), np.ravel(expected))
    mood.sleep()  # does not touch what has grown
    assert np.allclose(mood.grown(everyone, everything), np.ravel(expected))
    mood.play(np.zeros(2_000, dtype=int), np.ones(2_000, dtype=int), np.ones(2_000, dtype=bool))
    assert np.isclose(mood.grown(np.array([0]), np.array([1]))[0], GROWTH)


def test_attention_tires_of_every_play_and_half_of_it_is_left_after_a_night():
    mood = Mood(np.ones(2), 3, Temper())
    mood.play(np.array([0, 0, 1]), np.array([1, 1, 2]), np.array([True, False, False]))
    users, topics = np.array([0, 1, 1]), np.array([1, 2, 0])

    def tired_by(*plays):
        return [TIRING * (1 - np.exp(-count / TIRING_PLAYS)) for count in plays]

    assert np.allclose(mood.tiredness(users, topics), tired_by(2, 1, 0))
    mood.sleep()
    assert np.allclose(mood.tiredness(users, topics), tired_by(2 * RECOVERY, RECOVERY, 0))
    mood.play(np.array([0]), np.array([1]), np.array([False]))
    mood.sleep()
    assert np.allclose(mood.tiredness(users, topics), tired_by((2 * RECOVERY + 1) * RECOVERY, RECOVERY**2, 0))
    assert RECOVERY == 0.5


def test_growing_and_tiring_can_be_switched_off_one_by_one():
    plays = np.zeros(5, dtype=int), np.zeros(5, dtype=int), np.ones(5, dtype=bool)
    here = np.array([0]), np.array([0])
    for growing in (True, False):
        for tiring in (True, False):
            mood = Mood(np.ones(1), 1, Temper(growing=growing, tiring=tiring))
            mood.play(*plays)
            assert (mood.grown(*here)[0] > 0) == growing
            assert (mood.tiredness(*here)[0] > 0) == tiring


def test_satisfaction_is_a_moving_share_that_forgets_those_who_stay_away():
    mood = Mood(np.ones(3), 2, Temper())
    assert (mood.satisfaction == NEUTRAL_SATISFACTION).all()
    mood.play(np.array([0, 0, 0, 0, 1]), np.array([0, 1, 0, 0, 1]), np.array([True, False, False, False, True]))
    mood.sleep()
    pleased = SATISFACTION_MEMORY * NEUTRAL_SATISFACTION + (1 - SATISFACTION_MEMORY)
    left = SATISFACTION_MEMORY * NEUTRAL_SATISFACTION + (1 - SATISFACTION_MEMORY) * 0.25
    assert np.allclose(mood.satisfaction, [left, pleased, NEUTRAL_SATISFACTION])
    mood.sleep()  # nobody came: everybody is half-way back to neutral, by the same memory
    back = [SATISFACTION_MEMORY * value + (1 - SATISFACTION_MEMORY) * NEUTRAL_SATISFACTION for value in (left, pleased)]
    assert np.allclose(mood.satisfaction, [*back, NEUTRAL_SATISFACTION])
