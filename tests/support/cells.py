"""Counted cells to score: by hand, under the two-level distribution of the priors, and arbitrary ones."""

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


counted = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 80), st.floats(0, 1)).map(lambda t: (t[0], t[1], round(t[1] * t[2]))),
    min_size=1,
    max_size=25,
)
