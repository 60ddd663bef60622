"""The smallest table that can be published."""

import polars as pl

from models.serving.transition_table import publish


def publish_version(published, score):
    """Publish a table of one history; another score gives another version."""
    rows = pl.DataFrame(
        {
            "history": [[0, 1]],
            "rank": [1],
            "cluster_id": [2],
            "alignment_score": [score],
            "novelty_probability": [0.5],
            "propensity": [1.0],
        },
        schema_overrides={"history": pl.List(pl.Int32), "cluster_id": pl.Int32},
    )
    clusters = pl.DataFrame({"cluster_id": [0, 1, 2], "label": ["jazz", "baking", "owls"], "readable": True})
    return publish(published, rows, clusters, {"ranking": "alignment", "history_clusters": 2})
