"""The candidate pool of every history: n draws from the label distribution of the novelty model, duplicates merged.

Three engines give the same law: ``exact`` computes the whole label distribution, ``pruned`` leaves out a bounded share
of its mass, and ``free`` draws without knowing it (``label_expansion``). Exact suits some hundred labels; the cost of
the other two grows with what the model believes in, not with the number of labels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.best_of_n import POOL_SCHEMA, append_pool, draw_pool, history_stream
from models.label_distribution import histories_per_pass, label_log_probabilities, renormalise
from models.label_expansion import HISTORIES_PER_MICRO_BATCH, Expansion, LabelExpander, drawn_labels, heaviest, hit
from models.language_model import load_causal_model, load_tokenizer
from models.packed_pass import micro_batches
from models.progress import Log, Progress, silent
from models.prompts import History

Array = NDArray[np.float64]
Pool = tuple[list[int], list[int]]  # distinct clusters in order of first appearance, times drawn
IntArray = NDArray[np.int64]

OVERDRAW = 1.25  # free draws of the first round, as a multiple of n: some are no label
MOST_FREE_DRAWS = 40  # times n, before a history that lacks valid draws is read whole

LAW_SCHEMA: dict[str, pl.DataType] = {
    "history": pl.List(pl.Int64()),
    "format_validity": pl.Float64(),
    "format_validity_at_1": pl.Float64(),
    "left_out": pl.Float64(),
    "entropy": pl.Float64(),
    "clusters": pl.List(pl.Int64()),
    "probabilities": pl.List(pl.Float64()),
}


@dataclass(frozen=True)
class PoolOptions:
    """How pools are drawn.

    Attributes:
        engine: ``exact``, ``pruned`` or ``free``.
        draws: n.
        distinct: k, the least number of distinct clusters of a pool.
        temperature: T.
        most_left_out: of the pruned engine, the share of the labels' mass.
        seed: of the streams, one per history.
    """

    engine: Literal["exact", "pruned", "free"]
    draws: int
    distinct: int
    temperature: float
    most_left_out: float = 0.01
    seed: int = 0


class Drawn(NamedTuple):
    """Of one history: masses of its labels at T, mass that may be labels or not, its pool, format validity at T = 1."""

    masses: Array
    unknown: float
    pool: Pool
    validity_at_1: float | None = None


@dataclass(frozen=True, eq=False)
class Pools:
    """What was drawn, and from what.

    Attributes:
        candidates: see ``best_of_n.draw_pools``.
        laws: one row for each history: the share of free samples at T that are a label outside the history, at most;
            likewise at T = 1, by the exact engine alone; the share of the first that is unknown, at most; the entropy
            in nats, the clusters and the probabilities of what is known. The free engine knows the labels that it came
            across.
    """

    candidates: pl.DataFrame
    laws: pl.DataFrame


class PoolSampler:
    """Draws pools with one novelty model for one set of labels.

    Results do not depend on how the histories are divided, where every part but the last holds a multiple of
    ``micro_batch`` histories.

    Args:
        folder: the novelty model.
        labels: the label of cluster i at index i.
        options: how to draw.

    Raises:
        ValueError: no model, unusable labels, or options without sense.
    """

    def __init__(self, folder: Path, labels: Sequence[str], options: PoolOptions) -> None:
        if options.draws < 1 or options.distinct < 1:
            raise ValueError(f"{options.draws} draws and {options.distinct} distinct clusters: at least 1 of both")
        self.labels = labels
        self.options = options
        self.tokenizer, self.model = load_tokenizer(folder), load_causal_model(folder)
        self.expander = LabelExpander(self.model, self.tokenizer, labels, options.temperature)
        exact = options.engine == "exact"
        self.micro_batch = histories_per_pass(self.expander.tree.trie) if exact else HISTORIES_PER_MICRO_BATCH

    def draw(self, histories: Sequence[History], log: Log = silent) -> Pools:
        """Draw the pools of some histories.

        Raises:
            ValueError: a malformed history.
        """
        progress = Progress(len(histories), "histories", log)
        candidates: dict[str, list[object]] = {name: [] for name in POOL_SCHEMA}
        laws: dict[str, list[object]] = {name: [] for name in LAW_SCHEMA}
        engine = {"exact": self._exact, "pruned": self._pruned, "free": self._free}[self.options.engine]
        for batch in micro_batches(len(histories), self.micro_batch):
            part = [histories[index] for index in batch]
            for history, drawn in zip(part, engine(part), strict=True):
                _add_law(laws, history, drawn)
                # Where some mass is unknown, the probability of a cluster is a lower bound.
                shares = drawn.masses / (drawn.masses.sum() + drawn.unknown)
                append_pool(candidates, history, *drawn.pool, shares)
            progress.advance(len(batch))
        return Pools(pl.DataFrame(candidates, schema=POOL_SCHEMA), pl.DataFrame(laws, schema=LAW_SCHEMA))

    def _exact(self, histories: Sequence[History]) -> Iterable["Drawn"]:
        temperatures = [self.options.temperature, 1.0]
        values = label_log_probabilities(self.model, self.tokenizer, self.labels, histories, temperatures)
        law = renormalise(values, histories)
        for row, (history, probabilities) in enumerate(zip(histories, law.probabilities[0], strict=True)):
            validity, at_1 = law.format_validity[:, row].tolist()
            # The mass of an untuned model can be below the smallest number: then the law alone is told.
            yield Drawn(probabilities * (validity or 1.0), 0.0, self._draw_pool(probabilities, history), at_1)

    def _pruned(self, histories: Sequence[History]) -> Iterable["Drawn"]:
        expansion = self.expander.open(histories)
        expansion.grow(heaviest(self.options.most_left_out))
        unknown = expansion.open_mass().sum(axis=1)
        for masses, left, history in zip(expansion.label_mass, unknown, histories, strict=True):
            yield Drawn(masses, float(left), self._draw_pool(masses, history))

    def _free(self, histories: Sequence[History]) -> Iterable["Drawn"]:
        options = self.options
        streams = [history_stream(options.seed, history) for history in histories]
        draws = [stream.random(int(np.ceil(OVERDRAW * options.draws))) for stream in streams]
        expansion = self.expander.open(histories)
        pools = self._merge_hits(expansion, draws)
        while short := [row for row, pool in enumerate(pools) if pool is None]:
            if len(draws[short[0]]) >= MOST_FREE_DRAWS * options.draws:
                self._read_whole(expansion, short)
                break
            for row in short:
                draws[row] = np.concatenate([draws[row], streams[row].random(options.draws)])
            pools = self._merge_hits(expansion, draws)
        unknown = expansion.open_mass().sum(axis=1)
        for row, history in enumerate(histories):
            masses = expansion.label_mass[row]
            yield Drawn(masses, float(unknown[row]), pools[row] or self._draw_pool(masses, history))

    def _merge_hits(self, expansion: Expansion, draws: Sequence[Array]) -> list[Pool | None]:
        """Read what the draws fall into; the pool of each history, None for one that needs more draws."""
        expansion.grow(hit(draws))
        return [
            merge_draws(drawn_labels(expansion, row, own), self.options.draws, self.options.distinct)
            for row, own in enumerate(draws)
        ]

    def _read_whole(self, expansion: Expansion, rows: Sequence[int]) -> None:
        everything = heaviest(0.0)
        nothing = np.zeros(0, dtype=np.int64)
        expansion.grow(lambda found: [nodes if row in rows else nothing for row, nodes in enumerate(everything(found))])

    def _draw_pool(self, probabilities: Array, history: History) -> Pool:
        stream = history_stream(self.options.seed, history)
        return draw_pool(probabilities, self.options.draws, self.options.distinct, stream)


def merge_draws(labels: IntArray, draws: int, distinct: int) -> Pool | None:
    """The pool of a stream of free draws: the first n valid ones, then whatever new ones come until k are distinct.

    Args:
        labels: of each draw in order; -1 for an invalid one.
        draws: n.
        distinct: k.

    Returns:
        Distinct clusters in order of first appearance, and how often each was drawn; one that the stream showed after
        the first n counts as one draw. None where the stream is too short.
    """
    valid = labels[labels >= 0]
    if len(valid) < draws:
        return None
    counts: dict[int, int] = {}
    for label in valid[:draws].tolist():
        counts[label] = counts.get(label, 0) + 1
    for label in valid[draws:].tolist():
        if len(counts) >= distinct:
            break
        counts.setdefault(label, 1)
    return None if len(counts) < distinct else (list(counts), list(counts.values()))


def gini(counts: IntArray) -> float:
    """Gini coefficient: 0 where every label is drawn alike, towards 1 where one label takes all.

    G = sum over i of (2 i - N - 1) x_i / (N sum of x), x rising, i from 1 (Gini 1912, as in Damgaard and Weiner 2000).
    """
    ordered = np.sort(counts)
    ranks = 2 * np.arange(1, len(ordered) + 1) - len(ordered) - 1
    return float(ranks @ ordered / (len(ordered) * max(ordered.sum(), 1)))


def pool_figures(candidates: pl.DataFrame, laws: pl.DataFrame, clusters: int) -> dict[str, float | None]:
    """What the pools of a table are like: means over histories, and how the draws spread over N = ``clusters`` labels.

    ``gini`` and ``top_label_share`` show a model that proposes the same few labels to everyone.
    """
    counts = np.zeros(clusters, dtype=np.int64)
    drawn = candidates.group_by("cluster_id").agg(pl.col("draws").sum())
    counts[drawn["cluster_id"].to_numpy()] = drawn["draws"].to_numpy()
    means = laws.select(pl.col("format_validity", "format_validity_at_1", "entropy").mean()).row(0, named=True)
    return {
        "format_validity": means["format_validity_at_1"],
        "format_validity_sampling": means["format_validity"],
        "left_out_at_most": laws.select(pl.col("left_out").max()).item(),
        "entropy": means["entropy"],
        "distinct_per_history": candidates.height / laws.height,
        "distinct_labels": float((counts > 0).sum()),
        "gini": gini(counts),
        "top_label_share": float(counts.max() / counts.sum()),
        "histories": float(laws.height),
    }


def _add_law(columns: dict[str, list[object]], history: History, drawn: Drawn) -> None:
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
