"""The distribution of best-of-n: against every sequence of draws, against the real selection, and its properties."""

from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.candidates.best_of_n import draw_pools, select_best
from models.candidates.best_of_n_distribution import (
    coverage,
    expected_top_score,
    first_distinct,
    selection_probabilities,
    shortfall,
)


def by_enumeration(p, scores, draws, k):
    """Selection probabilities, expected top score and expected distinct clusters over all N^n sequences."""
    selected, top, distinct = np.zeros(len(p)), 0.0, 0.0
    for sequence in product(range(len(p)), repeat=draws):
        chance = np.prod(p[list(sequence)])
        drawn = sorted(set(sequence), key=lambda cluster: (-scores[cluster], cluster))
        selected[drawn[:k]] += chance
        top += chance * scores[drawn[0]]
        distinct += chance * len(drawn)
    return selected, top, distinct


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 10**6),
)
def test_it_is_the_sum_over_all_sequences(weights, draws, k, seed):
    p = np.array(weights, dtype=float)
    scores = np.random.default_rng(seed).choice([0.1, 0.2, 0.5, 0.9], len(p))
    selected, top, distinct = by_enumeration(p / p.sum(), scores, draws, k)
    np.testing.assert_allclose(selection_probabilities(p, scores, draws, k), selected, atol=1e-12)
    assert expected_top_score(p, scores, draws) == pytest.approx(top)
    assert coverage(p, draws) == pytest.approx(distinct)
    assert shortfall(p, draws, k) == pytest.approx(k - selected.sum(), abs=1e-12)


def test_first_distinct_clusters_follow_every_sequence_of_draws():
    """By hand: a cluster is first with p, and second after another one with p / (1 - that one's)."""
    p = np.array([0.6, 0.3, 0.1, 0.0])
    second = [sum(p[j] * p[i] / (1 - p[j]) for j in range(3) if j != i) for i in range(3)]
    expected = np.append((p[:3] + second) / 2, 0.0)
    found = first_distinct(p * 5, 2, 40_000, seed=1)
    np.testing.assert_allclose(found, expected, atol=0.005)
    np.testing.assert_allclose(first_distinct(p, 9, 10, seed=1), [1 / 3, 1 / 3, 1 / 3, 0.0])


def test_the_real_selection_follows_it():
    generator = np.random.default_rng(3)
    p, scores = generator.dirichlet(np.full(12, 0.5)), generator.uniform(size=12)
    histories = [[100 + index] for index in range(20_000)]  # each with a stream of its own
    pools = draw_pools(np.tile(p, (len(histories), 1)), histories, draws=15, distinct=1, seed=1)
    best = select_best(pools.with_columns(alignment_score=pl.lit(pl.Series(scores)).get(pl.col("cluster_id"))), k=3)
    found = np.bincount(best["cluster_id"].to_numpy(), minlength=12) / len(histories)
    distribution = selection_probabilities(p, scores, draws=15, k=3)
    error = np.sqrt(distribution * (1 - distribution) / len(histories))
    assert (np.abs(found - distribution) <= 4.5 * error + 1e-9).all()
    tops = best.filter(rank=1)["alignment_score"].to_numpy()
    assert tops.mean() == pytest.approx(expected_top_score(p, scores, 15), abs=4 * tops.std() / np.sqrt(len(tops)))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 30), st.integers(1, 40), st.integers(0, 10**6))
def test_more_draws_never_lower_the_top_score_nor_the_coverage(size, draws, seed):
    generator = np.random.default_rng(seed)
    p, scores = generator.dirichlet(np.ones(size)), generator.uniform(size=size)
    assert expected_top_score(p, scores, draws + 1) >= expected_top_score(p, scores, draws) - 1e-12
    assert coverage(p, draws + 1) >= coverage(p, draws)
    selected = selection_probabilities(p, scores, draws, 1)
    assert selected @ scores == pytest.approx(expected_top_score(p, scores, draws))


def test_ever_more_draws_select_the_k_best():
    p, scores = np.array([0.2, 0.5, 0.1, 0.2]), np.array([0.9, 0.1, 0.8, 0.3])
    np.testing.assert_allclose(selection_probabilities(p, scores, 400, 2), [1, 0, 1, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("p", "draws", "k", "message"),
    [
        ([0.0, 0.0], 1, 1, "not a distribution"),
        ([0.5, -0.1], 1, 1, "not a distribution"),
        ([1.0], 0, 1, "0 draws and 1"),
    ],
)
def test_what_is_no_distribution_is_refused(p, draws, k, message):
    with pytest.raises(ValueError, match=message):
        selection_probabilities(np.array(p), np.zeros(len(p)), draws, k)
