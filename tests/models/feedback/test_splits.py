"""Splits by stable hashes."""

import pytest

from models.feedback.splits import split_histories, unseen_clusters


def test_splits_have_their_shares_and_do_not_depend_on_company():
    histories = [[a, b] for a in range(60) for b in range(a)]
    splits = split_histories(histories, 0.1, 0.2, seed=4)
    assert splits.count("validation") / len(splits) == pytest.approx(0.1, abs=0.03)
    assert splits.count("test") / len(splits) == pytest.approx(0.2, abs=0.03)
    assert split_histories([histories[7][::-1]], 0.1, 0.2, seed=4) == [splits[7]]
    assert split_histories(histories, 0.1, 0.2, seed=5) != splits
    with pytest.raises(ValueError, match="no history to train on"):
        split_histories(histories, 0.5, 0.5, seed=0)


def test_without_shares_every_history_teaches():
    assert split_histories([[0, 1], [2, 3]], 0.0, 0.0, seed=1) == ["train", "train"]
    with pytest.raises(ValueError, match="no history to train on"):
        split_histories([[0, 1]], -0.1, 0.5, seed=1)


def test_clusters_kept_from_training_are_a_share_drawn_by_the_seed_whatever_their_order():
    clusters = list(range(40))
    drawn = {seed: unseen_clusters(clusters, 0.25, seed) for seed in range(20)}
    assert all(len(found) == 10 and set(found) <= {*clusters} for found in drawn.values())
    assert unseen_clusters(clusters[::-1], 0.25, 3) == drawn[3]
    counts = [sum(cluster in found for found in drawn.values()) for cluster in clusters]
    assert min(counts) > 0
    assert max(counts) < 15  # each of them about 5 times in 20
