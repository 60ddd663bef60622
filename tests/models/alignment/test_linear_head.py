"""The head's start: ridge regression against scikit-learn."""

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge
from support.alignment import LABELS, toy_examples
from support.leaks import moods

from models.alignment import linear_head
from models.alignment.candidate_reader import CandidateReader
from models.alignment.examples import group_by_history
from models.alignment.linear_head import HEAD_FOLDS, HEAD_PENALTIES, fit_head, ridge, working_logits
from models.language.language_model import load_tokenizer, new_scoring_model


def test_fitted_head_is_the_weighted_ridge_solution(tiny_model_folder):
    reader = CandidateReader(
        new_scoring_model(tiny_model_folder, seed=0, layers=None), load_tokenizer(tiny_model_folder), LABELS
    )
    served = group_by_history(toy_examples(), len(LABELS))["train"]
    x = reader.states([row.history for row in served], [row.clusters for row in served]).detach().numpy()
    scores, weights = (np.concatenate([getattr(row, name) for row in served]) for name in ("scores", "weights"))
    target = working_logits(scores, weights)
    penalty = fit_head(reader, served)
    reference = Ridge(alpha=penalty * weights.sum(), fit_intercept=False).fit(x, target, sample_weight=weights)
    np.testing.assert_allclose(reader.heads.detach().numpy()[0], reference.coef_, rtol=1e-3, atol=1e-4)


def test_the_penalty_of_the_head_leaves_whole_histories_out(tiny_model_folder, monkeypatch):
    """The scores of a history are alike here: left out row by row, its other rows would tell them."""
    reader = CandidateReader(
        new_scoring_model(tiny_model_folder, seed=0, layers=None), load_tokenizer(tiny_model_folder), LABELS
    )
    rows = moods(clusters=len(LABELS)).with_columns(
        split=pl.lit("train"), unseen=False, raw_rate=pl.col("score"), impressions=20
    )
    served = group_by_history(rows, len(LABELS))["train"]
    x = reader.read([row.history for row in served], [row.clusters for row in served]).array()
    weights = np.ones(rows.height)
    target = working_logits(np.concatenate([row.scores for row in served]), weights)
    by_history = np.repeat(np.arange(len(served)) % HEAD_FOLDS, [len(row.clusters) for row in served])
    by_row = np.arange(rows.height) % HEAD_FOLDS
    by_rows = ridge(x, target, weights, by_row)
    folds = []
    monkeypatch.setattr(linear_head, "ridge", lambda *given: folds.append(given[-1]) or ridge(*given))
    assert fit_head(reader, served) == ridge(x, target, weights, by_history).penalty > by_rows.penalty
    np.testing.assert_array_equal(folds[0], by_history)


def test_working_logits_are_one_step_towards_the_logistic_fit():
    """From the constant model one least-squares step must lead where one Newton step of the likelihood does."""
    generator = np.random.default_rng(1)
    x = np.c_[generator.normal(size=(50, 2)), np.ones(50)]
    scores, weights = generator.uniform(size=50), generator.uniform(0.5, 2, 50)
    mean = np.average(scores, weights=weights)
    start = np.array([0, 0, np.log(mean / (1 - mean))])
    gradient = x.T @ (weights * (scores - mean))
    newton = start + np.linalg.solve((x * (weights * mean * (1 - mean))[:, None]).T @ x, gradient)
    least_squares = np.linalg.solve((x * weights[:, None]).T @ x, x.T @ (weights * working_logits(scores, weights)))
    np.testing.assert_allclose(least_squares, newton, atol=1e-10)
    for same in (np.zeros(3), np.ones(3)):
        assert np.isfinite(working_logits(same, np.ones(3))).all()


@pytest.mark.parametrize("noise", [0.01, 30.0])
def test_the_penalty_is_the_one_of_least_error_on_left_out_histories(noise):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(120, 30))
    target = x @ generator.normal(size=30) + noise * generator.normal(size=120)
    weights, folds = generator.uniform(0.5, 2, 120), np.arange(120) % 5
    errors = []
    for candidate in HEAD_PENALTIES:
        error = 0.0
        for fold in range(5):
            out, kept = folds == fold, folds != fold
            model = Ridge(alpha=candidate * weights.sum(), fit_intercept=False)
            model.fit(x[kept], target[kept], sample_weight=weights[kept])
            error += weights[out] @ (model.predict(x[out]) - target[out]) ** 2
        errors.append(error)
    found = ridge(x, target, weights, folds)
    assert found.penalty == HEAD_PENALTIES[int(np.argmin(errors))] == (0.0003 if noise < 1 else 1.0)
    assert found.errors.sum() == pytest.approx(min(errors))


def test_two_folds_choose_a_penalty_and_one_takes_the_middle_one():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(120, 3))
    target = x @ np.ones(3)  # without noise the least penalty is the best
    ones = np.ones(120)
    assert ridge(x, target, ones, np.arange(120) % 2).penalty == HEAD_PENALTIES[0]
    found = ridge(x, target, ones, np.zeros(120, dtype=int))
    assert (found.penalty, found.errors.any()) == (0.03, False)
    np.testing.assert_allclose(found.head, np.linalg.solve(x.T @ x / 120 + 0.03 * np.eye(3), x.T @ target / 120))
