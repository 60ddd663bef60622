"""The novelty model: light fine-tuning on novel interest transitions, its report, and what it proposes for a history.

The model learns p(label of the next interest | labels of the history): the loss counts the label's tokens and its
terminator only. It is never trained towards a reward. The exact law of its proposals stands in ``label_distribution``.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from models.arrays import Float64Array, IntArray
from models.files import new_folder
from models.language.fine_tuning import Optimiser, Schedule
from models.language.label_trie import separate_branches
from models.language.language_model import (
    load_causal_model,
    load_tokenizer,
    padding_token,
    save_checkpoint,
    select_trainable,
)
from models.language.packed_pass import next_token_logits, pack, sequence_log_probabilities
from models.language.prompts import History, check_histories, label_tokens, novelty_prompt, prompt_tokens, terminator
from models.novelty.label_distribution import LabelDistributions, label_log_probabilities, renormalise
from models.progress import Log, Progress, silent

RECALL_CUTS = (1, 3, 5, 10)
MAX_TARGETS_PER_PROMPT = 24  # keeps one popular history from filling a batch alone
SORTED_WINDOW = 64  # histories
EVALUATION_GROUPS = 16  # packed sequences per pass when held-out losses are measured


@dataclass(frozen=True)
class NoveltyOptions:
    """How the novelty model is trained.

    Attributes:
        tune: ``full``, ``top:<n>`` decoder layers, or ``lora``.
        learning_rate: the highest rate of the schedule.
        batch_size: transitions per optimiser step, at least.
        epochs: passes over the training transitions.
        warmup_share: share of the steps in which the learning rate rises.
        weight_decay: as in AdamW.
        evaluate_every: steps between two points of the curve.
        holdout_histories: held-out transitions are measured on this many distinct histories at most.
        seed: of the order of transitions, the order within prompts, adapters and dropout, and the held-out sample.
    """

    tune: str = "top:8"
    learning_rate: float = 1e-3
    batch_size: int = 64
    epochs: int = 2
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    evaluate_every: int = 30
    holdout_histories: int = 48
    seed: int = 0


@dataclass(frozen=True)
class CurvePoint:
    """One point of the training curve. Losses are nats per label: minus the log probability of its whole sequence.

    ``training_loss`` is the mean over the steps since the point before.
    """

    step: int
    training_loss: float
    holdout_loss: float


@dataclass(frozen=True)
class NoveltyReport:
    """What training did.

    Attributes:
        curve: one point every ``evaluate_every`` steps, and one at the end.
        figures: ``holdout_loss_untuned`` and ``_tuned`` (nats per label), ``format_validity_untuned`` and ``_tuned``
            (T = 1), ``recall_at_1``, ``_3``, ``_5`` and ``_10`` of held-out transitions by the exact label distribution
            at T = 1, ``training_examples``, ``holdout_examples`` (those measured), ``steps``, ``trained_parameters``,
            ``seconds`` in all, ``examples_per_second`` of the training steps alone.
    """

    curve: tuple[CurvePoint, ...]
    figures: dict[str, float]


@dataclass(frozen=True)
class TargetGroup:
    """A history, as its prompt shows it, with some of its targets and how often each occurs: one packed sequence."""

    history: tuple[int, ...]
    targets: tuple[int, ...]
    counts: tuple[int, ...]


def train_novelty_model(
    base: Path,
    output: Path,
    labels: Sequence[str],
    examples: pl.DataFrame,
    options: NoveltyOptions,
    *,
    log: Log = silent,
) -> NoveltyReport:
    """Fine-tune the base model on novel transitions and save it as a standard model folder.

    Args:
        base: folder of the pretrained model.
        output: folder to be written, whole or not at all.
        labels: the label of cluster i at index i.
        examples: columns ``history`` (list of cluster ids), ``cluster_id`` (the next cluster), ``split`` (``train`` or
            ``holdout``), one row per transition.
        options: how to train.
        log: receives progress lines.

    Raises:
        ValueError: a split is empty, or labels, histories, targets or options are unusable.
    """
    started = time.monotonic()
    training, holdout = split_examples(examples, len(labels), options)
    model = NoveltyTraining(base, labels, options)
    log("measuring the untuned model on held-out transitions")
    untuned = model.holdout_figures(holdout, log)
    batches = training_batches(training, options)
    curve, training_seconds = model.fit(batches, holdout, log)
    log("measuring the tuned model on held-out transitions")
    tuned = model.holdout_figures(holdout, log)
    with new_folder(output) as folder:
        save_checkpoint(model.model, model.tokenizer, folder)
    figures = {
        **{f"{name}_untuned": untuned[name] for name in ("holdout_loss", "format_validity")},
        **{f"{name}_tuned": tuned[name] for name in ("holdout_loss", "format_validity")},
        **{name: value for name, value in tuned.items() if name.startswith("recall")},
        "training_examples": len(training),
        "holdout_examples": len(holdout),
        "steps": len(batches),
        "trained_parameters": model.trained_parameters,
        "seconds": time.monotonic() - started,
        "examples_per_second": len(training) * options.epochs / training_seconds,
    }
    return NoveltyReport(tuple(curve), figures)


class NoveltyTraining:
    """The model under training, its tokenizer, and the tokens of the labels."""

    def __init__(self, base: Path, labels: Sequence[str], options: NoveltyOptions) -> None:
        self.tokenizer = load_tokenizer(base)
        self.model = load_causal_model(base)
        self.labels = labels
        self.tokens = label_tokens(self.tokenizer, labels)
        self.options = options
        select_trainable(self.model, options.tune, options.seed)
        self.trained_parameters = sum(weight.numel() for weight in self.model.parameters() if weight.requires_grad)

    def fit(
        self, batches: Sequence[Sequence[TargetGroup]], holdout: pl.DataFrame, log: Log
    ) -> tuple[list[CurvePoint], float]:
        """Take one step per batch; returns the curve and the seconds spent in the steps."""
        options = self.options
        schedule = Schedule(options.learning_rate, len(batches), options.warmup_share, options.weight_decay)
        optimiser = Optimiser(self.model.parameters(), schedule)
        holdout_groups = group_targets(holdout.select("history", "cluster_id").rows())
        progress = Progress(sum(count_transitions(batch) for batch in batches), "examples", log)
        curve, recent, seconds = [], [], 0.0
        with torch.random.fork_rng():
            torch.manual_seed(options.seed)  # of dropout, where the model has any
            for step, batch in enumerate(batches, start=1):
                started = time.monotonic()
                self.model.train()
                loss = self.loss(batch)
                optimiser.accumulate(loss)
                optimiser.step()
                recent.append(loss.item())
                seconds += time.monotonic() - started
                progress.advance(count_transitions(batch), f"loss {recent[-1]:.3f}")
                if step % options.evaluate_every == 0 or step == len(batches):
                    curve.append(CurvePoint(step, float(np.mean(recent)), self.holdout_loss(holdout_groups)))
                    recent.clear()
        self.model.eval()
        return curve, seconds

    def loss(self, groups: Sequence[TargetGroup]) -> Tensor:
        """Mean over the groups' transitions of minus the log probability of the target's label, terminator included."""
        prompts = [
            prompt_tokens(self.tokenizer, novelty_prompt([self.labels[cluster] for cluster in group.history]))
            for group in groups
        ]
        trees = [separate_branches([self.tokens[target] for target in group.targets]) for group in groups]
        batch = pack(prompts, trees, padding_token(self.tokenizer))
        logits = next_token_logits(self.model, batch)
        log_probabilities = sequence_log_probabilities(logits, batch, terminator(self.tokenizer))
        counts = torch.tensor([count for group in groups for count in group.counts]).to(log_probabilities)
        return -(log_probabilities @ counts) / counts.sum()

    def holdout_loss(self, groups: Sequence[TargetGroup]) -> float:
        """The loss of held-out transitions, without changing anything."""
        self.model.eval()
        total = 0.0
        with torch.inference_mode():
            for start in range(0, len(groups), EVALUATION_GROUPS):
                part = groups[start : start + EVALUATION_GROUPS]
                total += self.loss(part).item() * count_transitions(part)
        return total / count_transitions(groups)

    def holdout_figures(self, holdout: pl.DataFrame, log: Log) -> dict[str, float]:
        """Loss, recall and format validity of held-out transitions under the exact label distribution at T = 1."""
        rows = holdout.select("history", "cluster_id").rows()
        histories = sorted({tuple(sorted(history)) for history, _ in rows})
        places = np.array([histories.index(tuple(sorted(history))) for history, _ in rows])
        targets = np.array([target for _, target in rows])
        log_probabilities = label_log_probabilities(self.model, self.tokenizer, self.labels, histories, [1.0], log=log)
        distribution = renormalise(log_probabilities, histories)
        ranks = target_ranks(distribution.probabilities[0][places], targets)
        return {
            "holdout_loss": float(-log_probabilities[0][places, targets].mean()),
            "format_validity": float(distribution.format_validity[0].mean()),
            **{f"recall_at_{cut}": float((ranks < cut).mean()) for cut in RECALL_CUTS},
        }


def label_distributions(
    model_folder: Path,
    labels: Sequence[str],
    histories: Sequence[History],
    temperatures: Sequence[float],
    log: Log = silent,
) -> LabelDistributions:
    """The exact law of one free, valid sample of a novelty checkpoint, for every history and temperature.

    Shards of the histories give the same numbers as the whole if each holds a multiple of
    ``label_distribution.histories_per_pass`` histories.

    Args:
        model_folder: the checkpoint.
        labels: the label of cluster i at index i.
        histories: [H] sets of cluster ids.
        temperatures: [T], each above 0.
        log: receives progress lines.

    Raises:
        ValueError: no model, unusable labels, a malformed history, or a temperature that is not positive.
    """
    tokenizer, model = load_tokenizer(model_folder), load_causal_model(model_folder)
    values = label_log_probabilities(model, tokenizer, labels, histories, temperatures, log=log)
    return renormalise(values, histories)


def memorisation(
    histories: Sequence[History], draws: Sequence[Sequence[int]], trained: Iterable[tuple[History, int]]
) -> float | None:
    """Over histories that occur in training, the share of draws that repeat one of their training pairs (S, C).

    Args:
        histories: [H] sets of cluster ids.
        draws: [H] clusters drawn for each history, duplicates kept.
        trained: the pairs (history, next cluster) of the training examples.

    Returns:
        A share in [0, 1]; None where no history occurs in training, since there is nothing to repeat.
    """
    pairs = {(frozenset(history), cluster) for history, cluster in trained}
    known = {history for history, _ in pairs}
    repeats = [
        (frozenset(history), cluster) in pairs
        for history, drawn in zip(histories, draws, strict=True)
        if frozenset(history) in known
        for cluster in drawn
    ]
    return sum(repeats) / len(repeats) if repeats else None


def target_ranks(probabilities: Float64Array, targets: IntArray) -> IntArray:
    """[examples] how many clusters stand before each target by probability, the lower id first among equals.

    Args:
        probabilities: [examples, labels].
        targets: [examples] cluster ids.
    """
    own = np.take_along_axis(probabilities, targets[:, None], axis=1)
    earlier = np.arange(probabilities.shape[1]) < targets[:, None]
    ranks: IntArray = ((probabilities > own) | ((probabilities == own) & earlier)).sum(axis=1)
    return ranks


def split_examples(examples: pl.DataFrame, clusters: int, options: NoveltyOptions) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Training transitions, and the seeded sample of held-out ones over at most ``holdout_histories`` histories.

    Raises:
        ValueError: a split is empty, a history is malformed, or a target is unknown or in its own history.
    """
    check_histories(examples["history"].to_list(), clusters)
    for history, target in examples.select("history", "cluster_id").iter_rows():
        if target in history or not 0 <= target < clusters:
            raise ValueError(
                f"the transition {history} to {target} must lead to one of the other clusters below {clusters}"
            )
    training, holdout = (examples.filter(pl.col("split") == split) for split in ("train", "holdout"))
    if training.is_empty() or holdout.is_empty():
        raise ValueError(
            f"{len(training)} training and {len(holdout)} held-out transitions: training needs some of each"
        )
    shuffled = holdout.sample(fraction=1.0, shuffle=True, seed=options.seed)
    kept = shuffled["history"].list.sort().unique(maintain_order=True).head(options.holdout_histories)
    return training, shuffled.filter(pl.col("history").list.sort().is_in(kept.implode()))


def training_batches(training: pl.DataFrame, options: NoveltyOptions) -> list[list[TargetGroup]]:
    """The batches of all epochs: transitions in a seeded order, those of one history packed together.

    Within windows of the shuffled histories those with as many targets share a batch: rows are padded to the longest,
    and in batches at random half of all tokens were padding.
    """
    generator = np.random.default_rng(options.seed)
    rows = training.select("history", "cluster_id").rows()
    batches: list[list[TargetGroup]] = []
    for _ in range(options.epochs):
        groups = group_targets([rows[index] for index in generator.permutation(len(rows))])
        shuffled = [groups[index] for index in generator.permutation(len(groups))]
        epoch: list[list[TargetGroup]] = []
        for start in range(0, len(shuffled), SORTED_WINDOW):
            window = sorted(shuffled[start : start + SORTED_WINDOW], key=lambda group: len(group.targets))
            epoch += _cut_batches(window, options.batch_size, generator)
        batches += [epoch[index] for index in generator.permutation(len(epoch))]
    return batches


def _cut_batches(
    groups: Sequence[TargetGroup], batch_size: int, generator: np.random.Generator
) -> list[list[TargetGroup]]:
    """Batches of at least ``batch_size`` transitions but the last, each history in an order of its own."""
    batches: list[list[TargetGroup]] = []
    batch: list[TargetGroup] = []
    for group in groups:
        shown = tuple(int(cluster) for cluster in generator.permutation(group.history))
        batch.append(TargetGroup(shown, group.targets, group.counts))
        if count_transitions(batch) >= batch_size:
            batches.append(batch)
            batch = []
    return [*batches, batch] if batch else batches


def group_targets(transitions: Iterable[tuple[History, int]]) -> list[TargetGroup]:
    """Gather the targets of each history, at most ``MAX_TARGETS_PER_PROMPT`` distinct ones in a group."""
    targets: dict[tuple[int, ...], Counter[int]] = {}
    for history, target in transitions:
        targets.setdefault(tuple(sorted(history)), Counter())[target] += 1
    groups = []
    for history, counter in targets.items():
        counted = list(counter.items())
        for start in range(0, len(counted), MAX_TARGETS_PER_PROMPT):
            clusters, counts = zip(*counted[start : start + MAX_TARGETS_PER_PROMPT], strict=True)
            groups.append(TargetGroup(history, clusters, counts))
    return groups


def count_transitions(groups: Sequence[TargetGroup]) -> int:
    """The number of transitions in the groups, repeats counted."""
    return sum(sum(group.counts) for group in groups)
