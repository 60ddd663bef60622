"""Predictors that compare label embeddings: words that carry the score are found, also for clusters never served."""

from itertools import combinations

import numpy as np
import polars as pl
from support.leaks import moods

from models.evaluation.label_regression import PENALTIES, LabelRegression, nearest_label_scores

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
