"""Laws by counting, against hand-computed shares, an independent fit, and each other."""

from itertools import product

import numpy as np
import polars as pl
import pytest
import torch

from models.novelty.transitions import TransitionCounts, mean_loss
from models.novelty.yardsticks import (
    BACK_OFFS,
    RANK,
    RIDGES,
    CoOccurrence,
    Factorisation,
    Popularity,
    fit_yardsticks,
    uniform,
)

SCHEMA = {"history": pl.List(pl.Int64), "cluster_id": pl.Int64}


def frame(rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


ROWS = frame([([0, 1], 2), ([0, 1], 2), ([0, 1], 3), ([0, 4], 3), ([2, 3], 4)])
COUNTED = TransitionCounts.of(ROWS, 5)


def shares(log_p):
    return np.exp(log_p)


def test_uniform_and_popularity_by_hand():
    assert shares(uniform([(1, 3)], 5))[0] == pytest.approx([1 / 3, 0, 1 / 3, 0, 1 / 3])
    popular = np.array([1, 1, 3, 3, 2]) / 10  # one more to each
    expected = np.where([True, False, True, True, False], popular, 0) / (popular[[0, 2, 3]].sum())
    assert shares(Popularity(COUNTED)([(1, 4)]))[0] == pytest.approx(expected)


def test_cooccurrence_backs_off_from_the_history_to_its_members_to_popularity():
    popular = np.array([1, 1, 3, 3, 2]) / 10
    after = {0: np.array([0, 0, 2, 2, 0]), 1: np.array([0, 0, 2, 1, 0]), 4: np.array([0, 0, 0, 1, 0])}
    of_member = {member: (counts + 2 * popular) / (counts.sum() + 2) for member, counts in after.items()}

    def expected(history, own):
        members = (of_member[history[0]] + of_member[history[1]]) / 2
        found = (np.array(own) + 6 * members) / (sum(own) + 6)
        found[list(history)] = 0
        return found / found.sum()

    law = CoOccurrence(COUNTED, of_popularity=2, of_members=6)
    assert shares(law([(1, 0)]))[0] == pytest.approx(expected((0, 1), [0, 0, 2, 1, 0]))
    assert shares(law([(1, 4)]))[0] == pytest.approx(expected((1, 4), [0] * 5))  # never seen together


def test_scores_far_from_0_and_from_each_other_have_finite_losses():
    rows = frame([([0, 1], 2), ([3, 4], 2)])
    (block,) = TransitionCounts.of(rows, 5).blocks
    scores = np.array([[0, 0, 300, 301, 0], [0, 1, 0, 0, 0]], dtype=np.float32)
    loss, _ = block.loss_and_excess(scores.copy())
    expected = np.log(np.exp(-300) + 1 + np.e) + np.log(1 + np.e + 1)
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("at_once", [10_000, 2])
def test_factorisation_is_the_most_probable_one(at_once, monkeypatch):
    monkeypatch.setattr("models.novelty.transitions.ROWS_AT_ONCE", at_once)
    rows = frame([([0, 1], 2), ([0, 1], 3), ([0, 2], 3), ([3, 4], 1), ([1, 4], 0)] * 8)
    law = Factorisation(TransitionCounts.of(rows, 5), spread=0.5, seed=1)
    totals = np.bincount(rows["cluster_id"].to_numpy(), minlength=5) + 1.0
    base = torch.tensor(np.log(totals / totals.sum()))
    bias, left, right = (torch.tensor(part).requires_grad_() for part in (law.scores, law.left, law.right))
    value = ((bias - base) ** 2).sum() / 2 + ((left**2).sum() + (right**2).sum()) / (2 * 0.5**2)
    for history, cluster in rows.rows():
        scores = bias + right @ left[history].sum(0)
        value = value - scores[cluster] + torch.logsumexp(scores[[c for c in range(5) if c not in history]], 0)
    value.backward()
    assert max(float(part.grad.abs().max()) for part in (bias, left, right)) < 0.02
    assert left.shape == (5, RANK)
    assert np.abs(law.left @ law.right.T).max() > 0.05
    scores = np.exp(law.scores + (law.left[0] + law.left[4]) @ law.right.T)[[1, 2, 3]]
    assert shares(law([(0, 4)]))[0, [1, 2, 3]] == pytest.approx(scores / scores.sum())


@pytest.fixture(scope="module")
def rows():
    """Affinities on a ring of 8: who likes c likes c + 1, and popular clusters besides."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(900):
        first = int(rng.integers(8))
        weights = np.ones(8)
        weights[(first + 1) % 8] = 8
        weights[0] = 8
        history = sorted({first, (first + 3) % 8})
        weights[history] = 0
        found.append((history, int(rng.choice(8, p=weights / weights.sum()))))
    return frame(found)


@pytest.fixture(scope="module")
def held_out(rows):
    return TransitionCounts.of(rows[600:], 8)


@pytest.fixture(scope="module")
def laws(rows):
    return fit_yardsticks(rows[:500], rows[500:600], 8, seed=1)


def test_every_law_sums_to_one_outside_the_history(laws):
    for name, law in laws.items():
        found = shares(law([(0, 5), (2, 3)]))
        assert found.sum(axis=1) == pytest.approx([1, 1]), name
        assert not found[0, [0, 5]].any()
        assert not found[1, [2, 3]].any()


def test_laws_that_know_the_history_beat_those_that_do_not(laws, held_out):
    losses = {name: mean_loss(law, held_out) for name, law in laws.items()}
    assert losses["uniform"] > losses["popularity"] > max(losses[name] for name in ("cooccurrence", "additive"))
    assert losses["uniform"] == pytest.approx(np.log(6))


KNOWING = ("cooccurrence", "additive", "factorisation")


def test_validation_users_choose_and_both_kinds_are_fitted_to(laws, rows):
    for other in (fit_yardsticks(rows[:500], rows[500:599], 8, 1), fit_yardsticks(rows[1:500], rows[500:600], 8, 1)):
        for name in ("popularity", *KNOWING):
            assert not np.array_equal(other[name]([(0, 5)]), laws[name]([(0, 5)])), name


def test_penalties_are_those_of_least_loss_on_validation_users_fitted_to_the_others(laws, rows):
    taught, validating = TransitionCounts.of(rows[:500], 8), TransitionCounts.of(rows[500:600], 8)
    choices = list(product(BACK_OFFS, BACK_OFFS))
    best = min(choices, key=lambda weights: mean_loss(CoOccurrence(taught, *weights), validating))
    assert laws["cooccurrence"].of_members == best[1]
    assert best[1] != choices[len(choices) // 2][1]  # where nobody validates


def test_where_nobody_validates_every_law_still_stands_with_middle_penalties(rows, held_out):
    lines = []
    laws = fit_yardsticks(rows[:50], rows[:0], 8, 1, lines.append)
    assert laws["cooccurrence"].of_members == BACK_OFFS[len(BACK_OFFS) // 2]
    assert laws["additive"].__self__.spreads.mutual == RIDGES[len(RIDGES) // 2]
    assert all(np.isfinite(mean_loss(law, held_out)) for law in laws.values())
