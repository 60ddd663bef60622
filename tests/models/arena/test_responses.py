"""Responses: how often each happens, and what is logged of them holds up to the pipeline's rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.arena.responses import COMPLETED_SHARE, SIGNALS, SKIPPED_SHARE, respond, response_probabilities

PLAYS = 30_000


@pytest.mark.parametrize("start_rate", [0.4, 1.0])
def test_each_signal_happens_as_often_as_its_probability_says(start_rate):
    rng = np.random.default_rng(5)
    squares = cells = 0
    for log_odds in (-4.0, -2.0, -0.5, 1.0, 4.0):
        for duration_s in (10.0, 60.0, 300.0):
            arrays = np.full(PLAYS, log_odds), np.full(PLAYS, duration_s)
            drawn = respond(*arrays, start_rate, 0.5, rng)
            probabilities = response_probabilities(np.array(log_odds), np.array(duration_s), start_rate, SIGNALS)
            assert set(probabilities) == set(SIGNALS)
            for signal, probability in probabilities.items():
                observed, error = getattr(drawn, signal).sum(), np.sqrt(PLAYS * probability * (1 - probability))
                # One more where almost nothing is expected: there counts are too few to be normal.
                assert abs(observed - PLAYS * probability) <= 4 * error + 1, (signal, log_odds, duration_s)
                if error > 5:
                    squares += ((observed - PLAYS * probability) / error) ** 2
                    cells += 1
            positive = 1 / (1 + np.exp(-log_odds))
            started = positive + (1 - positive) * start_rate
            assert abs(drawn.started.mean() - started) <= 4 * np.sqrt(started * (1 - started) / PLAYS)
    assert cells > 50
    # Signals of one cell depend on one another; all the same no sum of squares is far above their number.
    assert squares < stats.chi2(cells).ppf(0.999)


def test_probabilities_by_hand():
    def sigmoid(log_odds):
        return 1 / (1 + np.exp(-log_odds))

    found = response_probabilities(np.array(0.0), np.array(60.0), 0.4, SIGNALS)
    liked = sigmoid(-3.4)
    assert np.isclose(found["positive"], 0.5)
    assert np.isclose(found["liked"], 0.5 * liked)
    assert np.isclose(found["shared"], 0.5 * sigmoid(-5.4))
    assert np.isclose(found["completed"], 0.5 * (1 - 0.2 * liked) * sigmoid(0.4))
    assert np.isclose(found["skipped"], 0.5 * 0.4 * sigmoid(-0.9))
    longer = response_probabilities(np.array(2.0), np.array(120.0), 1.0, SIGNALS)
    liked = sigmoid(-3.4 + 1.2)
    finished = sigmoid(0.4 + 0.6 - 0.7 * np.log(2))
    assert np.isclose(longer["completed"], sigmoid(2.0) * (1 - 0.2 * liked) * finished)
    assert np.isclose(longer["shared"], sigmoid(2.0) * sigmoid(-5.4 + 1.2))
    assert np.isclose(longer["skipped"], (1 - sigmoid(2.0)) * sigmoid(-0.9 - 1.2))


@settings(max_examples=60, deadline=None)
@given(
    positive_share=st.floats(0.11, 0.94),
    log_odds=st.floats(-5, 6),
    start_rate=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_pipelines_rule_finds_every_positive_play_again(positive_share, log_odds, start_rate, seed):
    rng = np.random.default_rng(seed)
    duration_s = rng.integers(10, 301, 2_000).astype(np.float64)
    drawn = respond(np.full(2_000, log_odds), duration_s, start_rate, positive_share, rng)
    for rule in (drawn.watch_s >= positive_share * duration_s, drawn.watch_s / duration_s >= positive_share):
        assert ((rule | drawn.liked) == drawn.positive)[drawn.started].all()
    assert (drawn.watch_s[drawn.completed] >= COMPLETED_SHARE * duration_s[drawn.completed]).all()
    assert (drawn.watch_s[drawn.skipped] < SKIPPED_SHARE * duration_s[drawn.skipped]).all()
    assert (drawn.watch_s <= duration_s).all()
    assert (drawn.watch_s >= 0).all()
    assert np.allclose(drawn.watch_s * 10, np.rint(drawn.watch_s * 10))  # logged in tenths of a second
    for signal in ("liked", "shared", "completed"):
        assert not (getattr(drawn, signal) & ~drawn.positive).any()
    assert not (drawn.skipped & drawn.positive).any()


def test_what_is_not_started_leaves_no_trace():
    drawn = respond(np.full(5_000, -1.0), np.full(5_000, 50.0), 0.3, 0.5, np.random.default_rng(1))
    silent = ~drawn.started
    assert silent.sum() > 1_000
    assert (drawn.watch_s[silent] == 0).all()
    for signal in SIGNALS:
        assert not getattr(drawn, signal)[silent].any()


def test_some_liked_plays_are_left_early_and_are_positive_by_the_like_alone():
    drawn = respond(np.full(50_000, 3.0), np.full(50_000, 50.0), 1.0, 0.5, np.random.default_rng(2))
    left = drawn.liked & (drawn.watch_s < 25)
    assert stats.binomtest(int(left.sum()), int(drawn.liked.sum()), 0.2).pvalue > 0.001


def test_the_same_chance_gives_the_same_responses():
    one, same = (
        respond(np.zeros(100), np.full(100, 50.0), 0.4, 0.5, np.random.default_rng(seed)).watch_s for seed in (3, 3)
    )
    assert (one == same).all()
