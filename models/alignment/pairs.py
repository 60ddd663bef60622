"""Pairs of clusters of one history, for the pairwise loss: which of two was liked more, and with which probability."""

from itertools import combinations

import numpy as np
import polars as pl
from scipy.special import ndtr, ndtri

from models.feedback.priors import CREDIBLE_MASS

PAIR_SCHEMA = pl.Schema(
    {
        "history": pl.List(pl.Int32()),
        "better_id": pl.Int32(),
        "worse_id": pl.Int32(),
        "probability": pl.Float64(),
        "split": pl.String(),
    }
)


def sample_pairs(rows: pl.DataFrame, per_history: int, seed: int) -> pl.DataFrame:
    """Pairs of served clusters of each history, ties dropped, at most ``per_history`` of them at random.

    The probability of the order is the soft label of the pair: with both posteriors taken as normal around the shrunk
    rates r with deviations s (from the credible intervals), P = Phi((r_b - r_w) / sqrt(s_b^2 + s_w^2)), at least 1/2.

    Args:
        rows: ``history``, ``cluster_id``, ``score``, ``shrunk_rate``, ``lower``, ``upper``, ``split``.
        per_history: how many at most.
        seed: of the choice; each history has its own stream, so that other histories do not change it.

    Returns:
        ``history``, ``better_id``, ``worse_id``, ``probability``, ``split``.
    """
    spread = (pl.col("upper") - pl.col("lower")) / (2 * float(ndtri(0.5 + CREDIBLE_MASS / 2)))
    grouped = (
        rows.sort("history", "cluster_id")
        .with_columns(spread.alias("spread"))
        .group_by("split", "history", maintain_order=True)
        .agg("cluster_id", "score", "shrunk_rate", "spread")
    )
    pairs = []
    for split, history, clusters, scores, rates, spreads in grouped.iter_rows():
        differing = [pair for pair in combinations(range(len(clusters)), 2) if scores[pair[0]] != scores[pair[1]]]
        rng = np.random.default_rng([seed, *history])
        chosen = rng.permutation(len(differing))[:per_history]
        for index in sorted(chosen.tolist()):
            better, worse = sorted(differing[index], key=lambda place: -rates[place])
            deviation = float(np.hypot(spreads[better], spreads[worse]))
            probability = float(ndtr((rates[better] - rates[worse]) / max(deviation, 1e-12)))
            pairs.append((history, clusters[better], clusters[worse], probability, split))
    return pl.DataFrame(pairs, schema=PAIR_SCHEMA, orient="row")


def pairs_for_loss(examples: pl.DataFrame, loss: str, per_history: int, seed: int) -> pl.DataFrame:
    """What a loss learns from beside the pointwise examples: pairs of clusters that are not kept from training.

    Args:
        examples: as of :func:`sample_pairs`, with ``unseen``.
        loss: ``pairwise``; there is no pair for another one.
        per_history: how many pairs at most.
        seed: of the choice.
    """
    wanted = examples.filter(~pl.col("unseen")) if loss == "pairwise" else examples.clear()
    return sample_pairs(wanted, per_history, seed)
