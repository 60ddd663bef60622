"""Drift against a contingency test, by hand, and on drawn feedback."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency

from models.feedback.drift import feedback_drift, rate_drift


def arrays(*values):
    return [np.array(value, dtype=float) for value in values]


def test_one_cluster_equals_the_contingency_test():
    positives_before, before, positives_after, after = arrays([30], [100], [90], [200])
    table = [[30, 70], [90, 110]]
    expected = chi2_contingency(table, correction=False)
    found = rate_drift(positives_before, before, positives_after, after)
    assert found.p_value == pytest.approx(expected.pvalue)
    variance = 0.4 * 0.6 * (1 / 100 + 1 / 200)
    assert found.change == pytest.approx(np.sqrt((0.15**2 / variance - 1) * variance))


def test_several_clusters_add_their_contingency_statistics():
    counts = arrays([10, 40, 0], [50, 80, 20], [30, 20, 5], [60, 90, 0])
    found = rate_drift(*counts)
    statistics = [
        chi2_contingency([[a, n - a], [b, m - b]], correction=False).statistic
        for a, n, b, m in ((10, 50, 30, 60), (40, 80, 20, 90))
    ]
    assert found.clusters == 2  # the third was not served in the second span
    assert found.p_value == pytest.approx(chi2.sf(sum(statistics), 2))


def test_clusters_that_everybody_or_nobody_liked_tell_nothing_and_one_impression_each_a_little():
    found = rate_drift(*arrays([1, 0, 5, 0], [1, 4, 5, 0], [0, 0, 7, 0], [1, 6, 7, 0]))
    assert found.clusters == 1
    assert found.change == pytest.approx(np.sqrt((2 - 1) / 2))  # a difference of 1, with a variance of 1 / 2
    assert rate_drift(*arrays([50], [100], [50], [100])).change == 0.0


def test_a_change_of_drawn_rates_is_found_and_measured_and_chance_is_not():
    rng = np.random.default_rng(0)
    rates = rng.uniform(0.2, 0.6, 40)
    moved = rates + rng.choice([-0.1, 0.1], 40)
    before, after = np.full(40, 4000.0), np.full(40, 1500.0)
    first = rng.binomial(4000, rates).astype(float)
    same = rate_drift(first, before, rng.binomial(1500, rates).astype(float), after)
    other = rate_drift(first, before, rng.binomial(1500, moved).astype(float), after)
    assert same.p_value > 0.01
    assert same.change < 0.01
    assert other.p_value < 1e-6
    assert other.change == pytest.approx(0.1, rel=0.05)


@given(st.lists(st.tuples(*(st.integers(0, 30),) * 4), min_size=1, max_size=8))
def test_never_out_of_bounds_and_the_same_both_ways(cells):
    counts = np.array(cells, dtype=float).T
    before, after = counts[0] + counts[1], counts[2] + counts[3]
    forth = rate_drift(counts[0], before, counts[2], after)
    back = rate_drift(counts[2], after, counts[0], before)
    assert forth == pytest.approx(back)
    assert 0 <= forth.p_value <= 1
    assert forth.change >= 0


def test_without_feedback_there_is_no_drift():
    assert rate_drift(*arrays([0], [0], [3], [5])) == (0.0, 1.0, 0)


def test_counts_of_a_frame_are_compared_by_their_names():
    counts = {"after": [200], "positives_after": [90], "before": [100], "positives_before": [30], "cluster_id": [7]}
    assert feedback_drift(pl.DataFrame(counts)) == rate_drift(*arrays([30], [100], [90], [200]))
