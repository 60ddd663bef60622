"""Feedback cells of a platform of N clusters, whose rates follow the attributes of history and cluster."""

import numpy as np
import polars as pl
from scipy.special import expit

IMPRESSIONS = 20
MEAN, QUALITY, TASTE, CHANCE = -1.6, 0.5, 0.5, 0.25
"""In log-odds: of an average cell, and the spreads of clusters, of what attributes tell, and of what nothing tells."""


def feedback_cells(histories: int, served: int, attributes: np.ndarray, seed: int) -> pl.DataFrame:
    """Examples of the alignment model: ``histories`` pairs of clusters, each with ``served`` other clusters.

    A tenth of the histories validates and another tenth tests.
    """
    rng = np.random.default_rng(seed)
    clusters = len(attributes)
    directions = attributes / np.linalg.norm(attributes, axis=1, keepdims=True)
    alike = directions @ directions.T
    alike = (alike - alike.mean()) / alike.std()
    quality = rng.normal(MEAN, QUALITY, clusters)
    pairs = set()
    while len(pairs) < histories:
        pairs.add(tuple(sorted(rng.choice(clusters, 2, replace=False).tolist())))
    rows = []
    for number, history in enumerate(sorted(pairs)):
        others = [cluster for cluster in range(clusters) if cluster not in history]
        for cluster in rng.choice(others, min(served, len(others)), replace=False).tolist():
            log_odds = quality[cluster] + TASTE * alike[list(history), cluster].mean() + rng.normal(0, CHANCE)
            rate = rng.binomial(IMPRESSIONS, expit(log_odds)) / IMPRESSIONS
            rows.append(
                (list(history), cluster, rate, ("validation", "test")[number % 2] if number % 5 == 0 else "train")
            )
    frame = pl.DataFrame(rows, ["history", "cluster_id", "raw_rate", "split"], orient="row")
    return frame.with_columns(
        score=pl.col("raw_rate"),
        shrunk_rate=pl.col("raw_rate"),
        weight=pl.lit(float(IMPRESSIONS)),
        impressions=pl.lit(IMPRESSIONS),
        unseen=pl.lit(value=False),
    )
