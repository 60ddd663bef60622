"""The examples of the alignment model: scored clusters gathered by history, and checked before any training.

A frame of examples has one row for each history and cluster served: ``history`` (sorted cluster ids), ``cluster_id``,
``score`` (soft label L in [0, 1]), ``weight`` (evidence, above 0), ``raw_rate``, ``shrunk_rate``, ``impressions``,
``split`` (``train``, ``validation`` or ``test``; all rows of a history in one), and ``unseen`` (whether the cluster is
kept from training and validation, to judge what words tell of it).
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from models.arrays import Float64Array, IntArray
from models.language.prompts import check_histories

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class ServedHistory:
    """One history and the clusters served to its users.

    Attributes:
        history: the K cluster ids, sorted.
        clusters: [m] ids of the served clusters.
        scores: [m] soft labels L in [0, 1].
        weights: [m] evidence of each, above 0.
        rates: [m] raw rates, the truth of held-out histories.
        impressions: [m] behind each rate.
        pairs: [p, 2] places in ``clusters`` of a better and a worse one; empty without a pairwise loss.
        pair_probabilities: [p] that the better one is the better one, their soft labels.
    """

    history: list[int]
    clusters: list[int]
    scores: Float64Array
    weights: Float64Array
    rates: Float64Array
    impressions: IntArray
    pairs: IntArray
    pair_probabilities: Float64Array


def group_by_history(
    examples: pl.DataFrame, clusters: int, pairs: pl.DataFrame | None = None
) -> dict[str, list[ServedHistory]]:
    """Gather the examples of each history, by split; histories sorted, so that the order of rows does not matter.

    Args:
        examples: see the head of this module.
        clusters: N.
        pairs: ``history``, ``better_id``, ``worse_id``, ``probability``: both clusters served to the history.

    Raises:
        ValueError: naming the first example or pair that no training can use.
    """
    _check_examples(examples, clusters)
    grouped = (
        examples.sort("history", "cluster_id")
        .group_by("split", "history", maintain_order=True)
        .agg("cluster_id", "score", "weight", "raw_rate", "impressions")
    )
    paired: dict[tuple[int, ...], list[tuple[int, int, float]]] = {}
    if pairs is not None:
        columns = ("history", "better_id", "worse_id", "probability")
        for history, better, worse, probability in pairs.select(columns).iter_rows():
            paired.setdefault(tuple(history), []).append((better, worse, probability))
    served: dict[str, list[ServedHistory]] = {split: [] for split in SPLITS}
    for split, history, candidates, scores, weights, rates, impressions in grouped.iter_rows():
        places, probabilities = _pair_places(history, candidates, paired.get(tuple(history), []))
        served[split].append(
            ServedHistory(
                history=history,
                clusters=candidates,
                scores=np.array(scores),
                weights=np.array(weights, dtype=float),
                rates=np.array(rates),
                impressions=np.array(impressions, dtype=np.int64),
                pairs=places,
                pair_probabilities=probabilities,
            )
        )
    if not served["train"]:
        raise ValueError("there are no training examples: collect feedback first, or lower the filters of the scores")
    return served


def with_raw_rates(examples: pl.DataFrame) -> pl.DataFrame:
    """Examples of a stack: raw rates in place of L, whatever L is, for its head and offsets are log-odds of rates."""
    return examples.with_columns(score=pl.col("raw_rate"))


def _pair_places(
    history: list[int], candidates: list[int], pairs: list[tuple[int, int, float]]
) -> tuple[IntArray, Float64Array]:
    place = {cluster: index for index, cluster in enumerate(candidates)}
    for better, worse, _ in pairs:
        if better not in place or worse not in place:
            raise ValueError(f"the pair {better} above {worse} of history {history} is not among its served clusters")
    places = np.array([[place[better], place[worse]] for better, worse, _ in pairs], dtype=np.int64).reshape(-1, 2)
    return places, np.array([probability for *_, probability in pairs], dtype=np.float64)


def _check_examples(examples: pl.DataFrame, clusters: int) -> None:
    check_histories(examples["history"].to_list(), clusters)
    pair = ("history", "cluster_id")
    splits = pl.col("split").n_unique().over("history")
    faults = {
        f"has a split other than {', '.join(SPLITS)}": ~pl.col("split").is_in(SPLITS),
        "has a history that is in two splits": splits > 1,
        "occurs twice": pl.struct(pair).is_duplicated(),
        "offers a cluster that does not exist": ~pl.col("cluster_id").is_between(0, clusters - 1),
        "offers a cluster of its own history": pl.col("history").list.contains(pl.col("cluster_id")),
        "has a score outside 0 to 1": ~pl.col("score").is_between(0, 1),
        "has a weight that is not above 0": ~(pl.col("weight").is_finite() & (pl.col("weight") > 0)),
        "has a raw rate outside 0 to 1": ~pl.col("raw_rate").is_between(0, 1),
    }
    for fault, condition in faults.items():
        rows = examples.filter(condition.fill_null(value=True)).select(pair)
        if rows.height:
            history, cluster = rows.row(0)
            raise ValueError(f"the example of history {history} and cluster {cluster} {fault}")
