"""Predictors that compare label embeddings: words that carry the score are found, also for clusters never served."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge
from support.leaks import moods

from models.evaluation.label_regression import FOLDS, PENALTIES, LabelRegression, nearest_label_scores

CLUSTERS, DIMENSIONS = 14, 6


def world(seed=0):
    """Scores follow the first dimension of the offered label and its agreement with the history."""
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(CLUSTERS, DIMENSIONS))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    rows = []
    for a, b in combinations(range(CLUSTERS), 2):
        for cluster in set(range(CLUSTERS)) - {a, b}:
            shown = embeddings[[a, b]].mean(axis=0)
            score = 0.5 + 0.2 * embeddings[cluster, 0] + 0.3 * embeddings[cluster] @ shown + rng.normal(0, 0.02)
            rows.append(([a, b], cluster, score, 1.0))
    return pl.DataFrame(rows, schema=["history", "cluster_id", "score", "weight"], orient="row"), embeddings


def test_clusters_never_served_are_ranked_by_their_words():
    frame, embeddings = world()
    unseen = pl.col("cluster_id") >= 8
    model = LabelRegression(frame.filter(~unseen), embeddings)
    test = frame.filter(unseen)
    found = np.concatenate(model.scores(test["history"].to_list(), [[c] for c in test["cluster_id"].to_list()]))
    assert np.corrcoef(found, test["score"])[0, 1] > 0.8
    assert [len(scores) for scores in model.scores([[0, 1], [2, 3]], [[], [4, 5]])] == [0, 2]


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_weighted_ridge_of_least_error_on_left_out_histories(seed):
    frame, embeddings = world(seed)
    generator = np.random.default_rng(seed)
    weight = generator.uniform(0.1, 5, frame.height) ** 3
    score = frame["score"].to_numpy() + generator.normal(0, 2, frame.height) / np.sqrt(weight)
    frame = frame.with_columns(pl.Series("score", score), pl.Series("weight", weight))
    offered = embeddings[frame["cluster_id"].to_numpy()]
    shown = np.array([embeddings[list(history)].mean(axis=0) for history in frame["history"].to_list()])
    x = np.concatenate([offered, shown, offered * shown], axis=1).astype(np.float32)
    places = {history: at for at, history in enumerate(combinations(range(CLUSTERS), 2))}
    folds = np.array([places[tuple(history)] % FOLDS for history in frame["history"].to_list()])

    def fitted(penalty, rows):
        return Ridge(alpha=penalty).fit(x[rows], score[rows], sample_weight=weight[rows])

    def error(penalty):
        out = [folds == fold for fold in range(FOLDS)]
        return sum(weight[rows] @ (fitted(penalty, ~rows).predict(x[rows]) - score[rows]) ** 2 for rows in out)

    model = LabelRegression(frame, embeddings)
    assert model.penalty == min(PENALTIES, key=error)
    reference = fitted(model.penalty, np.full(len(x), True)).predict(x)
    found = model.scores(frame["history"].to_list(), [[cluster] for cluster in frame["cluster_id"].to_list()])
    np.testing.assert_allclose(np.concatenate(found), reference, rtol=1e-4)
    with pytest.raises(ValueError, match="argument"):
        model.scores([[0, 1], [0, 2]], [[3]])


def test_fewer_histories_than_folds_are_enough():
    frame, embeddings = world()
    two = frame.filter(pl.col("history").list.sum() <= 2)
    assert two["history"].n_unique() == 2
    assert LabelRegression(two, embeddings).penalty in PENALTIES


def test_words_that_tell_a_history_from_its_own_rows_alone_are_penalised():
    """Left out row by row, a history would be known from its other rows, and the penalty would be weak."""
    embeddings = np.random.default_rng(2).normal(size=(12, 40))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert LabelRegression(moods(), embeddings).penalty == PENALTIES[-1]


def test_the_nearest_label_by_hand():
    embeddings = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6]])
    asked = []

    def scores(histories, candidates):
        asked.append(candidates)
        return [np.array(clusters, dtype=float) for clusters in candidates]

    found = nearest_label_scores([[0, 1]], [[2, 3, 1]], served=[0, 1, 1], embeddings=embeddings, scores=scores)
    assert asked == [[[1, 0, 1]]]
    assert found[0].tolist() == [1.0, 0.0, 1.0]
