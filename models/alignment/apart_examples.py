"""The counts of the contest with users kept apart: some of the users teach, the others judge."""

import numpy as np
import polars as pl

from models.alignment.pointwise_examples import training_rows
from models.feedback.priors import effective_impressions, fit_cluster_priors
from models.feedback.transition_scores import filter_cells

TEACHING_SHARE = 0.5  # of the users
APART = {"apart_rate": "raw_rate", "apart_impressions": "impressions", "apart_weight": "weight"}
COUNTS = ("impressions", "users", "positives")
CELL = ("history", "cluster_id")


def with_users_apart(
    examples: pl.DataFrame,
    counted: pl.DataFrame,
    teaching: pl.DataFrame,
    *,
    minimum_impressions: int,
    minimum_users: int,
    minimum_share_of_mean: float,
) -> pl.DataFrame:
    """Examples with the rate, the impressions and the weight that each cell has with users kept apart.

    Args:
        examples: see ``pointwise_examples``.
        counted: cells of all users, before any filter: ``history``, ``cluster_id`` and ``COUNTS``.
        teaching: likewise of the users who teach.
        minimum_impressions: see ``transition_scores.filter_cells``, by which both parts are filtered.
        minimum_users: likewise.
        minimum_share_of_mean: likewise.

    Returns:
        The examples with the columns of ``APART``: by those who teach, in test histories by the others; null where
        they are too few.
    """
    least = (minimum_impressions, minimum_users, minimum_share_of_mean)
    kept = [filter_cells(_whole(cells), *least).kept for cells in (teaching, _others(counted, teaching))]
    parts = [examples.select(*CELL, "split").join(cells, on=CELL) for cells in kept]
    taught, judged = parts[0].filter(pl.col("split") != "test"), parts[1].filter(pl.col("split") == "test")
    learned = taught.join(training_rows(examples), on=CELL, how="semi")
    cells = pl.concat([taught, judged])
    weight = np.zeros(0)
    if cells.height:
        concentration = fit_cluster_priors(learned).concentration
        weight = effective_impressions(cells["impressions"].to_numpy().astype(np.float64), concentration)
    apart = cells.select(
        *CELL,
        (pl.col("positives") / pl.col("impressions")).alias("apart_rate"),
        pl.col("impressions").alias("apart_impressions"),
        pl.Series("apart_weight", weight, dtype=pl.Float64),
    )
    return examples.join(apart, on=CELL, how="left", maintain_order="left")


def _whole(cells: pl.DataFrame) -> pl.DataFrame:
    return cells.select(*CELL, pl.col(COUNTS).cast(pl.Int64))


def _others(counted: pl.DataFrame, teaching: pl.DataFrame) -> pl.DataFrame:
    """The cells of the users who do not teach: a user is of one part, so counts of users subtract too."""
    both = _whole(counted).join(_whole(teaching), on=CELL, how="left", suffix="_taught")
    left = [pl.col(name) - pl.col(f"{name}_taught").fill_null(0) for name in COUNTS]
    return both.select(*CELL, *left).filter(pl.col("impressions") > 0)
