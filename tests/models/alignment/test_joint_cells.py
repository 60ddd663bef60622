"""What is known of cells before any fit, by hand."""

import numpy as np
import pytest
from scipy.special import logit

from models.alignment import joint_cells
from models.alignment.examples import ServedHistory
from models.alignment.joint_cells import TINY, JointCells, standards
from models.alignment.linear_head import LEAST_MEAN


def served(history, clusters, rates, weights):
    counts, none = np.ones(len(rates), dtype=np.int64), np.zeros((0, 2), dtype=np.int64)
    rates, weights = np.array(rates), np.array(weights)
    return ServedHistory(history, clusters, rates, weights, rates, counts, none, np.zeros(0))


SERVED = [served([0, 2], [1, 3], [0.5, 0.1], [1.0, 3.0]), served([1, 2], [0], [0.4], [4.0])]


def test_cells_are_rows_whatever_the_clusters_of_their_histories():
    """Clusters 3 and 4 are in no history, and have their columns."""
    cells = JointCells.without_states(SERVED, 5, None)
    expected = np.array([[1, 0, 1, 0, 0], [1, 0, 1, 0, 0], [0, 1, 1, 0, 0]])
    np.testing.assert_array_equal(cells.members.toarray(), expected)
    assert (cells.states.shape, cells.vectors.shape) == ((3, 0), (5, 0))
    assert [*zip(cells.histories, cells.clusters, cells.rates, cells.weights, strict=True)] == [
        (0, 1, 0.5, 1.0),
        (0, 3, 0.1, 3.0),
        (1, 0, 0.4, 4.0),
    ]
    taken = cells.taken(np.array([2, 0]))
    assert taken.clusters.tolist() == [0, 1]
    np.testing.assert_array_equal(taken.members.toarray(), expected[[2, 0]])


def test_of_too_many_cells_those_of_histories_over_all_are_taken(monkeypatch):
    many = [served([place, place + 1], [7, 8], [0.1, 0.2], [1.0, 1.0]) for place in range(6)]
    monkeypatch.setattr(joint_cells, "MOST_CELLS", 5)
    cells = JointCells.without_states(many, 9, None)
    assert cells.members[::2].toarray().argmax(axis=1).tolist() == [0, 3]
    monkeypatch.setattr(joint_cells, "MOST_CELLS", 1)
    assert len(JointCells.without_states(many, 9, None).clusters) == 2  # one history at least
    monkeypatch.setattr(joint_cells, "MOST_CELLS", 12)
    assert len(JointCells.without_states(many, 9, None).clusters) == 12


def test_the_affinities_of_a_cell_are_those_of_its_members_with_its_cluster():
    affinity = np.arange(25.0).reshape(5, 5)
    found = JointCells.without_states(SERVED, 5, None).affinities(affinity)
    assert found.tolist() == [1 + 11, 3 + 13, 5 + 10]


def test_the_mean_rate_has_log_odds_even_where_it_is_0_or_1():
    assert JointCells.without_states(SERVED, 5, None).mean_log_odds() == pytest.approx(logit((0.5 + 0.3 + 1.6) / 8))
    for rate, mean in ((0.0, LEAST_MEAN), (1.0, 1 - LEAST_MEAN)):
        cells = JointCells.without_states([served([0, 2], [1], [rate], [2.0])], 5, None)
        assert cells.mean_log_odds() == pytest.approx(logit(mean))


def test_columns_share_the_spread_of_a_head_and_one_that_never_varies_has_a_scale_above_0():
    x = np.array([[1.0, 7.0], [7.0, 7.0]])
    middle, scale = standards(x, np.array([2.0, 1.0]))
    np.testing.assert_allclose(middle, [3.0, 7.0])
    np.testing.assert_allclose(scale, [np.sqrt(8 * 2) + TINY, TINY])  # a weighted variance of 8
