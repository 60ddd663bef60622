"""What leak tests share: a counted log split by history, every held-out row of it changed, and one that teaches."""

from itertools import combinations

import numpy as np
import polars as pl
from support.cells import SCHEMA

CLUSTERS = 8
UNSEEN = 7
TEACHES = (pl.col("split") == "train") & ~pl.col("unseen")


def split_cells(seed=0):
    """Every pair of clusters with most others, a fifth of the histories each in validation and test, one unseen."""
    generator = np.random.default_rng(seed)
    rows, splits = [], []
    for index, history in enumerate(combinations(range(CLUSTERS), 2)):
        for cluster in sorted({*range(CLUSTERS)} - {*history}):
            if generator.random() < 0.9:
                impressions = int(generator.integers(8, 40))
                liked = 0.1 + 0.08 * cluster + 0.03 * (history[0] % 3)
                rows.append((list(history), cluster, impressions, impressions, generator.binomial(impressions, liked)))
                splits.append({1: "validation", 3: "test"}.get(index % 5, "train"))
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return frame.with_columns(pl.Series("split", splits), unseen=pl.col("cluster_id") == UNSEEN)


def other_counts(cells, changed):
    """The cells with other rates, counts and users where ``changed``: many impressions, of which few are positive."""
    other = {"impressions": 50 * pl.col("impressions"), "users": pl.lit(2), "positives": pl.col("positives")}
    return cells.with_columns(
        pl.when(changed).then(values).otherwise(name).alias(name) for name, values in other.items()
    )


def one_of(cells, part=TEACHES, at=0):
    """Which row is the first one of a part, or the one ``at`` a later place."""
    return pl.int_range(pl.len()) == cells.with_row_index().filter(part)["index"][at]


def moods(seed=2, clusters=12):
    """Training rows of histories that like everything or nothing: only their own rows tell what others will say."""
    generator = np.random.default_rng(seed)
    rows = [
        (list(history), cluster, float(np.clip(mood + generator.normal(0, 0.01), 0, 1)), 1.0)
        for history in combinations(range(clusters), 2)
        for mood in [generator.normal(0.5, 0.2)]
        for cluster in sorted({*range(clusters)} - {*history})
    ]
    return pl.DataFrame(rows, schema=["history", "cluster_id", "score", "weight"], orient="row")
