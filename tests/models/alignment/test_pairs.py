"""Pairs for the pairwise loss: the better first, ties dropped, each with the probability of the order."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from models.alignment.pairs import pairs_for_loss, sample_pairs


def rows(scores, history=(0, 1), rates=None, width=0.2, split="train"):
    rates = scores if rates is None else rates
    return pl.DataFrame(
        {
            "history": [list(history)] * len(scores),
            "cluster_id": list(range(10, 10 + len(scores))),
            "score": scores,
            "shrunk_rate": rates,
            "lower": [rate - width / 2 for rate in rates],
            "upper": [rate + width / 2 for rate in rates],
            "split": [split] * len(scores),
        }
    )


def test_by_hand():
    pairs = sample_pairs(rows([0.2, 0.6, 0.6]), per_history=10, seed=0)
    assert pairs.select("better_id", "worse_id").rows() == [(11, 10), (12, 10)]  # 11 and 12 tie
    deviation = 0.1 / stats.norm.ppf(0.95)
    expected = stats.norm.cdf(0.4 / (np.sqrt(2) * deviation))
    np.testing.assert_allclose(pairs["probability"], expected)


def test_the_probability_is_how_often_the_order_holds_in_the_posteriors():
    pairs = sample_pairs(rows([0.50, 0.55], width=0.15), per_history=10, seed=0)
    rng = np.random.default_rng(0)
    deviation = 0.075 / stats.norm.ppf(0.95)
    better, worse = rng.normal(0.55, deviation, 200_000), rng.normal(0.50, deviation, 200_000)
    assert pairs["probability"][0] == pytest.approx((better > worse).mean(), abs=0.005)


def test_no_more_than_asked_and_other_histories_change_nothing():
    many = rows([i / 20 for i in range(20)])
    alone = sample_pairs(many, per_history=30, seed=3)
    assert alone.height == 30
    assert alone.select("better_id", "worse_id").is_unique().all()
    with_others = sample_pairs(pl.concat([rows([0.1, 0.9], history=(2, 3), split="test"), many]), 30, seed=3)
    assert with_others.filter(split="train").equals(alone)
    assert not sample_pairs(many, 30, seed=4).equals(alone)


def test_nothing_to_pair():
    assert sample_pairs(rows([0.5, 0.5]), 10, seed=0).is_empty()
    assert sample_pairs(rows([0.5]).clear(), 10, seed=0).columns[:3] == ["history", "better_id", "worse_id"]


def test_pairs_are_of_clusters_that_teach_and_for_the_pairwise_loss_alone():
    examples = rows([0.1, 0.4, 0.9]).with_columns(unseen=pl.col("cluster_id") == 11)
    pairs = pairs_for_loss(examples, "pairwise", per_history=10, seed=0)
    assert pairs.select("better_id", "worse_id").rows() == [(12, 10)]
    none = pairs_for_loss(examples, "pointwise", per_history=10, seed=0)
    assert none.is_empty()
    assert none.schema == pairs.schema
