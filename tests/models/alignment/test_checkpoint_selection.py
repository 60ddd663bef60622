"""Which evaluation makes the best checkpoint."""

import numpy as np
import pytest

from models.alignment.checkpoint_selection import ValidationPoint, is_better, lead_of
from models.evaluation.ranking_contest import BOOTSTRAP_DRAWS, bootstrap_interval


def point(step, loss, ndcg, lead=None):
    return ValidationPoint(step, None, loss, 0.5, ndcg, lead=lead)


def test_a_later_point_must_rank_better_than_step_0_by_more_than_chance():
    first = point(0, 0.1, 0.70)
    assert not is_better(point(1, 0.1, 0.75, [-0.001, 0.1]), first)
    assert is_better(better := point(2, 9.0, 0.72, [0.001, 0.04]), first)
    assert not is_better(point(3, 0.1, 0.71, [0.001, 0.02]), better)
    assert is_better(point(3, 0.1, 0.73, [0.001, 0.06]), better)


def test_without_rankings_the_lower_loss_is_better_and_without_any_figure_the_later_point():
    assert is_better(point(1, 0.3, None), point(0, 0.4, None))
    assert not is_better(point(1, 0.4, None), point(0, 0.3, None))
    assert is_better(point(2, None, None), point(1, None, None))


def test_the_lead_is_of_the_histories_that_qualify():
    first, later = np.array([0.5, np.nan, 0.6, 0.2]), np.array([0.7, np.nan, 0.6, 0.1])
    assert lead_of(later, first, 1) == pytest.approx(bootstrap_interval(np.array([0.2, 0.0, -0.1]), seed=0))
    assert lead_of(np.full(2, np.nan), np.full(2, np.nan), 1) is None


def test_the_more_looks_the_wider_the_interval_of_each_so_that_all_hold_together():
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.05, (300, 3, 40))  # trainings that change nothing, three looks each
    lucky = [any(lead_of(each, np.zeros(40), 3)[0] > 0 for each in looks) for looks in noise]
    alone = [any(lead_of(each, np.zeros(40), 1)[0] > 0 for each in looks) for looks in noise]
    assert np.mean(lucky) <= 0.06 < np.mean(alone)
    low, high = lead_of(noise[0, 0], np.zeros(40), 3)
    means = noise[0, 0][np.random.default_rng(0).integers(40, size=(BOOTSTRAP_DRAWS, 40))].mean(axis=1)
    assert [low, high] == pytest.approx(np.quantile(means, [0.05 / 6, 1 - 0.05 / 6]))
