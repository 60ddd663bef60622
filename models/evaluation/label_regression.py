"""Predictors that read labels by a sentence encoder instead of a language model: ridge regression, nearest label.

The alignment model must beat them to show that reading words together is worth more than comparing them: they see the
same words, and score clusters that were never served, too.
"""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from sklearn.linear_model import Ridge

from models.arrays import AnyFloatArray, Float32Array, Float64Array

PENALTIES = (0.1, 1.0, 10.0, 100.0)
FOLDS = 3


class LabelRegression:
    """Ridge regression of the score on [e_C, mean e_S, e_C * mean e_S], e being the unit embedding of a label.

    The penalty is the one of least squared error on left-out histories.

    Args:
        rows: training rows with ``history``, ``cluster_id``, ``score`` and ``weight``.
        embeddings: [N, dimensions] of the labels, rows of length 1.
    """

    def __init__(self, rows: pl.DataFrame, embeddings: AnyFloatArray) -> None:
        self.embeddings = np.asarray(embeddings, dtype=np.float32)
        histories, clusters = rows["history"].to_list(), rows["cluster_id"].to_list()
        features = self._features(histories, clusters)
        score, weight = rows["score"].to_numpy(), rows["weight"].to_numpy()
        place = {history: index for index, history in enumerate(sorted({tuple(history) for history in histories}))}
        folds = np.array([place[tuple(history)] for history in histories]) % FOLDS
        errors = np.zeros(len(PENALTIES))
        for fold in range(FOLDS):
            kept, out = folds != fold, folds == fold
            if not kept.any():
                continue
            for index, penalty in enumerate(PENALTIES):
                model = Ridge(alpha=penalty).fit(features[kept], score[kept], sample_weight=weight[kept])
                errors[index] += weight[out] @ (model.predict(features[out]) - score[out]) ** 2 if out.any() else 0.0
        self.penalty = PENALTIES[int(np.argmin(errors))]
        self.model = Ridge(alpha=self.penalty).fit(features, score, sample_weight=weight)

    def scores(self, histories: Sequence[Sequence[int]], candidates: Sequence[Sequence[int]]) -> list[Float64Array]:
        """Score of each candidate of each history."""
        return [
            np.asarray(self.model.predict(self._features([history] * len(clusters), clusters)), dtype=np.float64)
            if len(clusters)
            else np.zeros(0)
            for history, clusters in zip(histories, candidates, strict=True)
        ]

    def _features(self, histories: Sequence[Sequence[int]], clusters: Sequence[int]) -> Float32Array:
        offered = self.embeddings[list(clusters)]
        shown = np.stack([self.embeddings[list(history)].mean(axis=0) for history in histories])
        return np.concatenate([offered, shown, offered * shown], axis=1)


def nearest_label_scores(
    histories: Sequence[Sequence[int]],
    candidates: Sequence[Sequence[int]],
    served: Sequence[int],
    embeddings: AnyFloatArray,
    scores: Callable[[Sequence[Sequence[int]], Sequence[Sequence[int]]], list[Float64Array]],
) -> list[Float64Array]:
    """Score each candidate as if it were the served cluster whose label is nearest to its own.

    Args:
        histories: cluster ids.
        candidates: of each history.
        served: the clusters of the training rows.
        embeddings: [N, dimensions] of the labels, rows of length 1.
        scores: what scores served clusters.
    """
    known = np.array(sorted(set(served)))
    nearest = known[np.asarray(embeddings @ embeddings[known].T).argmax(axis=1)]
    return scores(histories, [[int(nearest[cluster]) for cluster in clusters] for clusters in candidates])
