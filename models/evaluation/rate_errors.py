"""Where predicted rates are wrong: by support, by popularity, by word; and whether their intervals hold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom

from models.arrays import Float64Array, IntArray

GROUPS = 3
WORDS = 12
LEAST_WORD_IMPRESSIONS = 30  # with fewer, a word shows mostly chance


def errors_by(
    groups_of: NDArray[Any], predicted: Float64Array, observed: Float64Array, impressions: IntArray
) -> list[dict[str, float]]:
    """Error of predicted rates in the terciles of a property of the cells.

    The part of the mean squared distance to the observed rates that chance alone causes is subtracted: a rate p of n
    impressions varies by p (1 - p) / n, and r (1 - r) n / (n - 1) estimates p (1 - p) without bias.

    Args:
        groups_of: [cells] what to group by.
        predicted: [cells] rates.
        observed: [cells] raw rates.
        impressions: [cells]; cells with a single one say nothing about chance and are left out.

    Returns:
        For each group ``low`` and ``high`` of the property, ``cells``, ``predicted`` and ``observed`` means weighted by
        impressions, and ``error``, the root of the mean square that is left (0 where chance explains all).
    """
    kept = impressions >= 2
    of, predicted, observed, impressions = groups_of[kept], predicted[kept], observed[kept], impressions[kept]
    edges = np.quantile(of, np.linspace(0, 1, GROUPS + 1)[1:-1]) if len(of) else np.zeros(0)
    group = np.searchsorted(edges, of, side="left")
    found = []
    for index in range(GROUPS):
        mine = group == index
        if not mine.any():
            continue
        p, r, n = predicted[mine], observed[mine], impressions[mine].astype(np.float64)
        chance = r * (1 - r) / (n - 1)
        found.append(
            {
                "low": float(of[mine].min()),
                "high": float(of[mine].max()),
                "cells": int(mine.sum()),
                "predicted": float(np.average(p, weights=n)),
                "observed": float(np.average(r, weights=n)),
                "error": float(np.sqrt(max(np.average((p - r) ** 2 - chance, weights=n), 0.0))),
            }
        )
    return found


def predictive_coverage(
    predicted: Float64Array, concentration: float, observed: Float64Array, impressions: IntArray, mass: float
) -> float:
    """Share of held-out counts within the central interval of the beta-binomial of prediction and concentration.

    Counts are whole numbers, so a sound interval holds a little more than its mass.

    Args:
        predicted: [cells] rates.
        concentration: of the true rates around the predicted ones, in impressions.
        observed: [cells] raw rates.
        impressions: [cells].
        mass: of the interval, in (0, 1).
    """
    tail = (1 - mass) / 2
    alpha, beta = concentration * predicted, concentration * (1 - predicted)
    positives = np.rint(observed * impressions)
    low, high = (betabinom.ppf(share, impressions, alpha, beta) for share in (tail, 1 - tail))
    return float(np.mean((positives >= low) & (positives <= high)))


def rewarded_words(
    labels: Sequence[str], clusters: IntArray, predicted: Float64Array, observed: Float64Array, impressions: IntArray
) -> list[dict[str, Any]]:
    """The words of labels with the highest mean predicted rate, beside what users truly did.

    This shows a model that merely likes a word: its prediction is far above what was observed.

    Returns:
        ``word``, ``clusters`` (whose label has it), ``predicted``, ``observed`` (means weighted by impressions), best
        first.
    """
    owners: dict[str, set[int]] = {}
    for cluster, label in enumerate(labels):
        for word in label.replace(",", " ").lower().split():
            owners.setdefault(word, set()).add(cluster)
    rows: list[dict[str, Any]] = []
    for word, mine in owners.items():
        cells = np.isin(clusters, list(mine))
        if impressions[cells].sum() >= LEAST_WORD_IMPRESSIONS:
            rows.append(
                {
                    "word": word,
                    "clusters": len(mine),
                    "predicted": float(np.average(predicted[cells], weights=impressions[cells])),
                    "observed": float(np.average(observed[cells], weights=impressions[cells])),
                }
            )
    return sorted(rows, key=lambda row: (-row["predicted"], row["word"]))[:WORDS]
