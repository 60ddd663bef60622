"""The pointwise examples of the alignment model: counted cells, split by history, scored, each with its evidence.

This makes the rows of the table of examples; ``examples`` gathers them by history for a training.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from models.arrays import Float64Array
from models.feedback.normalisation import Method
from models.feedback.priors import effective_impressions
from models.feedback.splits import split_histories, unseen_clusters
from models.feedback.transition_scores import Prior, ScoreOptions, filter_cells, transition_scores

EVIDENCE = ("raw_rate", "impressions", "prior_rate", "shrunk_rate", "lower", "upper", "unseen", "split")


@dataclass(frozen=True)
class PointwiseOptions:
    """How counted cells become examples.

    Attributes:
        holdout_share: share of the histories that are held out, to select a checkpoint or to report it.
        report_share: share of the held-out histories that report; the others select.
        unseen_cluster_share: share of the clusters that are kept from training.
        prior: what rates are shrunk towards, see ``transition_scores.ScoreOptions``.
        normalisation: how shrunken rates are normalised, see ``normalisation.Normalisation``.
        interval: scores are rounded to multiples of this; None: of ``normalisation.posterior_interval``.
        seed: of the split and of the choice of clusters.
    """

    holdout_share: float
    report_share: float
    unseen_cluster_share: float
    prior: Prior
    normalisation: Method
    interval: float | None
    seed: int


def pointwise_examples(cells: pl.DataFrame, options: PointwiseOptions) -> pl.DataFrame:
    """Examples from cells that passed the filter. Priors and normalisation are fitted to training histories alone.

    Args:
        cells: ``history``, ``cluster_id``, ``impressions``, ``users``, ``positives``.
        options: how to split and to score.

    Returns:
        In the order of the cells ``history``, ``cluster_id``, ``score`` (L in [0, 1]), ``weight`` (the effective
        impressions behind it) and the columns of ``EVIDENCE``: rates in [0, 1], counts, and which part the row is of.
    """
    test_share = options.holdout_share * options.report_share
    validation_share = options.holdout_share - test_share
    splits = split_histories(cells["history"].to_list(), validation_share, test_share, options.seed)
    unseen = unseen_clusters(cells["cluster_id"].unique().to_list(), options.unseen_cluster_share, options.seed)
    marked = cells.with_columns(
        pl.Series("split", splits, dtype=pl.String), pl.col("cluster_id").is_in(unseen).alias("unseen")
    )
    # The cells passed the filter when they were scored; what changes here is what priors and quantiles are fitted to.
    scored = transition_scores(
        marked,
        ScoreOptions(
            minimum_impressions=1,
            minimum_share_of_mean=0.0,
            minimum_users=1,
            prior=options.prior,
            normalisation=options.normalisation,
            interval=options.interval,
        ),
    )
    evidence = effective_impressions(scored.scores["impressions"].to_numpy(), scored.priors.concentration)
    weight = pl.Series("weight", evidence, dtype=pl.Float64)
    return scored.scores.select("history", "cluster_id", "score", weight, *EVIDENCE)


def with_less_feedback(
    examples: pl.DataFrame,
    counted: pl.DataFrame,
    options: PointwiseOptions,
    *,
    minimum_impressions: int,
    minimum_users: int,
    minimum_share_of_mean: float,
) -> pl.DataFrame:
    """Examples whose training rows come from the feedback of some of the users; the held-out rows stay as they are.

    Args:
        examples: of all users, see :func:`pointwise_examples`; their clusters kept from training stay the same.
        counted: the cells of the users who teach, before any filter; counts of any integer type.
        options: those of the examples.
        minimum_impressions: see ``transition_scores.filter_cells``, by which the cells are filtered.
        minimum_users: likewise.
        minimum_share_of_mean: likewise.
    """
    cells = counted.with_columns(pl.col("impressions", "users", "positives").cast(pl.Int64))
    kept = filter_cells(cells, minimum_impressions, minimum_users, minimum_share_of_mean).kept
    unseen = examples.filter("unseen")["cluster_id"].unique()
    taught = pointwise_examples(kept, options).with_columns(
        pl.col("cluster_id").is_in(unseen.implode()).alias("unseen")
    )
    return pl.concat([taught.filter(pl.col("split") == "train"), examples.filter(pl.col("split") != "train")])


def training_rows(examples: pl.DataFrame) -> pl.DataFrame:
    """The examples that teach: of training histories, and of clusters that are not kept from training."""
    return examples.filter(~pl.col("unseen") & (pl.col("split") == "train"))


def feedback_amount(examples: pl.DataFrame) -> dict[str, int]:
    """``training_cells`` and ``training_impressions``: how much feedback the examples teach from."""
    taught = training_rows(examples)
    return {"training_cells": taught.height, "training_impressions": int(taught["impressions"].sum())}


def histories_by_split(examples: pl.DataFrame) -> dict[str, int]:
    """How many histories each split has; a split without any is left out."""
    counted = examples.group_by("split").agg(pl.col("history").n_unique()).sort("split")
    return {str(split): int(histories) for split, histories in counted.iter_rows()}


def judged_histories(examples: pl.DataFrame, k: int) -> dict[str, int]:
    """How many histories of each split F1@k and NDCG@k can judge; a split without any is left out.

    They have 2k served clusters or more, without those that are kept from training.
    """
    supported = pl.col("cluster_id").n_unique().over("history")
    return histories_by_split(examples.filter(~pl.col("unseen")).filter(supported >= 2 * k))


def prior_rates(examples: pl.DataFrame, clusters: int) -> Float64Array:
    """[clusters] the prior rate of each cluster: what scores that are lifts are multiplied by before they rank.

    A cluster that was never served has the mean of the others.
    """
    # In an order of its own: the mean of the others is a sum of floats.
    served = (
        examples.filter(~pl.col("unseen")).group_by("cluster_id").agg(pl.col("prior_rate").first()).sort("cluster_id")
    )
    rates = np.full(clusters, served["prior_rate"].mean())
    rates[served["cluster_id"].to_numpy()] = served["prior_rate"].to_numpy()
    return rates
