"""Which evaluation makes the best checkpoint."""

from dataclasses import asdict

import numpy as np
import pytest

from models.alignment.checkpoint_selection import (
    ValidationPoint,
    describe,
    is_better,
    lead_of,
    selection_rule,
    validation_point,
)
from models.alignment.examples import ServedHistory
from models.evaluation.ranking_contest import BOOTSTRAP_DRAWS, bootstrap_interval


def point(step, loss, ndcg, lead=None):
    return ValidationPoint(step, None, loss, 0.5, ndcg, lead=lead)


def test_a_later_point_must_rank_better_than_step_0_by_more_than_chance():
    first = point(0, 0.1, 0.70)
    assert not is_better(point(1, 0.1, 0.75, [-0.001, 0.1]), first)
    assert is_better(better := point(2, 9.0, 0.72, [0.001, 0.04]), first)
    assert not is_better(point(3, 0.1, 0.71, [0.001, 0.02]), better)
    assert is_better(point(3, 0.1, 0.73, [0.001, 0.06]), better)
    assert not is_better(point(1, 0.1, 0.75, [0.0, 0.1]), first)  # above 0
    assert is_better(point(1, 0.1, 0.75, [0.001, 0.1]), point(0, 0.1, 0.0))


def test_without_rankings_the_lower_loss_is_better_and_without_any_figure_the_later_point():
    assert is_better(point(1, 0.3, None), point(0, 0.4, None))
    assert not is_better(point(1, 0.4, None), point(0, 0.3, None))
    assert not is_better(point(1, 0.3, None), point(0, 0.3, None))
    assert is_better(point(1, 0.3, None), point(0, None, None))
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


def served(history, clusters, rates):
    """A history whose soft labels are the rates, each with the weight 1."""
    given = np.array(rates)
    ones = np.ones(len(given))
    return ServedHistory(history, clusters, given, ones, given, ones.astype(int), np.empty((0, 2), int), np.empty(0))


def test_a_point_holds_the_figures_of_its_histories_and_their_intervals():
    """k = 1, and the multiplier puts cluster 3 first, which is the best in the first history alone."""
    worse = [0.1, 0.2, 0.23, 0.37, 0.5, 0.59, 0.71]
    rates = [[0.5, 0.8], *([0.8, rate] for rate in worse), [0.5]]
    rows = [served([0, 1], [2, 3][: len(some)], some) for some in rates]
    multipliers = np.array([1.0, 1.0, 1.0, 2.0])
    made, ndcg = validation_point([np.zeros(len(some)) for some in rates], rows, 1, 7, 0.25, multipliers)
    assert made.validation_loss == pytest.approx(np.log(2))  # of an even chance, whatever the soft label
    assert (made.step, made.training_loss, made.histories) == (7, 0.25, 8)  # the last has fewer than 2 clusters
    expected = np.array([1, *(rate / 0.8 for rate in worse)])
    assert (made.f1_at_k, made.ndcg_at_k) == (1 / 8, pytest.approx(expected.mean()))
    assert ndcg == pytest.approx([*expected, np.nan], nan_ok=True)
    assert made.intervals["ndcg_at_k"] == pytest.approx(bootstrap_interval(expected, seed=0))


def test_without_histories_a_point_has_no_figures():
    made, ndcg = validation_point([], [], 1, 7, 0.25, np.ones(2))
    told = {"step": 7, "training_loss": 0.25, "seconds": 0.0, "histories": 0, "intervals": {}}
    unknown = dict.fromkeys(("validation_loss", "f1_at_k", "ndcg_at_k", "spreads", "lead"))
    assert asdict(made) == told | unknown
    assert ndcg.shape == (0,)


def test_the_log_has_the_figures_that_exist():
    assert describe(ValidationPoint(0, None, None, None, None)) == "no figures"
    few = {"f1_at_k": [0.4, 0.6], "ndcg_at_k": [0.6, 0.8]}
    made = ValidationPoint(1, None, 0.3, 0.5, 0.7, histories=9, intervals=few, lead=[-0.001, 0.02])
    ranking = "F1 0.500 (0.400 to 0.600), NDCG 0.700 (0.600 to 0.800)"
    assert describe(made) == f"validation loss 0.300, {ranking}, its lead over step 0 -0.001 to +0.020"


def test_a_rule_other_than_ndcg_is_told_with_its_reason():
    assert selection_rule(point(0, 0.1, 0.7), 4, 3) == ("ndcg_at_k", [])
    why = (
        "none of 4 validation histories has 6 supported clusters: the checkpoint of lowest validation loss was selected"
    )
    assert selection_rule(point(0, 0.1, None), 4, 3) == ("validation_loss", [why])
    nothing = "there are no validation histories: the last step was selected"
    assert selection_rule(point(0, None, None), 0, 3) == ("last_step", [nothing])
