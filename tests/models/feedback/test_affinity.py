"""Predictors on ids: against scikit-learn, against what they were made of, and on clusters never served."""

from functools import partial
from itertools import combinations

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.linear_model import Ridge
from support.leaks import moods

from models.feedback.affinity import (
    FOLDS,
    PENALTIES,
    RANK,
    AdditiveAffinity,
    Factorisation,
    Rows,
    fit_additive,
    fit_factors,
    left_out_scores,
)

CLUSTERS = 12


def additive_world(seed=0, noise=0.02, rank=None):
    """Scores that are a bias plus affinities of the members of the history; cluster 11 is never served."""
    rng = np.random.default_rng(seed)
    bias = rng.uniform(0.3, 0.6, CLUSTERS)
    affinity = rng.normal(0, 0.08, (CLUSTERS, CLUSTERS))
    if rank is not None:
        affinity = rng.normal(0, 0.25, (CLUSTERS, rank)) @ rng.normal(0, 0.25, (rank, CLUSTERS))
    rows = []
    for a, b in combinations(range(CLUSTERS), 2):
        for cluster in range(CLUSTERS - 1):
            if cluster not in (a, b) and rng.random() < 0.8:
                score = bias[cluster] + affinity[a, cluster] + affinity[b, cluster] + rng.normal(0, noise)
                rows.append(([a, b], cluster, score, rng.uniform(1, 5)))
    frame = pl.DataFrame(rows, schema=["history", "cluster_id", "score", "weight"], orient="row")
    return frame, bias, affinity


def test_each_cluster_is_a_weighted_ridge_regression():
    frame, *_ = additive_world()
    data = Rows(frame, CLUSTERS)
    bias, affinity = fit_additive(data, np.ones(frame.height, dtype=bool), 3.0)
    rows = data.cluster == 4
    x = data.members[data.history[rows]].toarray()
    reference = Ridge(alpha=3.0, fit_intercept=False).fit(
        x, data.score[rows] - bias[4], sample_weight=data.weight[rows]
    )
    np.testing.assert_allclose(affinity[:, 4], reference.coef_, atol=1e-10)


@pytest.mark.parametrize(("rows", "step"), [(None, 37), (40, 3)])  # of few rows, directions of the affinities are weak
def test_a_history_is_left_out_exactly(rows, step):
    frame, *_ = additive_world(noise=0.2)
    frame = frame if rows is None else frame.sample(rows, seed=4)
    data = Rows(frame, CLUSTERS)
    found = left_out_scores(data)
    for row in range(0, frame.height, step):
        others = data.history != data.history[row]
        for index, penalty in enumerate(PENALTIES):
            bias, affinity = fit_additive(data, others, penalty)
            history, cluster = data.history[row], data.cluster[row]
            expected = bias[cluster] + (data.members @ affinity)[history, cluster]
            assert found[index, row] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("rows", [1, 2])
def test_few_histories_are_left_out_too(rows):
    frame = pl.DataFrame({"history": [[0, 1], [0, 2]], "cluster_id": [5, 6], "score": [0.2, 0.6], "weight": [1.0, 3.0]})
    found = left_out_scores(Rows(frame.head(rows), CLUSTERS))
    expected = [[0.0], [0.6, 0.2]][rows - 1]  # the mean of the others, 0 of none: their clusters have no other row
    np.testing.assert_allclose(found, [expected] * len(PENALTIES), atol=1e-12)


@pytest.mark.parametrize(("predictor", "rank"), [(AdditiveAffinity.fit, None), (partial(Factorisation, seed=0), 2)])
def test_what_was_left_out_is_predicted(predictor, rank):
    frame, bias, affinity = additive_world(rank=rank)
    held_out = pl.Series([sum(history) % 4 == 0 for history in frame["history"].to_list()])
    model = predictor(frame.filter(~held_out), CLUSTERS)
    test = frame.filter(held_out & (pl.col("cluster_id") < CLUSTERS - 1))
    found = np.concatenate(model.scores(test["history"].to_list(), [[c] for c in test["cluster_id"].to_list()]))
    truth = [bias[c] + affinity[list(h), c].sum() for h, c in test.select("history", "cluster_id").iter_rows()]
    assert np.corrcoef(found, truth)[0, 1] > 0.9


def test_the_unit_of_the_weights_does_not_count():
    frame, *_ = additive_world()
    one, seven = (AdditiveAffinity.fit(frame.with_columns(pl.col("weight") * unit), CLUSTERS) for unit in (1, 7))
    np.testing.assert_allclose(one.affinity, seven.affinity, atol=1e-12)


def test_noise_asks_for_a_stronger_penalty():
    quiet, loud = (AdditiveAffinity.fit(additive_world(noise=noise)[0], CLUSTERS).penalty for noise in (0.01, 2.0))
    assert quiet < loud


def test_what_a_history_is_predicted_without_it_does_not_follow_its_own_rows():
    frame, *_ = additive_world()
    own = frame["history"].list.sum() == 1  # of clusters 0 and 1
    other = frame.with_columns(score=pl.when(own).then(pl.col("score") + 0.05).otherwise("score"))
    first, second = (AdditiveAffinity.fit(rows, CLUSTERS) for rows in (frame, other))
    assert first.penalty == second.penalty
    np.testing.assert_allclose(first.left_out[own], second.left_out[own], rtol=0, atol=1e-12)  # its rows cancel out
    assert np.abs(first.left_out[~own] - second.left_out[~own]).max() > 1e-4


def test_factors_that_tell_a_history_from_its_own_rows_alone_are_penalised():
    """Left out row by row, a history would be known from its other rows, and the penalty would be weak."""
    assert Factorisation(moods(), CLUSTERS, seed=0).penalty >= 10


def test_a_cluster_never_served_gets_the_mean_whatever_the_history():
    frame, *_ = additive_world()
    mean = np.average(frame["score"], weights=frame["weight"])
    for model in (AdditiveAffinity.fit(frame, CLUSTERS), Factorisation(frame, CLUSTERS, seed=0)):
        scores = np.concatenate(model.scores([[0, 1], [5, 6]], [[11], [11]]))
        np.testing.assert_allclose(scores, mean, atol=2e-3)


def test_factors_have_a_gradient_that_leads_down():
    frame, *_ = additive_world(rank=2)
    data = Rows(frame, CLUSTERS)
    everything = np.ones(frame.height, dtype=bool)
    bias, left, right = fit_factors(data, everything, 1.0, seed=0)
    assert left.shape == right.shape == (CLUSTERS, RANK)

    def loss(left, right):
        error = bias[data.cluster] + np.einsum("nr,nr->n", (data.members @ left)[data.history], right[data.cluster])
        return data.weight @ (error - data.score) ** 2 + (left**2).sum() + (right**2).sum()

    found = loss(left, right)
    rng = np.random.default_rng(1)
    for _ in range(20):  # a local minimum: no small step from it leads down
        step = rng.normal(0, 0.01, (2, CLUSTERS, RANK))
        assert loss(left + step[0], right + step[1]) > found - 1e-6
    assert found < loss(np.zeros_like(left), np.zeros_like(right))


def test_factors_lie_where_the_slope_is_zero():
    frame, *_ = additive_world(rank=2, noise=0.1)
    data, penalty = Rows(frame, CLUSTERS), 3.0
    bias, left, right = fit_factors(data, np.ones(frame.height, dtype=bool), penalty, seed=0)
    u, v = (torch.tensor(each, requires_grad=True) for each in (left, right))
    members = torch.tensor(data.members.toarray()[data.history])
    error = torch.tensor(bias[data.cluster] - data.score) + ((members @ u) * v[data.cluster]).sum(1)
    (torch.tensor(data.weight) @ error**2 + penalty * (u**2).sum() + penalty * (v**2).sum()).backward()
    steepest = 2 * penalty * max(np.abs(left).max(), np.abs(right).max())  # what the penalty alone would pull
    assert max(u.grad.abs().max(), v.grad.abs().max()) < 0.01 * steepest


@pytest.mark.parametrize(("noise", "seed"), [(0.1, 0), (0.5, 1)])
def test_the_penalty_of_factors_is_that_of_least_squared_error_on_a_fold_of_histories(noise, seed):
    frame, *_ = additive_world(seed, noise, rank=2)
    data = Rows(frame, CLUSTERS)
    out = np.isin(data.history, range(0, data.members.shape[0], FOLDS))
    errors = []
    for penalty in PENALTIES:
        bias, left, right = fit_factors(data, ~out, penalty, seed=0)
        predicted = bias[data.cluster] + np.einsum("nr,nr->n", (data.members @ left)[data.history], right[data.cluster])
        errors.append((data.weight * (predicted - data.score) ** 2)[out].sum())
    assert Factorisation(frame, CLUSTERS, seed=0).penalty == PENALTIES[int(np.argmin(errors))]


@pytest.mark.parametrize("predictor", [AdditiveAffinity.fit, partial(Factorisation, seed=0)])
def test_several_candidates_have_the_scores_that_each_has_alone(predictor):
    model = predictor(additive_world(rank=2)[0], CLUSTERS)
    (together,) = model.scores([[0, 1]], [[3, 5, 2]])
    alone = np.concatenate(model.scores([[0, 1]] * 3, [[3], [5], [2]]))
    np.testing.assert_allclose(together, alone)
    assert len(set(together.round(6))) == 3


def test_one_candidate_of_each_history_has_the_score_that_it_has_among_others():
    model = AdditiveAffinity.fit(additive_world(rank=2)[0], CLUSTERS)
    histories, clusters = np.array([[0, 1], [2, 5]]), np.array([3, 4])
    expected = model.scores(histories.tolist(), [[2, 3], [4, 1]])
    np.testing.assert_allclose(model.scores_of_rows(histories, clusters), [expected[0][1], expected[1][0]])


def test_no_candidates_no_scores():
    frame, *_ = additive_world()
    assert [len(scores) for scores in AdditiveAffinity.fit(frame, CLUSTERS).scores([[0, 1], [2, 3]], [[], [4]])] == [
        0,
        1,
    ]
