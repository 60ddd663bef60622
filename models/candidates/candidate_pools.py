"""The candidate pool of every history: n draws from the label distribution of the novelty model, duplicates merged.

``pool_engines`` draws them and ``pool_shards`` keeps them; here are the tables that they make, and the figures that
describe them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from models.candidates.best_of_n import POOL_SCHEMA, append_pool
from models.candidates.pool_engines import Drawn, PoolOptions, open_engine
from models.evaluation.memorisation import memorisation
from models.evaluation.metrics import gini
from models.language.prompts import History
from models.novelty.label_distribution import label_distributions
from models.progress import Log, Progress, silent
from models.shards import evenly_spread, micro_batches

GATE_HISTORIES = 128  # whose format validity at T = 1 is computed where the engine does not give it
DISTRIBUTION_SCHEMA: dict[str, pl.DataType] = {
    "history": pl.List(pl.Int64()),
    "format_validity": pl.Float64(),
    "format_validity_at_1": pl.Float64(),
    "left_out": pl.Float64(),
    "entropy": pl.Float64(),
    "clusters": pl.List(pl.Int64()),
    "probabilities": pl.List(pl.Float64()),
}

TOLD_OF_DISTRIBUTIONS = ["format_validity", "format_validity_at_1", "left_out", "entropy"]
"""What the figures need of the distributions: the probabilities of all labels are 4 GB for 768 clusters."""


@dataclass(frozen=True, eq=False)
class Pools:
    """What was drawn, and from what.

    Attributes:
        candidates: see ``best_of_n.draw_pools``.
        distributions: one row for each history: the share of free samples at T that are a label outside the history, at
            most; likewise at T = 1, by the exact engine alone; the share of the first that is unknown, at most; the
            entropy in nats, the clusters and the probabilities of what is known. The free engine knows the labels that
            it came across.
    """

    candidates: pl.DataFrame
    distributions: pl.DataFrame


class PoolSampler:
    """Draws pools with one novelty model for one set of labels.

    Results do not depend on how the histories are divided, where every part but the last holds a multiple of
    ``micro_batch`` histories.

    Args:
        folder: the novelty model.
        labels: the label of cluster i at index i.
        options: how to draw.

    Raises:
        ValueError: no model, unusable labels, or options that make no sense.
    """

    def __init__(self, folder: Path, labels: Sequence[str], options: PoolOptions) -> None:
        self.engine = open_engine(folder, labels, options)
        self.micro_batch = self.engine.micro_batch

    def draw(self, histories: Sequence[History], log: Log = silent) -> Pools:
        """Draw the pools of some histories.

        Raises:
            ValueError: a malformed history.
        """
        progress = Progress(len(histories), "histories", log)
        candidates: dict[str, list[object]] = {name: [] for name in POOL_SCHEMA}
        distributions: dict[str, list[object]] = {name: [] for name in DISTRIBUTION_SCHEMA}
        for batch in micro_batches(len(histories), self.micro_batch):
            part = [histories[index] for index in batch]
            for history, drawn in zip(part, self.engine.draw(part), strict=True):
                _add_distribution(distributions, history, drawn)
                # Where some mass is unknown, the probability of a cluster is a lower bound.
                shares = drawn.masses / (drawn.masses.sum() + drawn.unknown)
                append_pool(candidates, history, *drawn.pool, shares)
            progress.advance(len(batch))
        return Pools(
            pl.DataFrame(candidates, schema=POOL_SCHEMA), pl.DataFrame(distributions, schema=DISTRIBUTION_SCHEMA)
        )


def pool_figures(candidates: pl.DataFrame, distributions: pl.DataFrame, clusters: int) -> dict[str, float | None]:
    """Figures of the pools: means over histories, and how the draws spread over N = ``clusters`` labels.

    ``gini`` and ``top_label_share`` show a model that proposes the same few labels to everyone.
    """
    counts = np.zeros(clusters, dtype=np.int64)
    drawn = candidates.group_by("cluster_id").agg(pl.col("draws").sum())
    counts[drawn["cluster_id"].to_numpy()] = drawn["draws"].to_numpy()
    means = distributions.select(pl.col("format_validity", "format_validity_at_1", "entropy").mean()).row(0, named=True)
    return {
        "format_validity": means["format_validity_at_1"],
        "format_validity_sampling": means["format_validity"],
        "left_out_at_most": distributions.select(pl.col("left_out").max()).item(),
        "entropy": means["entropy"],
        "distinct_per_history": candidates.height / distributions.height,
        "distinct_labels": float((counts > 0).sum()),
        "gini": gini(counts),
        "top_label_share": float(counts.max() / counts.sum()),
        "histories": float(distributions.height),
    }


def format_validity(
    novelty: Path, labels: Sequence[str], histories: Sequence[tuple[int, ...]], log: Log = silent
) -> float:
    """Mean format validity at T = 1 of a novelty model: the gate's figure, where the engine does not give it.

    Args:
        novelty: folder of the model.
        labels: the label of cluster i at index i.
        histories: of the pools; at most ``GATE_HISTORIES`` of them are read, evenly spread.
        log: receives progress lines.
    """
    some = evenly_spread(histories, GATE_HISTORIES)
    log(f"format validity at T = 1 of {len(some)} histories")
    return float(label_distributions(novelty, labels, some, [1.0], log).format_validity[0].mean())


def pool_memorisation(candidates: pl.DataFrame, examples: pl.DataFrame) -> float | None:
    """The share of draws that repeat a training pair, see ``memorisation.memorisation``.

    Args:
        candidates: ``history``, ``cluster_id``, ``draws``.
        examples: of the novelty model: ``history``, ``cluster_id``, ``split``.
    """
    taught = examples.filter(pl.col("split") == "train")
    learned = taught.select(pl.col("history").cast(pl.List(pl.Int64))).unique()
    repeated = candidates.join(learned, on="history", how="semi").with_columns(pl.col("cluster_id").repeat_by("draws"))
    draws = repeated.group_by("history", maintain_order=True).agg(pl.col("cluster_id").explode())
    pairs = taught.select("history", "cluster_id").iter_rows()
    return memorisation(draws["history"].to_list(), draws["cluster_id"].to_list(), pairs)


def _add_distribution(columns: dict[str, list[object]], history: History, drawn: Drawn) -> None:
    known = np.flatnonzero(drawn.masses)
    total = float(drawn.masses.sum())
    probabilities = drawn.masses[known] / (total or 1.0)
    columns["history"].append(sorted(history))
    columns["format_validity"].append(total + drawn.unknown)
    columns["format_validity_at_1"].append(drawn.validity_at_1)
    columns["left_out"].append(drawn.unknown / ((total + drawn.unknown) or 1.0))
    columns["entropy"].append(float(-(probabilities * np.log(probabilities)).sum()))
    columns["clusters"].append(known.tolist())
    columns["probabilities"].append(probabilities.tolist())
