"""The candidate pool of every history: n draws from the label distribution of the novelty model, duplicates merged.

Three engines give the same law: ``exact`` computes the whole label distribution, ``pruned`` leaves out a bounded share
of its mass, and ``free`` draws without knowing it (``label_expansion``). Exact suits some hundred labels; the cost of
the other two grows with what the model believes in, not with the number of labels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.best_of_n import POOL_SCHEMA, draw_pool, history_stream
from models.label_distribution import histories_per_pass, label_log_probabilities, renormalise
from models.label_expansion import HISTORIES_PER_MICRO_BATCH, Expansion, LabelExpander, drawn_labels, heaviest, hit
from models.language_model import load_causal_model, load_tokenizer
from models.packed_pass import micro_batches
from models.progress import Log, Progress, silent
from models.prompts import History

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

OVERDRAW = 1.25  # free draws of the first round, as a multiple of n: some are no label
MOST_FREE_DRAWS = 40  # times n, before a history that lacks valid draws is read whole

LAW_SCHEMA: dict[str, pl.DataType] = {
    "history": pl.List(pl.Int64()),
    "format_validity": pl.Float64(),
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


@dataclass(frozen=True, eq=False)
class Pools:
    """What was drawn, and from what.

    Attributes:
        candidates: see ``best_of_n.draw_pools``.
        laws: one row for each history: the share of free samples at T that are a label outside the history, at most;
            the share of that which is unknown, at most; the entropy in nats, the clusters and the probabilities of what
            is known. The free engine knows the labels that it came across.
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
            for history, (masses, unknown, pool) in zip(part, engine(part), strict=True):
                _add_law(laws, history, masses, unknown)
                _add_pool(candidates, history, masses / max(masses.sum() + unknown, np.finfo(np.float64).tiny), *pool)
            progress.advance(len(batch))
        return Pools(pl.DataFrame(candidates, schema=POOL_SCHEMA), pl.DataFrame(laws, schema=LAW_SCHEMA))

    def _exact(self, histories: Sequence[History]) -> Iterable[tuple[Array, float, tuple[list[int], list[int]]]]:
        temperature = [self.options.temperature]
        values = label_log_probabilities(self.model, self.tokenizer, self.labels, histories, temperature)
        law = renormalise(values, histories)
        for probabilities, validity, history in zip(
            law.probabilities[0], law.format_validity[0], histories, strict=True
        ):
            # The mass of an untuned model can be below the smallest number: then the law alone is told.
            masses = probabilities * (validity or 1.0)
            yield masses, 0.0, self._draw_pool(probabilities, history)

    def _pruned(self, histories: Sequence[History]) -> Iterable[tuple[Array, float, tuple[list[int], list[int]]]]:
        expansion = self.expander.open(histories)
        expansion.grow(heaviest(self.options.most_left_out))
        unknown = expansion.open_mass().sum(axis=1)
        for masses, left, history in zip(expansion.label_mass, unknown, histories, strict=True):
            yield masses, float(left), self._draw_pool(masses, history)

    def _free(self, histories: Sequence[History]) -> Iterable[tuple[Array, float, tuple[list[int], list[int]]]]:
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
            yield masses, float(unknown[row]), pools[row] or self._draw_pool(masses, history)

    def _merge_hits(self, expansion: Expansion, draws: Sequence[Array]) -> list[tuple[list[int], list[int]] | None]:
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

    def _draw_pool(self, probabilities: Array, history: History) -> tuple[list[int], list[int]]:
        stream = history_stream(self.options.seed, history)
        return draw_pool(probabilities, self.options.draws, self.options.distinct, stream)


def merge_draws(labels: IntArray, draws: int, distinct: int) -> tuple[list[int], list[int]] | None:
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


def _add_law(columns: dict[str, list[object]], history: History, masses: Array, unknown: float) -> None:
    known = np.flatnonzero(masses)
    total = float(masses.sum())
    probabilities = masses[known] / total if total else masses[known]
    columns["history"].append(sorted(history))
    columns["format_validity"].append(total + unknown)
    columns["left_out"].append(unknown / (total + unknown) if total + unknown else 0.0)
    columns["entropy"].append(float(-(probabilities * np.log(probabilities)).sum()))
    columns["clusters"].append(known.tolist())
    columns["probabilities"].append(probabilities.tolist())


def _add_pool(
    columns: dict[str, list[object]], history: History, shares: Array, clusters: list[int], counts: list[int]
) -> None:
    columns["history"].extend([sorted(history)] * len(clusters))
    columns["draw_order"].extend(range(1, len(clusters) + 1))
    columns["cluster_id"].extend(clusters)
    columns["draws"].extend(counts)
    columns["novelty_probability"].extend(shares[clusters].tolist())
