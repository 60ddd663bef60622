"""F1@k and NDCG@k of a ranking of clusters against noisy held-out rates, with exact credit for ties.

The truth of a history is the raw held-out rate of its supported clusters, neither shrunk nor rounded. Ties are common
in both truth and predictions (rates of few impressions, constant yardsticks); each metric is the expectation over all
ways to break them, computed in closed form. A constant prediction therefore scores the exact expectation of a random
ranking.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.arrays import Float64Array, IntArray


def top_k_credit(values: Float64Array, k: int) -> Float64Array:
    """Probability of each entry of being among the k largest when ties are broken at random. Sums to min(k, len)."""
    if k >= len(values):
        return np.ones(len(values))
    threshold = np.sort(values)[-k]
    above = values > threshold
    tied = values == threshold
    credit: Float64Array = above.astype(np.float64)
    credit[tied] = (k - above.sum()) / tied.sum()
    return credit


def f1_at_k(predictions: Float64Array, truth: Float64Array, k: int) -> float:
    """Expected overlap of the predicted and the true top k, over k.

    Both sets have k members, so precision, recall and F1 are the same number. Ties in truth and in predictions are
    broken independently, hence the product of the two membership probabilities.
    """
    return float(top_k_credit(predictions, k) @ top_k_credit(truth, k)) / k


def discounts(k: int) -> Float64Array:
    """1 / log2(rank + 1) for the ranks 1 to k (Järvelin and Kekäläinen, 2002)."""
    return 1.0 / np.log2(np.arange(2, k + 2))


def ndcg_at_k(predictions: Float64Array, truth: Float64Array, k: int) -> float:
    """Normalised discounted cumulative gain of the first k, with linear gain; NaN where no cluster has any gain.

    A group of tied predictions shares the mean gain of the group over the ranks it fills (McSherry and Najork, 2008).
    """
    weights = np.zeros(len(truth))
    weights[: min(k, len(truth))] = discounts(min(k, len(truth)))
    ideal = float(np.sort(truth)[::-1] @ weights)
    if ideal == 0.0:
        return float("nan")
    _, group = np.unique(-predictions, return_inverse=True)
    size = np.bincount(group)
    mean_gain = np.bincount(group, weights=truth) / size
    # Ranks are filled group by group, best first: a rank's expected gain is the mean gain of the group that fills it.
    return float(np.repeat(mean_gain, size) @ weights) / ideal


@dataclass(frozen=True)
class RankingEvaluation:
    """F1@k and NDCG@k over the held-out histories with at least 2k supported clusters.

    Attributes:
        k: the cut.
        histories: how many histories qualified.
        f1_at_k, ndcg_at_k: means; None where nothing could be measured, and ``reason`` then says why.
        history_f1, history_ndcg: one value per history given; NaN where it does not qualify, and for NDCG also where
            no cluster of the history has a positive rate (every order is as good as any other).
        reason: None when both means exist.
    """

    k: int
    histories: int
    f1_at_k: float | None
    ndcg_at_k: float | None
    history_f1: Float64Array
    history_ndcg: Float64Array
    reason: str | None


def evaluate_ranking(predictions: Sequence[Float64Array], truth: Sequence[Float64Array], k: int) -> RankingEvaluation:
    """Evaluate one ranking per history: ``predictions[h][i]`` scores the cluster of held-out rate ``truth[h][i]``.

    Raises:
        ValueError: when k is not positive, shapes differ, or a value is not finite or a rate negative.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    f1, ndcg = np.full(len(truth), np.nan), np.full(len(truth), np.nan)
    for index, (predicted, true) in enumerate(zip(predictions, truth, strict=True)):
        if predicted.shape != true.shape:
            raise ValueError(f"history {index}: {len(predicted)} predictions for {len(true)} rates")
        if not (np.isfinite(predicted).all() and np.isfinite(true).all() and (true >= 0).all()):
            raise ValueError(f"history {index}: a prediction or rate is not finite, or a rate is negative")
        if len(true) >= 2 * k:
            f1[index] = f1_at_k(predicted, true, k)
            ndcg[index] = ndcg_at_k(predicted, true, k)
    qualified, gainful = int(np.isfinite(f1).sum()), int(np.isfinite(ndcg).sum())
    reason = None
    if qualified == 0:
        reason = f"none of {len(truth)} held-out histories has {2 * k} supported clusters"
    elif gainful == 0:
        reason = f"none of {qualified} held-out histories has a cluster with a positive rate"
    return RankingEvaluation(
        k=k,
        histories=qualified,
        f1_at_k=float(np.nanmean(f1)) if qualified else None,
        ndcg_at_k=float(np.nanmean(ndcg)) if gainful else None,
        history_f1=f1,
        history_ndcg=ndcg,
        reason=reason,
    )


def gini(counts: IntArray) -> float:
    """Gini coefficient: 0 where all counts are equal, towards 1 where one has everything.

    G = sum over i of (2 i - N - 1) x_i / (N sum of x), x rising, i from 1 (Gini 1912, as in Damgaard and Weiner 2000).
    """
    ordered = np.sort(counts)
    ranks = 2 * np.arange(1, len(ordered) + 1) - len(ordered) - 1
    return float(ranks @ ordered / (len(ordered) * max(ordered.sum(), 1)))
