"""The share of the words in a ranking, by hand."""

import numpy as np
import pytest

from models.evaluation.words_share import words_share


def test_the_share_of_the_words_by_hand():
    scores = [np.array([0.0, 2.0, 4.0]), np.array([1.0, 3.0])]
    words = [np.array([0.0, 0.5, 1.0]), np.array([4.0, 0.0])]
    found = words_share(scores, words)
    # Spreads: sqrt(8 / 3) and 1; of the words sqrt(1 / 6) and 2.
    assert found["spread_of_scores"] == pytest.approx(((8 / 3) ** 0.5 + 1) / 2)
    assert found["spread_of_words"] == pytest.approx(((1 / 6) ** 0.5 + 2) / 2)
    assert found["words_share"] == pytest.approx(((1 / 6) ** 0.5 + 2) / ((8 / 3) ** 0.5 + 1))
    # Without the words 0, 1.5, 3 and -3, 3: both in the order of the scores.
    assert found["spearman_without_words"] == pytest.approx(1.0)


def test_a_ranking_that_the_words_turn_around_and_one_that_is_theirs_alone():
    scores = np.array([1.0, 2.0, 3.0])
    turned = words_share([scores], [np.array([0.0, 2.0, 4.0])])  # without them 1, 0, -1
    assert (turned["words_share"], turned["spearman_without_words"]) == (pytest.approx(2.0), pytest.approx(-1.0))
    theirs = words_share([scores], [scores])
    assert (theirs["words_share"], theirs["spearman_without_words"]) == (1.0, None)


def test_nothing_to_rank_has_no_share():
    assert set(words_share([], []).values()) == {None}
    assert words_share([np.zeros(3)], [np.zeros(3)])["words_share"] is None
