"""Whether the rates of many clusters changed between two spans of time, beyond what chance explains."""

from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.stats import chi2

from models.arrays import Float64Array

SURE_OF_DRIFT = 0.001
"""With a lower probability that chance alone changes rates so much, they drifted."""


class Drift(NamedTuple):
    """How much rates changed.

    Attributes:
        change: root mean square change of the clusters' rates, without what chance explains; 0 where it explains all.
        p_value: how likely chance alone is to change them so much.
        clusters: how many were seen in both spans.
    """

    change: float
    p_value: float
    clusters: int


def feedback_drift(counts: pl.DataFrame) -> Drift:
    """Drift of the rates in a result of ``evaluation.feedback_since``.

    Args:
        counts: a row for each cluster with the four columns that :func:`rate_drift` compares: ``positives_before``,
            ``before``, ``positives_after``, ``after``.
    """
    columns = ("positives_before", "before", "positives_after", "after")
    return rate_drift(*(counts[name].to_numpy().astype(np.float64) for name in columns))


def rate_drift(
    positives_before: Float64Array, before: Float64Array, positives_after: Float64Array, after: Float64Array
) -> Drift:
    """Compare the rates of each cluster in two spans.

    Q = sum over clusters of (difference of the two rates)^2 / v, v being the variance of that difference under the
    pooled rate, has the chi-square distribution with one degree of freedom for each cluster if no rate changed. The
    part of Q above its mean, over the sum of 1 / v, is the mean square change by the method of moments (DerSimonian and
    Laird 1986, "Meta-analysis in clinical trials", here with a mean of zero).

    Args:
        positives_before: [clusters] positive impressions of the first span.
        before: [clusters] its impressions.
        positives_after: [clusters] likewise, of the second span.
        after: [clusters] likewise.
    """
    total = before + after
    pooled = np.divide(positives_before + positives_after, total, out=np.zeros_like(total), where=total > 0)
    seen = (before > 0) & (after > 0) & (pooled > 0) & (pooled < 1)
    if not seen.any():
        return Drift(0.0, 1.0, 0)
    rate = pooled[seen]
    variance = rate * (1 - rate) * (1 / before[seen] + 1 / after[seen])
    difference = positives_after[seen] / after[seen] - positives_before[seen] / before[seen]
    statistic, clusters = float((difference**2 / variance).sum()), int(seen.sum())
    change = np.sqrt(max(0.0, statistic - clusters) / float((1 / variance).sum()))
    return Drift(float(change), float(chi2.sf(statistic, clusters)), clusters)
