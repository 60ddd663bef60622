"""The novelty model: light fine-tuning on novel interest transitions, and its report.

The model learns p(label of the next interest | labels of the history): the loss counts the label's tokens and its
terminator only. It is never trained towards a reward. See ``label_distribution`` for what it proposes.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

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
from models.language.prompts import label_tokens, novelty_prompt, prompt_tokens, terminator
from models.novelty.batches import TargetGroup, count_transitions, group_targets, passes_over, split_examples
from models.novelty.label_distribution import label_log_probabilities, renormalise
from models.novelty.options import NoveltyOptions
from models.progress import Log, Progress, silent

EVALUATION_GROUPS = 16  # packed sequences per pass when held-out losses are measured


@dataclass(frozen=True)
class LossPoint:
    """One point of the training curve. Losses are nats per label: minus the log probability of its whole sequence.

    ``training_loss`` is the mean over the steps since the point before.
    """

    step: int
    training_loss: float
    validation_loss: float


@dataclass(frozen=True)
class NoveltyReport:
    """What training did.

    Attributes:
        curve: one point every ``evaluate_every`` steps, and one wherever training may end.
        figures: ``holdout_loss_untuned`` and ``_tuned`` (nats per label), ``format_validity_untuned`` and ``_tuned``
            (T = 1), ``training_examples``, ``holdout_examples`` (those measured), ``steps_taken``, ``steps`` (up to
            the weights that were saved), ``trained_parameters``, ``seconds`` in all, ``examples_per_second`` of the
            training steps alone.
    """

    curve: tuple[LossPoint, ...]
    figures: dict[str, float]


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

    It is tuned for ``epochs`` passes, and then for as many again, and so on, while the validation loss falls and
    ``most_steps`` allows it: few examples make few steps, and a format is not learned in those. The weights with the
    lowest validation loss are saved.

    Args:
        base: folder of the pretrained model.
        output: folder to be written, whole or not at all.
        labels: the label of cluster i at index i.
        examples: columns ``history`` (list of cluster ids), ``cluster_id`` (the next cluster), ``split`` (``train``,
            ``validation`` or ``holdout``; others are left out), one row per transition.
        options: how to train.
        log: receives progress lines.

    Raises:
        ValueError: a split is empty, or labels, histories, targets or options are unusable.
    """
    started = time.monotonic()
    training, validation, holdout = split_examples(examples, len(labels), options)
    model = NoveltyTraining(base, labels, options)
    log("measuring the untuned model on held-out transitions")
    untuned = model.holdout_figures(holdout, log)
    model.fit(passes_over(training, options), validation, log)
    log("measuring the tuned model on held-out transitions")
    tuned = model.holdout_figures(holdout, log)
    with new_folder(output) as folder:
        save_checkpoint(model.model, model.tokenizer, folder)
    figures = {
        **{f"{name}_untuned": untuned[name] for name in ("holdout_loss", "format_validity")},
        **{f"{name}_tuned": tuned[name] for name in ("holdout_loss", "format_validity")},
        "training_examples": len(training),
        "holdout_examples": len(holdout),
        "steps": model.best.step or model.steps,  # no loss was a number: the last weights were saved
        "steps_taken": model.steps,
        "trained_parameters": model.trained_parameters,
        "seconds": time.monotonic() - started,
        "examples_per_second": model.transitions / model.seconds,
    }
    return NoveltyReport(tuple(model.curve), figures)


def further_passes(taken: int, steps_of_pass: int, most_steps: int) -> int:
    """How many passes follow those taken: as many again, if there is room; a part of a pass is none."""
    return max(0, min(taken, most_steps // steps_of_pass - taken))


@dataclass(frozen=True, eq=False)
class Best:
    """The trained weights with the lowest validation loss so far, and the step that they are of."""

    step: int = 0
    loss: float = math.inf
    weights: tuple[Tensor, ...] = ()


class NoveltyTraining:
    """The model under training, its tokenizer, the tokens of the labels, and what was done so far."""

    def __init__(self, base: Path, labels: Sequence[str], options: NoveltyOptions) -> None:
        self.tokenizer = load_tokenizer(base)
        self.model = load_causal_model(base)
        self.labels = labels
        self.tokens = label_tokens(self.tokenizer, labels)
        self.options = options
        select_trainable(self.model, options.tune, options.seed)
        self.trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.trained_parameters = sum(weight.numel() for weight in self.trained)
        self.best = Best()
        self.curve: list[LossPoint] = []
        self.steps, self.transitions, self.seconds = 0, 0, 0.0

    def fit(self, passes: Iterator[list[list[TargetGroup]]], validation: pl.DataFrame, log: Log) -> None:
        """Take a step per batch, pass by pass, for as long as the validation loss asks for; the best weights stay."""
        options = self.options
        groups = group_targets(validation.select("history", "cluster_id").rows())
        taken, wanted = 0, options.epochs
        with torch.random.fork_rng():
            torch.manual_seed(options.seed)  # of dropout, where the model has any
            while wanted:
                before = self.best.loss
                each = list(islice(passes, wanted))
                self._fit_round(list(chain.from_iterable(each)), groups, log)
                taken += wanted
                if not self.best.loss < before:
                    break
                wanted = further_passes(taken, len(each[0]), options.most_steps)
                if wanted:
                    log(f"validation loss {self.best.loss:.3f} after {self.steps} steps: {wanted} more passes")
        self.model.eval()
        if self.best.step < self.steps and self.best.weights:
            log(f"the weights of step {self.best.step} of {self.steps} stay: later ones have a higher validation loss")
            with torch.no_grad():
                for weight, kept in zip(self.trained, self.best.weights, strict=True):
                    weight.copy_(kept)

    def _fit_round(self, batches: Sequence[Sequence[TargetGroup]], validation: Sequence[TargetGroup], log: Log) -> None:
        """Take a step per batch; the learning rate ends near 0 each time, so that every round may be the last."""
        options = self.options
        schedule = Schedule(options.learning_rate, len(batches), options.warmup_share, options.weight_decay)
        optimiser = Optimiser(self.model.parameters(), schedule)
        progress = Progress(sum(count_transitions(batch) for batch in batches), "examples", log)
        recent = []
        for place, batch in enumerate(batches, start=1):
            started = time.monotonic()
            self.model.train()
            loss = self.loss(batch)
            optimiser.accumulate(loss)
            optimiser.step()
            recent.append(loss.item())
            self.seconds += time.monotonic() - started
            self.steps += 1
            self.transitions += count_transitions(batch)
            progress.advance(count_transitions(batch), f"loss {recent[-1]:.3f}")
            if place % options.evaluate_every == 0 or place == len(batches):
                self._look(LossPoint(self.steps, float(np.mean(recent)), self.mean_loss(validation)))
                recent.clear()

    def _look(self, point: LossPoint) -> None:
        self.curve.append(point)
        if point.validation_loss < self.best.loss:
            weights = tuple(weight.detach().clone() for weight in self.trained)
            self.best = Best(point.step, point.validation_loss, weights)

    def loss(self, groups: Sequence[TargetGroup]) -> Tensor:
        """Mean over the groups' transitions of minus the log probability of the target's label, terminator included."""
        prompts = [
            prompt_tokens(self.tokenizer, novelty_prompt([self.labels[cluster] for cluster in group.history]))
            for group in groups
        ]
        trees = [separate_branches([self.tokens[target] for target in group.targets]) for group in groups]
        batch = pack(prompts, trees, padding_token(self.tokenizer))
        logits = next_token_logits(self.model, batch)
        log_probabilities = sequence_log_probabilities(logits, batch, terminator(self.tokenizer), 1.0)
        counts = torch.tensor([count for group in groups for count in group.counts]).to(log_probabilities)
        return -(log_probabilities @ counts) / counts.sum()

    def mean_loss(self, groups: Sequence[TargetGroup]) -> float:
        """The loss of transitions that do not teach; the model is not changed."""
        self.model.eval()
        total = 0.0
        with torch.inference_mode():
            for start in range(0, len(groups), EVALUATION_GROUPS):
                part = groups[start : start + EVALUATION_GROUPS]
                total += self.loss(part).item() * count_transitions(part)
        return total / count_transitions(groups)

    def holdout_figures(self, holdout: pl.DataFrame, log: Log) -> dict[str, float]:
        """Loss and format validity of held-out transitions under the exact label distribution at T = 1."""
        rows = holdout.select("history", "cluster_id").rows()
        histories = sorted({tuple(sorted(history)) for history, _ in rows})
        places = np.array([histories.index(tuple(sorted(history))) for history, _ in rows])
        targets = np.array([target for _, target in rows])
        log_probabilities = label_log_probabilities(self.model, self.tokenizer, self.labels, histories, [1.0], log=log)
        distribution = renormalise(log_probabilities, histories)
        return {
            "holdout_loss": float(-log_probabilities[0][places, targets].mean()),
            "format_validity": float(distribution.format_validity[0].mean()),
        }
