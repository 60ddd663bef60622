"""Draws follow the label distribution, streams belong to their history, and selection keeps the best."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from models.candidates.best_of_n import POOL_SCHEMA, draw_pools, novelty_alone, plan_transitions, select_best

DISTRIBUTION = np.array([0.0, 0.4, 0.3, 0.2, 0.07, 0.03, 0.0])


def many_pools(draws, distinct, count=4000):
    """Pools of many histories that share one distribution; the ids of a history only name its stream here."""
    histories = [[index, index + 1] for index in range(count)]
    return draw_pools(np.tile(DISTRIBUTION, (count, 1)), histories, draws, distinct, seed=5)


def drawn(pools):
    counts = pools.group_by("cluster_id").agg(pl.col("draws").sum()).sort("cluster_id")
    return counts["cluster_id"].to_list(), counts["draws"].to_numpy()


def test_draws_follow_the_distribution():
    clusters, counts = drawn(many_pools(draws=15, distinct=1))
    assert clusters == [1, 2, 3, 4, 5]
    assert counts.sum() == 4000 * 15
    assert chisquare(counts, DISTRIBUTION[1:6] * counts.sum()).pvalue > 0.001


def test_the_prolonged_stream_has_the_distribution_of_a_stream_without_end():
    # One draw, then on until two distinct: P(second = b | first = a) = p(b) / (1 - p(a)).
    pools = many_pools(draws=1, distinct=2)
    pairs = pools.group_by("history", maintain_order=True).agg("cluster_id")["cluster_id"].to_list()
    index = [(a, b) for a in range(1, 6) for b in range(1, 6) if a != b]
    expected = np.array([DISTRIBUTION[a] * DISTRIBUTION[b] / (1 - DISTRIBUTION[a]) for a, b in index]) * len(pairs)
    observed = np.array([pairs.count([a, b]) for a, b in index])
    assert observed.sum() == len(pairs)
    assert chisquare(observed, expected).pvalue > 0.001


def test_a_pool_holds_k_distinct_clusters_even_where_one_has_nearly_all_mass():
    distribution = np.array([[1.0 - 3e-15, 1e-15, 1e-15, 1e-15]])
    pool = draw_pools(distribution, [[8, 9]], draws=15, distinct=3, seed=0)
    assert pool["cluster_id"].n_unique() == pool.height == 3
    assert pool["draw_order"].to_list() == [1, 2, 3]


def test_fewer_clusters_with_mass_than_k_fill_the_pool():
    pool = draw_pools(np.array([[0.0, 0.5, 0.5]]), [[0, 7]], draws=4, distinct=3, seed=0)
    assert sorted(pool["cluster_id"]) == [1, 2]


def test_novelty_probability_is_the_normalised_mass():
    pool = draw_pools(np.array([[0.0, 3.0, 1.0]]), [[0, 7]], draws=20, distinct=2, seed=0).sort("cluster_id")
    assert pool["novelty_probability"].to_list() == [0.75, 0.25]


distributions = st.lists(st.lists(st.floats(0.001, 1), min_size=6, max_size=6), min_size=1, max_size=6)


@settings(deadline=None)
@given(distributions, st.integers(0, 3), st.randoms(use_true_random=False))
def test_pools_depend_neither_on_shards_nor_on_order(rows, seed, random):
    histories = [[10 + index, 20 + index] for index in range(len(rows))]
    together = draw_pools(np.array(rows), histories, 10, 2, seed=seed)
    order = list(range(len(rows)))
    random.shuffle(order)
    apart = {
        index: draw_pools(np.array([rows[index]]), [list(reversed(histories[index]))], 10, 2, seed=seed)
        for index in order
    }
    assert together.equals(pl.concat([apart[index] for index in range(len(rows))]))


def test_seeds_differ():
    first, second = (draw_pools(DISTRIBUTION[None, :], [[0, 6]], 15, 3, seed=seed) for seed in (1, 2))
    assert not first.equals(second)


def test_known_stream():
    """A value computed once: the streams of published tables must not move with a new version of the code."""
    pool = draw_pools(DISTRIBUTION[None, :], [[0, 6]], draws=15, distinct=3, seed=1)
    assert pool["cluster_id"].to_list() == [4, 2, 1, 3, 5]
    assert pool["draws"].to_list() == [2, 7, 3, 2, 1]


@pytest.mark.parametrize("row", [[0.0, 0.0], [0.5, float("nan")], [-0.1, 1.1]])
def test_a_row_that_is_no_distribution_is_refused(row):
    with pytest.raises(ValueError, match=r"\[3, 4\].*not a distribution"):
        draw_pools(np.array([row]), [[3, 4]], 5, 1, seed=0)


def scored(*rows):
    return pl.DataFrame(
        [(*row[:3], 1, 0.1, row[3]) for row in rows],
        schema={**POOL_SCHEMA, "alignment_score": pl.Float64},
        orient="row",
    )


def test_selection_by_hand():
    pools = scored(
        ([3, 4], 1, 7, 0.2), ([3, 4], 2, 8, 0.9), ([3, 4], 3, 9, 0.2), ([1, 2], 1, 9, 0.1), ([1, 2], 2, 7, 0.4)
    )
    best = select_best(pools, k=2)
    assert best.select("history", "rank", "cluster_id").rows() == [
        ([3, 4], 1, 8),
        ([3, 4], 2, 7),  # ties with 9, and was drawn first
        ([1, 2], 1, 7),
        ([1, 2], 2, 9),
    ]
    alone = novelty_alone(pools, k=2)
    assert alone["cluster_id"].to_list() == [7, 8, 9, 7]
    assert alone["rank"].to_list() == [1, 2, 1, 2]


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=12), st.integers(1, 6))
def test_nothing_left_out_beats_what_is_kept(scores, k):
    pools = scored(*(([1, 2], order + 1, order + 10, score) for order, score in enumerate(scores)))
    best = select_best(pools, k)
    rest = pools.join(best, on="cluster_id", how="anti")
    assert best["rank"].to_list() == list(range(1, min(k, len(scores)) + 1))
    assert best["alignment_score"].to_list() == sorted(scores, reverse=True)[:k]
    assert rest.filter(pl.col("alignment_score") > best["alignment_score"].min()).is_empty()


def test_a_row_without_a_score_is_refused():
    with pytest.raises(ValueError, match="no alignment_score"):
        select_best(scored(([1, 2], 1, 7, None)), k=1)


def test_a_plan_by_hand():
    pools = scored(([3, 4], 1, 7, 0.2), ([3, 4], 2, 8, 0.9), ([3, 4], 3, 9, 0.3), ([1, 2], 1, 9, 0.1))
    columns = ("history", "rank", "cluster_id", "alignment_score", "propensity")
    aligned = plan_transitions(pools, "alignment_score", k=2)
    assert aligned.select(columns).rows() == [
        ([1, 2], 1, 9, 0.1, 1.0),  # a pool of one: it is served for sure
        ([3, 4], 1, 8, 0.9, 0.5),
        ([3, 4], 2, 9, 0.3, 0.5),
    ]
    assert aligned["novelty_probability"].to_list() == [0.1] * 3
    alone = plan_transitions(pools.with_columns(alignment_score=pl.lit(None, dtype=pl.Float64)), None, k=2)
    assert alone.select("history", "rank", "cluster_id", "propensity").rows() == [
        ([1, 2], 1, 9, 1.0),
        ([3, 4], 1, 7, 0.5),
        ([3, 4], 2, 8, 0.5),
    ]
