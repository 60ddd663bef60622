"""Counted cells to score: by hand, under the two-level distribution of the priors, and arbitrary ones."""

from itertools import combinations

import numpy as np
import polars as pl
from hypothesis import strategies as st

SCHEMA = {
    "history": pl.List(pl.Int64),
    "cluster_id": pl.Int64,
    "impressions": pl.Int64,
    "users": pl.Int64,
    "positives": pl.Int64,
}


def cells(*rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def simulated(clusters=30, cells_each=40, impressions=50, mean=0.2, tau=20.0, kappa=40.0, seed=0):
    """Cells under the two-level distribution that the priors assume, with the true rates of clusters and cells."""
    generator = np.random.default_rng(seed)
    cluster_rates = generator.beta(mean * tau, (1 - mean) * tau, clusters)
    owner = np.repeat(np.arange(clusters), cells_each)
    rates = generator.beta(cluster_rates[owner] * kappa, (1 - cluster_rates[owner]) * kappa)
    positives = generator.binomial(impressions, rates)
    frame = cells(
        *(
            ([100 + i, 500 + i], int(c), impressions, impressions, int(y))
            for i, (c, y) in enumerate(zip(owner, positives, strict=True))
        )
    )
    return frame, cluster_rates, rates


def affine_cells(seed=0, histories=None):
    """Cells of all pairs of 16 clusters whose rates follow cluster and members, 12 impressions each on average."""
    generator = np.random.default_rng(seed)
    bias, affinity = generator.uniform(0.1, 0.4, 16), generator.normal(0, 0.06, (16, 16))
    rows = []
    for a, b in combinations(range(16), 2):
        for cluster in set(range(16)) - {a, b}:
            true = float(np.clip(bias[cluster] + affinity[a, cluster] + affinity[b, cluster], 0.02, 0.9))
            impressions = int(generator.integers(4, 20))
            rows.append(([a, b], cluster, impressions, impressions, int(generator.binomial(impressions, true)), true))
    columns = ["history", "cluster_id", "impressions", "users", "positives", "true"]
    return pl.DataFrame(rows, schema=columns, orient="row")


counted = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 80), st.floats(0, 1)).map(lambda t: (t[0], t[1], round(t[1] * t[2]))),
    min_size=1,
    max_size=25,
)
