"""The alignment model while it is trained: its head, its steps, its evaluations, and the best weights so far.

All candidates of one history are separate branches under its prompt in one packed sequence, so a history with m served
clusters costs one prompt and m labels. Two losses: binary cross-entropy on the score L as a soft label (pointwise), or
a logistic loss on pairs of clusters of one history (pairwise).
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy.special import expit
from torch import Tensor

from models.alignment.candidate_reader import CandidateReader, CandidateStates
from models.alignment.checkpoint_selection import ValidationPoint, describe, merit, validation_point
from models.alignment.examples import ServedHistory
from models.alignment.joint_head import (
    JointCells,
    JointHead,
    choose_spreads,
    fit_joint_head,
    spreads_of_head_alone,
    stack_scores,
)
from models.alignment.linear_head import fit_head
from models.alignment.losses import pairwise_loss, soft_label_loss
from models.alignment.options import AlignmentOptions
from models.alignment.predicted_rates import Cells, PredictedRates
from models.arrays import Float64Array
from models.feedback.affinity import AdditiveAffinity
from models.files import new_folder, replacing
from models.language.fine_tuning import Optimiser, Schedule
from models.language.language_model import load_tokenizer, new_scoring_model, save_checkpoint, select_trainable
from models.progress import Log, Progress, silent

OVERTRAINING = (2, 3)  # times the selected step


SAVE_EVERY_SECONDS = 120.0  # of an unfinished training: half a gigabyte each time with the embedded model


def history_batches(histories: int, options: AlignmentOptions) -> Iterator[list[int]]:
    """Indices of the batches: every history once in a seeded order, then again in another, until the steps are done."""
    generator = np.random.default_rng(options.seed)
    queue: list[int] = []
    for _ in range(options.steps):
        while len(queue) < options.histories_per_batch:
            queue.extend(generator.permutation(histories).tolist())
        yield queue[: options.histories_per_batch]
        queue = queue[options.histories_per_batch :]


class AlignmentTrainer:
    """The model under training, what it reads, and the best weights so far.

    Args:
        base: folder or hub id of the pretrained model.
        labels: the label of cluster i at index i.
        options: how to train.
        k: the cut of the metrics.
        multipliers: [N] by which predicted scores are multiplied before they rank; None: not at all.
    """

    def __init__(
        self,
        base: Path,
        labels: Sequence[str],
        options: AlignmentOptions,
        k: int,
        multipliers: Float64Array | None = None,
    ) -> None:
        self.tokenizer = load_tokenizer(base)
        self.model = new_scoring_model(base, options.seed, options.layers)
        self.options = options
        self.k = k
        self.multipliers = np.ones(len(labels)) if multipliers is None else multipliers
        self.predicted_rates: PredictedRates | None = None
        self.alone: JointHead | None = None
        select_trainable(self.model, options.tune, options.seed)
        self.reader = CandidateReader(self.model, self.tokenizer, labels)
        self.curve: list[ValidationPoint] = []
        self.selected: ValidationPoint | None = None
        self.best_weights: dict[str, Tensor] = {}
        self.evaluated_weights: dict[int, dict[str, Tensor]] = {}
        self.recent: list[float] = []
        self.seconds = 0.0

    def fit(
        self,
        training: Sequence[ServedHistory],
        validation: Sequence[ServedHistory],
        log: Log,
        resume: Path | None = None,
        save_every_seconds: float = SAVE_EVERY_SECONDS,
    ) -> None:
        """Fit the head, take the steps, and end with the weights of the best evaluation on the validation histories.

        Args:
            training: what to learn from.
            validation: what to select by.
            log: receives progress lines.
            resume: file of an unfinished training of the same data and options: the training resumes from it if it
                exists, writes it now and then, and removes it at the end. An interruption does not change the result.
            save_every_seconds: least time between two writes of it.
        """
        options = self.options
        order = np.random.default_rng((options.seed, 2)).permutation(len(validation))
        shown = [validation[index] for index in sorted(order[: options.validation_histories])]
        schedule = Schedule(options.learning_rate, options.steps, options.warmup_share, options.weight_decay)
        with torch.random.fork_rng():
            torch.manual_seed(options.seed)  # of dropout, where the model has any
            if resume is not None and resume.exists():
                optimiser = Optimiser(self.model.parameters(), schedule)
                self._load_state(resume, optimiser)
                log(f"the training that was interrupted after step {optimiser.step_count} resumes")
            else:
                self._fit_head(training, log)
                self.evaluate(shown, 0, None, log)
                optimiser = Optimiser(self.model.parameters(), schedule)
            self._take_steps(optimiser, training, shown, log, resume, save_every_seconds)
        if self.selected is not None and self.selected.step == 0 and self.alone is not None:
            self.model.load_state_dict(self.best_weights, strict=False)  # under the head that was fitted to them
        else:
            self.use_weights(self.best_weights, training, log)
        if resume is not None:
            resume.unlink(missing_ok=True)

    def accumulate_gradient(self, optimiser: Optimiser, served: Sequence[ServedHistory]) -> float:
        """Backpropagate the loss over some histories, a few in each pass; returns its value.

        The passes add up to the gradient of one pass over all of them: each part's loss is weighted by its share of the
        evidence.
        """
        totals = [float(self._evidence([row]).sum()) for row in served]
        if sum(totals) == 0.0:
            return 0.0  # pairwise: every served cluster of every history of the batch ties
        value = 0.0
        for start in range(0, len(served), self.options.histories_per_pass):
            part = served[start : start + self.options.histories_per_pass]
            share = sum(totals[start : start + len(part)]) / sum(totals)
            if share == 0.0:
                continue  # pairwise: every served cluster of these histories ties
            loss = self.loss(part) * share
            optimiser.accumulate(loss)
            value += loss.item()
        return value

    def loss(self, served: Sequence[ServedHistory]) -> Tensor:
        """Loss over all served clusters, or all pairs, of some histories.

        Histories are shown sorted, as they are scored and as the head was fitted: a short training ranked no better
        with shuffled ones (NDCG@3 0.885 against 0.899 on 87 held-out histories of a simulated log).
        """
        logits = self.reader.logits([row.history for row in served], [row.clusters for row in served])
        if self.options.loss == "pairwise":
            first = np.cumsum([0, *(len(row.clusters) for row in served[:-1])])
            places = np.concatenate([row.pairs + offset for row, offset in zip(served, first, strict=True)])
            probabilities = torch.from_numpy(np.concatenate([row.pair_probabilities for row in served])).to(logits)
            return pairwise_loss(logits[places[:, 0]], logits[places[:, 1]], probabilities)
        weights = torch.from_numpy(self._evidence(served)).to(logits)
        scores = torch.from_numpy(np.concatenate([row.scores for row in served])).to(logits)
        return soft_label_loss(logits, scores, weights)

    def evaluate(self, validation: Sequence[ServedHistory], step: int, training_loss: float | None, log: Log) -> None:
        """Add a point of the validation histories to the curve, and keep the weights if they are the best so far."""
        point = validation_point(self.reader, validation, self.k, step, training_loss, self.multipliers)
        point = replace(point, seconds=self.seconds)
        self.curve.append(point)
        log(f"step {step}: {describe(point)}")
        best = self.selected is None or merit(point) > merit(self.selected)
        if best or self.options.keep_overtrained:
            weights = {
                name: weight.detach().clone() for name, weight in self.model.named_parameters() if weight.requires_grad
            }
            if self.options.keep_overtrained:
                self.evaluated_weights[step] = weights
            if best:
                self.selected, self.best_weights = point, weights

    def score(self, read: CandidateStates) -> list[Float64Array]:
        """Predicted scores L of candidates that the reader has read, by the head as it is."""
        if self.reader.offsets is None:
            return [expit(logits) for logits in self.reader.score(read)]
        return stack_scores(read, self.reader.head_weights(), self.reader.offsets)

    def score_alone(self, read: CandidateStates) -> list[Float64Array]:
        """Likewise by the language model of a stack alone, under a head that was fitted without affinities.

        Raises:
            ValueError: the model is no stack.
        """
        if self.alone is None:
            raise ValueError("the model is no stack: it is scored by the language model alone")
        return stack_scores(read, self.alone.head, self.alone.offsets)

    def calibrate(self, rows: pl.DataFrame, validation: Sequence[ServedHistory]) -> PredictedRates:
        """Fit what turns scores into rates, with the weights as they are.

        Args:
            rows: training rows, see ``predicted_rates.RateMap.fit``.
            validation: histories that the weights did not learn from.
        """
        rows = rows.sort("history", "cluster_id")  # sums of floats follow the order of the rows
        cells = Cells(
            histories=[row.history for row in validation],
            candidates=[row.clusters for row in validation],
            rates=[row.rates for row in validation],
            impressions=[row.impressions for row in validation],
            weights=[row.weights for row in validation],
        )
        scores = self.score(self.reader.read(cells.histories, cells.candidates))
        self.predicted_rates = PredictedRates.fit(rows, self.multipliers, cells, scores)
        return self.predicted_rates

    def overtrained_steps(self) -> dict[int, int]:
        """By factor (2, 3): the first evaluated step at or after so many times the selected one, if there is one."""
        selected = self.selected.step if self.selected else 0
        found = {}
        for factor in OVERTRAINING if selected else ():
            later = [step for step in self.evaluated_weights if step >= factor * selected]
            if later:
                found[factor] = min(later)
        return found

    def use_weights(self, weights: dict[str, Tensor], training: Sequence[ServedHistory], log: Log = silent) -> None:
        """Give the model the weights of an evaluation; the head of a stack is fitted to them again."""
        self.model.load_state_dict(weights, strict=False)
        if self.options.stack:
            self._fit_head(training, log)

    def save(self, output: Path) -> None:
        """Write the model, with what turns its scores into rates once it is calibrated, whole or not at all."""
        with new_folder(output) as folder:
            save_checkpoint(self.model, self.tokenizer, folder)
            self.reader.save_offsets(folder)
            if self.predicted_rates is not None:
                self.predicted_rates.save(folder)

    def _fit_head(self, training: Sequence[ServedHistory], log: Log) -> None:
        options = self.options
        order = np.random.default_rng((options.seed, 1)).permutation(len(training))[: options.head_histories]
        served = [training[index] for index in sorted(order)]
        if not options.stack:
            penalty = fit_head(self.reader, served, log)
            log(f"the head starts from a ridge regression on {len(order)} histories, penalty {penalty:g}")
            return
        read = self.reader.read([row.history for row in served], [row.clusters for row in served], log)
        cells = JointCells.of(read.array(), served, len(self.reader.labels))
        spreads = choose_spreads(cells)
        joint = fit_joint_head(cells, spreads)
        self.reader.set_head(joint.head)
        self.reader.offsets = joint.offsets_beside(self.reader.head_weights())
        self.alone = fit_joint_head(cells, spreads_of_head_alone(cells))
        log(
            f"head and affinities fitted to {len(order)} histories, {len(cells.rates):,} cells; "
            f"spreads in log-odds: head {spreads.head:g}, embeddings {spreads.embedding:g}, "
            f"own affinities {spreads.affinity:g}; head alone {self.alone.spreads.head:g}"
        )

    def _take_steps(
        self,
        optimiser: Optimiser,
        training: Sequence[ServedHistory],
        validation: Sequence[ServedHistory],
        log: Log,
        resume: Path | None,
        save_every_seconds: float,
    ) -> None:
        options = self.options
        progress = Progress(options.steps - optimiser.step_count, "steps", log)
        saved = time.monotonic()
        for step, batch in enumerate(history_batches(len(training), options), start=1):
            if step <= optimiser.step_count:
                continue  # taken before the interruption
            began = time.monotonic()
            self.model.train()
            self.recent.append(self.accumulate_gradient(optimiser, [training[index] for index in batch]))
            optimiser.step()
            self.model.eval()
            self.seconds += time.monotonic() - began
            progress.advance(note=f"loss {self.recent[-1]:.3f}")
            if step % options.evaluate_every == 0 or step == options.steps:
                self.evaluate(validation, step, float(np.mean(self.recent)), log)
                self.recent.clear()
            if resume is not None and time.monotonic() - saved >= save_every_seconds:
                self._save_state(resume, optimiser)
                saved = time.monotonic()

    def _evidence(self, served: Sequence[ServedHistory]) -> Float64Array:
        """[clusters or pairs in all] the weights of the loss; pairs count alike."""
        pairwise = self.options.loss == "pairwise"
        return np.concatenate([np.ones(len(row.pairs)) if pairwise else row.weights for row in served])

    def _save_state(self, path: Path, optimiser: Optimiser) -> None:
        state = {
            "optimiser": optimiser.state(),
            "best_weights": self.best_weights,
            "evaluated_weights": self.evaluated_weights,
            "seconds": self.seconds,
            "curve": [asdict(point) for point in self.curve],
            "selected": None if self.selected is None else asdict(self.selected),
            "recent": self.recent,
            "random": torch.get_rng_state(),
            "offsets": [torch.from_numpy(values) for values in self._offset_arrays()],
        }
        with replacing(path) as partial:
            torch.save(state, partial)

    def _offset_arrays(self) -> list[Float64Array]:
        offsets = self.reader.offsets
        return [] if offsets is None else [offsets.bias, offsets.affinity]

    def _load_state(self, path: Path, optimiser: Optimiser) -> None:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        optimiser.load_state(state["optimiser"])
        self.best_weights = state["best_weights"]
        self.evaluated_weights = state["evaluated_weights"]
        self.seconds = state["seconds"]
        self.curve = [ValidationPoint(**point) for point in state["curve"]]
        self.selected = None if state["selected"] is None else ValidationPoint(**state["selected"])
        self.recent = state["recent"]
        torch.set_rng_state(state["random"])
        if state["offsets"]:
            self.reader.offsets = AdditiveAffinity(*(values.numpy() for values in state["offsets"]))
