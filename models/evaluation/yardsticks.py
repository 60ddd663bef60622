"""What a ranking must beat: random, and training means from training rows only.

Each returns one array of scores per history, aligned with that history's candidates, ready for
``models.evaluation.metrics.evaluate_ranking``.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl

from models.arrays import Float64Array


def random_scores(candidates: Sequence[Sequence[int]]) -> list[Float64Array]:
    """Score all candidates of a history alike: metrics then give the exact expectation of a random order."""
    return [np.zeros(len(clusters)) for clusters in candidates]


class TrainingMeans:
    """Mean rates of training cells, by cluster and by every part of a history.

    For (S, C): the pooled rate (positives over impressions) of C's training cells whose history equals S; where there
    is none, of those that share |S| - 1 clusters with S, then |S| - 2, and so on; where none shares any, the prior of C
    (all its cells); a cluster without training cells has the pooled rate of all cells, or 0 where there are none.

    Args:
        cells: training rows only, with ``history``, ``cluster_id``, ``impressions`` and ``raw_rate``.
    """

    def __init__(self, cells: pl.DataFrame) -> None:
        # (part of a history, cluster) -> [positives, impressions]; the empty part holds all cells of the cluster.
        self.totals: dict[tuple[tuple[int, ...], int], list[float]] = {}
        columns = ("history", "cluster_id", "impressions", "raw_rate")
        positives = impressions_in_all = 0.0
        for history, cluster, impressions, rate in cells.select(columns).iter_rows():
            positives += rate * impressions
            impressions_in_all += impressions
            for size in range(len(history) + 1):
                for part in combinations(sorted(history), size):
                    total = self.totals.setdefault((part, cluster), [0.0, 0.0])
                    total[0] += rate * impressions
                    total[1] += impressions
        self.global_rate = positives / impressions_in_all if impressions_in_all else 0.0

    def rate(self, history: Sequence[int], cluster: int) -> float:
        """Mean rate of ``cluster`` after ``history``, or after the histories that share most with it."""
        for size in range(len(history), -1, -1):
            # No cell shares more than ``size`` clusters with S here (or it would have been found before), so each cell
            # that shares exactly ``size`` is counted once: under the one part that it shares.
            found = [self.totals.get((part, cluster)) for part in combinations(sorted(history), size)]
            impressions = sum(total[1] for total in found if total)
            if impressions:
                return sum(total[0] for total in found if total) / impressions
        return self.global_rate

    def scores(self, histories: Sequence[Sequence[int]], candidates: Sequence[Sequence[int]]) -> list[Float64Array]:
        """Training mean of each candidate of each history, backing off over parts of the history."""
        return [
            np.array([self.rate(history, cluster) for cluster in clusters])
            for history, clusters in zip(histories, candidates, strict=True)
        ]
