"""What changes from the scores as of one day to those as of another: a log of years has few changes a day."""

import polars as pl

CELL = ("history", "cluster_id", "signal")
COMPARED = ("impressions", "novel_impressions", "users", "positives", "score")
"""Rates and intervals move with the priors at every impression of the log; a cell whose counts and L stand is as it
was."""


def score_changes(before: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """The rows of ``now`` that are new or whose counts or L differ, and the rows of ``before`` that are gone.

    A column ``standing`` is added: false for rows that are gone, which then have their last figures.

    Args:
        before: scored cells, with the columns of ``CELL`` and ``COMPARED`` and any others.
        now: likewise, with the same columns in the same order.
    """
    one, other = _keyed(before), _keyed(now)
    changed = other.join(one, on=["key", *COMPARED], how="anti", nulls_equal=True)
    gone = one.join(other, on="key", how="anti")
    marked = [changed.with_columns(standing=pl.lit(True)), gone.with_columns(standing=pl.lit(False))]
    return pl.concat(marked).drop("key")


def _keyed(scores: pl.DataFrame) -> pl.DataFrame:
    """With what identifies a cell as one text: polars joins on no lists."""
    history, cluster, signal = CELL
    members = pl.col(history).cast(pl.List(pl.String)).list.join(",")
    return scores.with_columns(pl.concat_str(members, cluster, signal, separator=";").alias("key"))
