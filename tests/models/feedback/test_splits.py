"""Splits by stable hashes."""

import pytest

from models.feedback.splits import split_histories


def test_splits_have_their_shares_and_do_not_depend_on_company():
    histories = [[a, b] for a in range(60) for b in range(a)]
    splits = split_histories(histories, 0.1, 0.2, seed=4)
    assert splits.count("validation") / len(splits) == pytest.approx(0.1, abs=0.03)
    assert splits.count("test") / len(splits) == pytest.approx(0.2, abs=0.03)
    assert split_histories([histories[7][::-1]], 0.1, 0.2, seed=4) == [splits[7]]
    assert split_histories(histories, 0.1, 0.2, seed=5) != splits
    with pytest.raises(ValueError, match="no history to train on"):
        split_histories(histories, 0.5, 0.5, seed=0)
