"""Memorisation by hand."""

import pytest

from models.evaluation.memorisation import memorisation


def test_memorisation_by_hand():
    trained = [((0, 1), 2), ((0, 1), 3), ((4, 5), 0)]
    # (0, 1) repeats 2 and 3 in three of four draws; (4, 5) never; (1, 2) is no training history and does not count.
    share = memorisation([[1, 0], [4, 5], [1, 2]], [[2, 3, 2, 5], [1, 2, 3, 1], [2, 3, 0, 0]], trained)
    assert share == pytest.approx(3 / 8)


def test_memorisation_without_a_training_history_is_no_number():
    assert memorisation([[1, 2]], [[0]], [((0, 1), 2)]) is None


def test_histories_without_draws_are_refused():
    with pytest.raises(ValueError, match="argument"):
        memorisation([[0, 1], [4, 5]], [[2]], [((0, 1), 2)])
