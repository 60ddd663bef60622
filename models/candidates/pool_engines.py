"""Engines that take n draws from the label distribution of the novelty model.

``exact`` computes the whole label distribution, ``pruned`` leaves out a bounded share of its mass, ``free`` draws
without knowing it (``label_expansion``), and ``vllm`` samples text and keeps what is a label. All of them
follow one distribution. ``vllm_choice`` is vLLM's structured output, which follows another one: renormalised at every
token. Exact suits some hundred labels; the cost of pruned and free grows with how widely the model spreads its mass,
not with the number of labels; vllm is for models that need an accelerator. All of these are for models that write
labels as text; with a model by label vectors ``Vectors`` takes their place, and vllm is refused.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.arrays import Float64Array, IntArray
from models.candidates.best_of_n import draw_pool, history_stream
from models.language.label_trie import label_trie
from models.language.language_model import load_causal_model, load_tokenizer
from models.language.prompts import History, check_histories, label_tokens
from models.novelty.affinity_law import AffinityLaw
from models.novelty.label_distribution import histories_per_pass, label_log_probabilities, renormalise
from models.novelty.label_expansion import (
    HISTORIES_PER_MICRO_BATCH,
    Expansion,
    LabelExpander,
    at_least,
    drawn_labels,
    heaviest,
    hit,
)
from models.novelty.label_vectors import has_label_vectors, load_law

if TYPE_CHECKING:
    from models.candidates.vllm_sampler import VllmSampler

Pool = tuple[list[int], list[int]]  # distinct clusters in order of first appearance, times drawn

OVERDRAW = 1.25  # free draws of the first round, as a multiple of n: some are not labels
MOST_FREE_DRAWS = 40  # times n: then a history with too few valid draws is given up
SAMPLED_TEXT = ("vllm", "vllm_choice")
WRITE_LABELS = ("exact", "pruned", "free", *SAMPLED_TEXT)
SAMPLED_HISTORIES = 256  # at once: vLLM makes its own batches


@dataclass(frozen=True)
class PoolOptions:
    """How pools are drawn.

    Attributes:
        engine: see the head of this module.
        draws: n.
        distinct: k, the least number of distinct clusters of a pool.
        temperature: T.
        most_left_out: of the pruned engine, the share of the labels' mass.
        seed: of the streams, one per history.
    """

    engine: Literal["exact", "pruned", "free", "vllm", "vllm_choice"]
    draws: int
    distinct: int
    temperature: float
    most_left_out: float
    seed: int


class Drawn(NamedTuple):
    """Of one history: masses of its labels at T, mass that may belong to labels, its pool, format validity at T = 1."""

    masses: Float64Array
    unknown: float
    pool: Pool
    validity_at_1: float | None = None


class Engine(Protocol):
    """Draws the pools of micro-batches of histories.

    Attributes:
        micro_batch: histories that are drawn together; results do not depend on how larger parts are cut.
    """

    micro_batch: int

    def draw(self, histories: Sequence[History]) -> Iterable[Drawn]:
        """What is drawn for each history of a micro-batch, in order."""


def open_engine(folder: Path, labels: Sequence[str], options: PoolOptions) -> Engine:
    """The engine that the options name, with the novelty model of the folder.

    Raises:
        ValueError: no model, unusable labels, or options that make no sense.
    """
    if options.draws < 1 or options.distinct < 1:
        raise ValueError(f"{options.draws} draws and {options.distinct} distinct clusters: at least 1 of both")
    engines: dict[str, Callable[[], Engine]] = {
        "exact": lambda: Exact(load_causal_model(folder), load_tokenizer(folder), labels, options),
        "pruned": lambda: Pruned(_expander(folder, labels, options), options),
        "free": lambda: Free(_expander(folder, labels, options), options),
        "vllm": lambda: Sampled(_sampler(folder, labels, options, structured=False), options),
        "vllm_choice": lambda: Sampled(_sampler(folder, labels, options, structured=True), options),
    }
    if has_label_vectors(folder):
        engines |= dict.fromkeys(WRITE_LABELS, lambda: Vectors(load_law(folder, len(labels)), options))
    return engines[options.engine]()


def _expander(folder: Path, labels: Sequence[str], options: PoolOptions) -> LabelExpander:
    return LabelExpander(load_causal_model(folder), load_tokenizer(folder), labels, options.temperature)


def _sampler(folder: Path, labels: Sequence[str], options: PoolOptions, *, structured: bool) -> "VllmSampler":
    from models.candidates.vllm_sampler import VllmSampler

    return VllmSampler(folder, labels, options.temperature, structured=structured)


class Exact:
    """Reads the whole label trie after every history."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str], options: PoolOptions
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.labels = labels
        self.options = options
        self.micro_batch = histories_per_pass(label_trie(label_tokens(tokenizer, labels)))

    def draw(self, histories: Sequence[History]) -> Iterable[Drawn]:
        """See :class:`Engine`."""
        temperatures = [self.options.temperature, 1.0]
        values = label_log_probabilities(self.model, self.tokenizer, self.labels, histories, temperatures)
        distribution = renormalise(values, histories)
        for row, (history, probabilities) in enumerate(zip(histories, distribution.probabilities[0], strict=True)):
            validity, at_1 = distribution.format_validity[:, row].tolist()
            # The mass of an untuned model can be below the smallest number: then the distribution alone is given.
            yield Drawn(probabilities * (validity or 1.0), 0.0, _draw_pool(probabilities, history, self.options), at_1)


class Vectors:
    """Multiplies matrices: the whole law of a model by label vectors, whose draws are all labels."""

    micro_batch = 1024  # 6 MB of float64 for 761 clusters

    def __init__(self, law: AffinityLaw, options: PoolOptions) -> None:
        if options.engine in SAMPLED_TEXT:
            raise ValueError(
                f"candidates.engine is {options.engine!r}, which writes text, and the novelty model is one by label "
                "vectors, which writes none: set candidates.engine to exact, or novelty.head to words"
            )
        self.law = law
        self.options = options

    def draw(self, histories: Sequence[History]) -> Iterable[Drawn]:
        """See :class:`Engine`."""
        check_histories(histories, len(self.law.bias))
        probabilities = np.exp(self.law.at_temperature(histories, self.options.temperature))
        for history, masses in zip(histories, probabilities, strict=True):
            yield Drawn(masses, 0.0, _draw_pool(masses, history, self.options), 1.0)


class _Expanding:
    """Reads parts of the label trie, level by level."""

    micro_batch = HISTORIES_PER_MICRO_BATCH

    def __init__(self, expander: LabelExpander, options: PoolOptions) -> None:
        self.expander = expander
        self.options = options


class Pruned(_Expanding):
    """Reads the heaviest parts of the label trie."""

    def draw(self, histories: Sequence[History]) -> Iterable[Drawn]:
        """See :class:`Engine`."""
        expansion = self.expander.open(histories)
        expansion.grow(heaviest(self.options.most_left_out))
        expansion.grow(at_least(self.options.distinct))
        unknown = expansion.open_mass().sum(axis=1)
        for masses, left, history in zip(expansion.label_mass, unknown, histories, strict=True):
            yield Drawn(masses, float(left), _draw_pool(masses, history, self.options))


class Free(_Expanding):
    """Reads what free draws fall into."""

    def draw(self, histories: Sequence[History]) -> Iterable[Drawn]:
        """See :class:`Engine`."""
        options = self.options
        streams = [history_stream(options.seed, history) for history in histories]
        draws = [stream.random(_first_round(options)) for stream in streams]
        expansion = self.expander.open(histories)
        whole: set[int] = set()
        while True:
            expansion.grow(hit(draws))
            labels = [drawn_labels(expansion, row, own) for row, own in enumerate(draws)]
            pools = [merge_draws(found, options.draws, options.distinct) for found in labels]
            short = [row for row, pool in enumerate(pools) if pool is None and row not in whole]
            if not short:
                break
            worn = [row for row in short if len(draws[row]) >= MOST_FREE_DRAWS * options.draws]
            self._read_whole(expansion, worn)
            whole.update(worn)
            for row in short:
                draws[row] = np.concatenate([draws[row], streams[row].random(_next_round(labels[row], options.draws))])
        unknown = expansion.open_mass().sum(axis=1)
        for row, history in enumerate(histories):
            masses = expansion.label_mass[row]
            yield Drawn(masses, float(unknown[row]), pools[row] or _draw_pool(masses, history, options))

    def _read_whole(self, expansion: Expansion, rows: Sequence[int]) -> None:
        everything = heaviest(0.0)
        nothing = np.zeros(0, dtype=np.int64)
        expansion.grow(lambda found: [nodes if row in rows else nothing for row, nodes in enumerate(everything(found))])


class Sampled:
    """Keeps the samples of vLLM that are labels; the masses are their shares of all samples.

    Seeds belong to the histories, but vLLM's own batches may move the last digits of its probabilities.
    """

    micro_batch = SAMPLED_HISTORIES

    def __init__(self, sampler: "VllmSampler", options: PoolOptions) -> None:
        self.sampler = sampler
        self.options = options

    def draw(self, histories: Sequence[History]) -> Iterable[Drawn]:
        """See :class:`Engine`.

        Raises:
            ValueError: a malformed history, or one whose samples are hardly ever new labels.
        """
        check_histories(histories, len(self.sampler.labels))
        streams = [history_stream(self.options.seed, history) for history in histories]
        labels = [np.zeros(0, dtype=np.int64) for _ in histories]
        pools: list[Pool | None] = [None for _ in histories]
        count = _first_round(self.options)
        while short := [row for row, pool in enumerate(pools) if pool is None]:
            self._check_worth(histories[short[0]], labels[short[0]])
            seeds = [int(streams[row].integers(2**31)) for row in short]
            found = self.sampler.sample([histories[row] for row in short], count, seeds)
            for row, own in zip(short, found, strict=True):
                labels[row] = np.concatenate([labels[row], own])
                pools[row] = merge_draws(labels[row], self.options.draws, self.options.distinct)
            count = self.options.draws
        for own, pool in zip(labels, pools, strict=True):
            counts = np.bincount(own[own >= 0], minlength=len(self.sampler.labels))
            yield Drawn(counts / len(own), 0.0, pool or ([], []))

    def _check_worth(self, history: History, labels: IntArray) -> None:
        if len(labels) >= MOST_FREE_DRAWS * self.options.draws:
            valid = labels[labels >= 0]
            raise ValueError(
                f"of {len(labels):,} samples after the history {list(history)}, {len(valid):,} are labels outside it, "
                f"{len(np.unique(valid))} of them distinct: tune the novelty model on more examples, lower "
                "candidates.temperature, or choose the engine free, which reads such a history whole"
            )


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


def _first_round(options: PoolOptions) -> int:
    return int(np.ceil(OVERDRAW * options.draws))


def _next_round(labels: IntArray, draws: int) -> int:
    """How many draws should give the missing valid ones, by their share so far; n where clusters are missing."""
    valid = int((labels >= 0).sum())
    missing = draws - valid
    return min(draws, int(np.ceil(OVERDRAW * missing * len(labels) / max(valid, 1)))) if missing > 0 else draws


def _draw_pool(probabilities: Float64Array, history: History, options: PoolOptions) -> Pool:
    return draw_pool(probabilities, options.draws, options.distinct, history_stream(options.seed, history))
