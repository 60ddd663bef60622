"""F1@k and NDCG@k against hand-computed values, scikit-learn, and brute force over every way to break ties."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from models.evaluation.metrics import discounts, evaluate_ranking, f1_at_k, gini, ndcg_at_k, top_k_credit


def brute_force(predictions, truth, k):
    """Mean overlap and mean DCG over all orders that agree with the predictions, and all that agree with the truth."""

    def orders(values):
        return [p for p in permutations(range(len(values))) if all(np.diff([-values[i] for i in p]) >= 0)]

    predicted, true = orders(predictions), orders(truth)
    overlap = np.mean([len(set(p[:k]) & set(t[:k])) / k for p in predicted for t in true])
    gain = np.mean([sum(truth[i] / np.log2(rank + 2) for rank, i in enumerate(p[:k])) for p in predicted])
    ideal = sum(truth[i] / np.log2(rank + 2) for rank, i in enumerate(true[0][:k]))
    return overlap, gain / ideal if ideal else float("nan")


# Few distinct values, so that ties are the rule.
levels = st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])
tied_cases = st.integers(2, 5).flatmap(
    lambda m: st.tuples(
        st.lists(levels, min_size=m, max_size=m), st.lists(levels, min_size=m, max_size=m), st.integers(1, m)
    )
)
# On a grid: a monotone map in floating point must neither merge nor reverse neighbours.
numbers = st.integers(-1000, 1000).map(lambda n: n / 100)
free_cases = st.integers(2, 12).flatmap(
    lambda m: st.tuples(
        st.lists(numbers, min_size=m, max_size=m),
        st.lists(numbers.map(abs), min_size=m, max_size=m),
        st.integers(1, m),
    )
)


def test_hand_computed():
    truth = np.array([0.5, 0.4, 0.3, 0.0])
    predictions = np.array([0.1, 0.9, 0.8, 0.2])  # ranks clusters 1, 2, 3, 0; the true top 2 are 0 and 1
    assert f1_at_k(predictions, truth, 2) == 0.5
    # (0.4 / 1 + 0.3 / log2 3) / (0.5 / 1 + 0.4 / log2 3)
    assert ndcg_at_k(predictions, truth, 2) == pytest.approx((0.4 + 0.3 * 0.63093) / (0.5 + 0.4 * 0.63093), abs=1e-5)


def test_ties_share_the_places_at_the_boundary():
    np.testing.assert_allclose(top_k_credit(np.array([3.0, 1.0, 1.0, 1.0, 0.0]), 2), [1, 1 / 3, 1 / 3, 1 / 3, 0])
    # Truth: cluster 0 surely, 1 or 2 by a coin. Prediction: clusters 1 and 2. Expected overlap 1/2 + 1/2 of 2.
    assert f1_at_k(np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.9, 0.5, 0.5, 0.1]), 2) == pytest.approx(0.5)


@settings(deadline=None)
@given(tied_cases)
def test_equals_the_mean_over_all_ways_to_break_ties(case):
    predictions, truth, k = np.array(case[0]), np.array(case[1]), case[2]
    overlap, ndcg = brute_force(predictions, truth, k)
    assert f1_at_k(predictions, truth, k) == pytest.approx(overlap)
    assert ndcg_at_k(predictions, truth, k) == pytest.approx(ndcg, nan_ok=True)


@settings(deadline=None)
@given(free_cases)
def test_ndcg_agrees_with_scikit_learn(case):
    predictions, truth, k = np.array(case[0]), np.array(case[1]), case[2]
    if truth.any():
        assert ndcg_at_k(predictions, truth, k) == pytest.approx(ndcg_score([truth], [predictions], k=k))


@settings(deadline=None)
@given(free_cases)
def test_bounds_and_the_perfect_ranking(case):
    predictions, truth, k = np.array(case[0]), np.array(case[1]), case[2]
    assert 0 <= f1_at_k(predictions, truth, k) <= 1 + 1e-12
    if truth.any():
        assert 0 <= ndcg_at_k(predictions, truth, k) <= 1 + 1e-12
        assert ndcg_at_k(truth, truth, k) == pytest.approx(1)
    if len(set(truth)) == len(truth):
        assert f1_at_k(truth, truth, k) == 1


@settings(deadline=None)
@given(free_cases, st.sampled_from([lambda x: 3 * x + 7, np.exp, np.cbrt, np.arctan]))
def test_only_the_order_of_predictions_counts(case, monotone):
    predictions, truth, k = np.array(case[0]), np.array(case[1]), case[2]
    assert f1_at_k(monotone(predictions), truth, k) == pytest.approx(f1_at_k(predictions, truth, k))
    assert ndcg_at_k(monotone(predictions), truth, k) == pytest.approx(ndcg_at_k(predictions, truth, k), nan_ok=True)


@settings(deadline=None)
@given(free_cases, st.randoms(use_true_random=False))
def test_the_order_of_clusters_does_not_count(case, random):
    predictions, truth, k = np.array(case[0]), np.array(case[1]), case[2]
    order = list(range(len(truth)))
    random.shuffle(order)
    assert f1_at_k(predictions[order], truth[order], k) == pytest.approx(f1_at_k(predictions, truth, k))
    assert ndcg_at_k(predictions[order], truth[order], k) == pytest.approx(
        ndcg_at_k(predictions, truth, k), nan_ok=True
    )


def test_constant_predictions_are_the_expectation_of_random_orders():
    truth = np.array([0.7, 0.2, 0.2, 0.05, 0.0])
    constant = np.zeros(5)
    assert f1_at_k(constant, truth, 2) == pytest.approx(2 / 5)
    sampler = np.random.default_rng(0)
    samples = [sampler.random(5) for _ in range(20_000)]
    assert f1_at_k(constant, truth, 2) == pytest.approx(np.mean([f1_at_k(s, truth, 2) for s in samples]), abs=0.01)
    assert ndcg_at_k(constant, truth, 2) == pytest.approx(np.mean([ndcg_at_k(s, truth, 2) for s in samples]), abs=0.01)


def test_only_histories_with_2k_clusters_count():
    truth = [np.array([0.9, 0.1, 0.2]), np.array([0.9, 0.1, 0.2, 0.3])]
    result = evaluate_ranking([-t for t in truth], truth, k=2)
    assert result.histories == 1
    assert np.isnan(result.history_f1[0])
    assert result.f1_at_k == result.history_f1[1] == 0.0
    assert result.ndcg_at_k == result.history_ndcg[1] > 0.0
    assert result.reason is None


def test_figures_are_none_with_a_reason_where_nothing_qualifies():
    for truth in ([], [np.array([0.5, 0.1])]):
        result = evaluate_ranking(truth, truth, k=3)
        assert (result.f1_at_k, result.ndcg_at_k, result.histories) == (None, None, 0)
        assert "has 6 supported clusters" in result.reason


def test_no_gain_leaves_ndcg_undefined_but_not_f1():
    result = evaluate_ranking([np.array([0.1, 0.2])], [np.zeros(2)], k=1)
    assert result.f1_at_k == 0.5
    assert result.ndcg_at_k is None
    assert "positive rate" in result.reason


@pytest.mark.parametrize(
    ("predictions", "truth", "k"),
    [([0.1, float("nan")], [0.1, 0.2], 1), ([0.1], [0.1, 0.2], 1), ([0.1, 0.2], [-0.1, 0.2], 1), ([0.1], [0.1], 0)],
)
def test_broken_input_is_refused(predictions, truth, k):
    with pytest.raises(ValueError, match=r"history 0|k is 0"):
        evaluate_ranking([np.array(predictions)], [np.array(truth)], k)


def test_histories_without_predictions_are_refused():
    with pytest.raises(ValueError, match="argument"):
        evaluate_ranking([np.zeros(2)], [np.zeros(2), np.zeros(2)], k=1)


def test_discounts_by_hand():
    np.testing.assert_allclose(discounts(3), [1.0, 1 / np.log2(3), 0.5])


def test_gini_by_hand_and_by_the_mean_difference():
    assert gini(np.array([5, 5, 5])) == 0
    assert gini(np.array([0, 0, 0, 9])) == pytest.approx(0.75)
    counts = np.random.default_rng(0).integers(0, 50, 30)
    mean_difference = np.abs(counts[:, None] - counts[None, :]).mean()
    assert gini(counts) == pytest.approx(mean_difference / (2 * counts.mean()))


@pytest.mark.parametrize(("sizes", "expected"), [([5, 5, 5], 0.0), ([0, 0, 0, 8], 0.75), ([1, 3], 0.25), ([0, 1], 0.5)])
def test_gini_by_hand(sizes, expected):
    assert gini(np.array(sizes)) == pytest.approx(expected)
