"""The alignment model while it is trained: its head, its steps, its evaluations, and the best weights so far.

All candidates of one history are separate branches under its prompt in one packed sequence, so a history with m served
clusters costs one prompt and m labels. Two losses: binary cross-entropy on the score L, or the raw rate in a stack,
as a soft label (pointwise), or on the order of two clusters of one history (pairwise).

What an evaluation judges is what would be saved: a stack is fitted again to the body as it then is, its spreads chosen
on the validation histories. The best of what was judged is saved as it was judged. Between evaluations the body of a
stack trains under heads of its own (``stack_training``): how often it is looked at does not change it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy.special import expit
from torch import Tensor

from models.alignment.candidate_reader import CandidateReader, CandidateStates
from models.alignment.checkpoint_selection import ValidationPoint, describe, is_better, lead_of, validation_point
from models.alignment.examples import ServedHistory
from models.alignment.joint_cells import JointCells
from models.alignment.joint_head import (
    ALONE_FILE,
    JointHead,
    Spreads,
    fit_joint_head,
    spreads_of_head_alone,
    stack_scores,
)
from models.alignment.linear_head import fit_head
from models.alignment.losses import evidence_of, served_loss
from models.alignment.never_served import fit_stack
from models.alignment.options import AlignmentOptions
from models.alignment.passes import looks, step_passes, steps_of_an_epoch, total_steps, training_passes
from models.alignment.predicted_rates import Cells, PredictedRates, RateMap
from models.alignment.served_yardsticks import save_yardsticks
from models.alignment.snapshots import Snapshot
from models.alignment.stack_offsets import HEADS
from models.alignment.stack_training import HEAD_RATE, StackTraining
from models.arrays import AnyFloatArray, Float64Array
from models.feedback.affinity import AdditiveAffinity
from models.files import new_folder, replacing
from models.language.fine_tuning import Optimiser, Schedule
from models.language.frozen_layers import FrozenReading, begin_training
from models.language.language_model import load_tokenizer, new_scoring_model, save_checkpoint, select_trainable
from models.progress import Log, Progress, silent

OVERTRAINING = (2, 3)  # times the selected step
SAVE_EVERY_SECONDS = 120.0  # of an unfinished training: half a gigabyte each time with the embedded model


class AlignmentTrainer:
    """The model under training, what it reads, and the best weights so far.

    Args:
        base: folder or hub id of the pretrained model.
        labels: the label of cluster i at index i.
        options: how to train.
        k: the cut of the metrics.
        multipliers: [N] by which predicted scores are multiplied before they rank; None: not at all. A stack predicts
            rates, which rank as they are.
        label_embeddings: [N, dimensions] of the labels, for a stack with label vectors; None: it has none.
    """

    def __init__(
        self,
        base: Path,
        labels: Sequence[str],
        options: AlignmentOptions,
        k: int,
        multipliers: Float64Array | None = None,
        label_embeddings: AnyFloatArray | None = None,
    ) -> None:
        self.tokenizer = load_tokenizer(base)
        self.model = new_scoring_model(base, options.seed, options.layers, HEADS if options.stack else 1)
        self.options = options
        self.k = k
        self.vectors = label_embeddings if options.label_vectors else None
        self.multipliers = np.ones(len(labels)) if multipliers is None or options.stack else multipliers
        self.predicted_rates: PredictedRates | None = None
        self.alone: JointHead | None = None
        self.yardsticks: dict[str, AdditiveAffinity] = {}
        select_trainable(self.model, options.tune, options.seed)
        self.reader = CandidateReader(self.model, self.tokenizer, labels)
        self.frozen_training, self.frozen_validation = FrozenReading(self.model), FrozenReading(self.model)
        self.frozen_passes = FrozenReading(self.model)
        self.curve: list[ValidationPoint] = []
        self.selected: ValidationPoint | None = None
        self.stack_training: StackTraining | None = None
        self.first_ndcg: list[float] = []
        self.best: Snapshot | None = None
        self.best_read: tuple[CandidateStates, CandidateStates] | None = None
        self.evaluated: dict[int, Snapshot] = {}
        self.recent: list[float] = []
        self.seconds = 0.0
        self.ended = ""  # why the training ended before its last step, where it did

    def fit(
        self,
        training: Sequence[ServedHistory],
        validation: Sequence[ServedHistory],
        log: Log,
        resume: Path | None = None,
        save_every_seconds: float = SAVE_EVERY_SECONDS,
    ) -> None:
        """Fit the head, take the steps, and end with the model of the best evaluation on the validation histories.

        Args:
            training: what to learn from.
            validation: what to choose the spreads of a stack and to select by.
            log: receives progress lines.
            resume: file of an unfinished training of the same data and options: the training resumes from it if it
                exists, writes it now and then, and removes it at the end. An interruption does not change the result.
            save_every_seconds: least time between two writes of it.
        """
        options = self.options
        with torch.random.fork_rng():
            torch.manual_seed(options.seed)  # of dropout, where the model has any
            if resume is not None and resume.exists():
                optimiser = self._load_state(resume, len(training))
                log(f"the training that was interrupted after step {optimiser.step_count} resumes")
            else:
                if not options.stack:
                    self._fit_head(training, log)
                self.evaluate(training, validation, 0, None, log)
                if options.stack:
                    self._start_stack_training(training, validation, log)
                optimiser = self._new_optimiser(len(training))
            self._take_steps(optimiser, training, validation, log, resume, save_every_seconds)
        if self.best is not None:
            self.best.put_into(self.reader)
        if options.stack:
            cells = self._cells(training, validation, self.read_by_best(training, validation, log))
            self.alone = fit_joint_head(cells[0], spreads_of_head_alone(*cells, log))
        if resume is not None:
            resume.unlink(missing_ok=True)

    def accumulate_gradient(self, optimiser: Optimiser, passes: Mapping[int, Sequence[ServedHistory]]) -> float:
        """Backpropagate the loss over the histories of some passes, by the number of the pass; returns its value.

        The passes add up to the gradient of one pass over all of them: each one's loss is weighted by its share of the
        evidence.
        """
        evidence = {number: float(evidence_of(served, self.options.loss).sum()) for number, served in passes.items()}
        total, value = sum(evidence.values()), 0.0
        for number, served in passes.items():
            if evidence[number] == 0.0:
                continue  # pairwise: every served cluster of these histories ties
            with self.frozen_passes.batch(number):
                loss = self.loss(served) * (evidence[number] / total)
            optimiser.accumulate(loss)
            value += loss.item()
        return value

    def loss(self, served: Sequence[ServedHistory]) -> Tensor:
        """Loss over all served clusters, or all pairs, of some histories.

        While a stack trains, the mean of the losses by both of its heads, see ``stack_training``. Histories are shown
        sorted, as they are scored and as the head was fitted: a short training ranked no better with shuffled ones
        (NDCG@3 0.885 against 0.899 on 87 held-out histories of one simulated log).
        """
        read = [row.history for row in served], [row.clusters for row in served]
        if self.stack_training is None:
            return served_loss(self.reader.logits(*read), served, self.options.loss)
        both = self.stack_training.logits(self.reader.states(*read), served)
        return torch.stack([served_loss(logits, served, self.options.loss) for logits in both]).mean()

    def evaluate(
        self,
        training: Sequence[ServedHistory],
        validation: Sequence[ServedHistory],
        step: int,
        training_loss: float | None,
        log: Log,
    ) -> None:
        """Judge what would be saved now on the validation histories, and keep it if it is the best so far.

        A stack is fitted to the body as it is, and stays in place.
        """
        read, taught = self._read(validation, self.frozen_validation, log), None
        spreads = None
        if self.options.stack:
            taught = self._read_sample(training, log)
            cells, held_out = self._cells(training, validation, (taught, read))
            everything = JointCells.without_states(training, len(self.reader.labels), self.vectors)
            known = Spreads(**self.curve[0].spreads or {}) if self.curve else None
            spreads = fit_stack(self.reader, cells, everything, held_out, self.k, log, known)
        point, ndcg = validation_point(
            self.reader.score(read), validation, self.k, step, training_loss, self.multipliers
        )
        self.first_ndcg = self.first_ndcg or ndcg.tolist()
        point = replace(
            point,
            seconds=self.seconds,
            spreads=asdict(spreads) if spreads else None,
            lead=lead_of(ndcg, np.array(self.first_ndcg), len(looks(len(training), self.options))) if step else None,
        )
        self.curve.append(point)
        log(f"step {step}: {describe(point)}")
        best = self.selected is None or is_better(point, self.selected)
        if not (best or self.options.keep_overtrained):
            return
        snapshot = Snapshot.of(self.reader)
        if self.options.keep_overtrained:
            self.evaluated[step] = snapshot
        if best:
            self.selected, self.best = point, snapshot
            self.best_read = None if taught is None else (taught, read)

    def words_earn_nothing(self, step: int, histories: int) -> bool:
        """Whether every training history has been shown once, and a stack with label vectors reads no candidate.

        At no look had the language model a head for served clusters then, and now it has none for others. More steps
        would be for nothing: in the demo three epochs took 203 of 300 seconds, and nothing was read afterwards.
        Comparison arms need all steps.
        """
        if not self.options.label_vectors or not self.options.stack or self.options.keep_overtrained:
            return False
        heads = [(point.spreads or {}).get("head") for point in self.curve]
        return step >= steps_of_an_epoch(histories, self.options) and not any(heads) and not self.reader.heads.any()

    def read_by_best(
        self, training: Sequence[ServedHistory], validation: Sequence[ServedHistory], log: Log
    ) -> tuple[CandidateStates, CandidateStates]:
        """What the selected body, in place after the training, reads in training and validation histories.

        Kept where it was read for the evaluation; read again after an interruption.
        """
        if self.best_read is None:
            read = self._read(validation, self.frozen_validation, log)
            self.best_read = self._read_sample(training, log), read
        return self.best_read

    def score(self, read: CandidateStates) -> list[Float64Array]:
        """Predicted scores of candidates that the reader has read, by the head as it is: L, or the rates of a stack."""
        return [expit(logits) for logits in self.reader.score(read)]

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
        scores = self.score(self._read(validation, self.frozen_validation))
        stack = self.options.stack
        rate_map = RateMap.of_rates(len(self.multipliers)) if stack else RateMap.fit(rows, self.multipliers)
        self.predicted_rates = PredictedRates.fit(rate_map, cells, scores)
        return self.predicted_rates

    def overtrained_steps(self) -> dict[int, int]:
        """By factor (2, 3): the first evaluated step at or after so many times the selected one, if there is one."""
        selected = self.selected.step if self.selected else 0
        wanted = {factor: factor * selected for factor in OVERTRAINING if selected}
        later = {factor: [step for step in self.evaluated if step >= least] for factor, least in wanted.items()}
        return {factor: min(steps) for factor, steps in later.items() if steps}

    def save(self, output: Path) -> None:
        """Write the model, whole or not at all; with its rates once calibrated, and its yardsticks once judged."""
        with new_folder(output) as folder:
            save_checkpoint(self.model, self.tokenizer, folder)
            if self.reader.offsets is not None:
                self.reader.offsets.save(folder)
            if self.alone is not None:
                self.alone.save(folder / ALONE_FILE)
            if self.predicted_rates is not None:
                self.predicted_rates.save(folder)
            if self.yardsticks:
                save_yardsticks(self.yardsticks, folder)

    def _fit_head(self, training: Sequence[ServedHistory], log: Log) -> None:
        served = self._sample(training)
        penalty = fit_head(self.reader, served, log)
        log(f"the head starts from a ridge regression on {len(served)} histories, penalty {penalty:g}")

    def _sample(self, training: Sequence[ServedHistory]) -> list[ServedHistory]:
        """The histories that a head is fitted to."""
        order = np.random.default_rng((self.options.seed, 1)).permutation(len(training))[: self.options.head_histories]
        return [training[index] for index in sorted(order)]

    def _read_sample(self, training: Sequence[ServedHistory], log: Log) -> CandidateStates:
        return self._read(self._sample(training), self.frozen_training, log)

    def _read(self, served: Sequence[ServedHistory], frozen: FrozenReading, log: Log = silent) -> CandidateStates:
        return self.reader.read([row.history for row in served], [row.clusters for row in served], log, frozen)

    def _cells(
        self,
        training: Sequence[ServedHistory],
        validation: Sequence[ServedHistory],
        read: tuple[CandidateStates, CandidateStates],
    ) -> tuple[JointCells, JointCells | None]:
        """Cells to fit a stack to, and validation cells to choose its spreads by, of what was read in both."""
        served, clusters = self._sample(training), len(self.reader.labels)
        held_out = JointCells.of(read[1].array(), validation, clusters, self.vectors) if validation else None
        return JointCells.of(read[0].array(), served, clusters, self.vectors), held_out

    def _start_stack_training(
        self, training: Sequence[ServedHistory], validation: Sequence[ServedHistory], log: Log
    ) -> None:
        cells, _ = self._cells(training, validation, self.read_by_best(training, validation, log))
        spreads = Spreads(**(self.curve[0].spreads or {}))
        self.stack_training = StackTraining.start(
            cells, self.reader.head_weights(), spreads, training, self.model.device
        )

    def _new_optimiser(self, histories: int) -> Optimiser:
        options = self.options
        schedule = Schedule(
            options.learning_rate, total_steps(histories, options), options.warmup_share, options.weight_decay
        )
        if self.stack_training is None:
            return Optimiser(self.model.parameters(), schedule)
        return Optimiser(self.model.base_model.parameters(), schedule, [self.stack_training.weights], HEAD_RATE)

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
        last, judged = total_steps(len(training), options), looks(len(training), options)
        progress = Progress(last - optimiser.step_count, "steps", log)
        saved = time.monotonic()
        self.frozen_passes = FrozenReading(self.model, log)
        passes = [[training[index] for index in each] for each in training_passes(len(training), options)]
        for step, numbers in enumerate(step_passes(len(training), options), start=1):
            if step <= optimiser.step_count:
                continue  # taken before the interruption
            began = time.monotonic()
            begin_training(self.model)
            self.recent.append(self.accumulate_gradient(optimiser, {number: passes[number] for number in numbers}))
            optimiser.step()
            self.model.eval()
            self.seconds += time.monotonic() - began
            progress.advance(note=f"loss {self.recent[-1]:.3f}")
            if step in judged:
                self.evaluate(training, validation, step, float(np.mean(self.recent)), log)
                self.recent.clear()
                if self.words_earn_nothing(step, len(training)):
                    self.ended = f"training ended after step {step} of {last}: label vectors say what the words say"
                    log(self.ended)
                    break
            if resume is not None and time.monotonic() - saved >= save_every_seconds:
                self._save_state(resume, optimiser)
                saved = time.monotonic()

    def _save_state(self, path: Path, optimiser: Optimiser) -> None:
        state = {
            "optimiser": optimiser.state(),
            "best": None if self.best is None else self.best.state(),
            "evaluated": {step: snapshot.state() for step, snapshot in self.evaluated.items()},
            "seconds": self.seconds,
            "curve": [asdict(point) for point in self.curve],
            "selected": None if self.selected is None else asdict(self.selected),
            "recent": self.recent,
            "random": torch.get_rng_state(),
            "first_ndcg": self.first_ndcg,
            "stack_training": None if self.stack_training is None else self.stack_training.state(),
        }
        with replacing(path) as partial:
            torch.save(state, partial)

    def _load_state(self, path: Path, histories: int) -> Optimiser:
        """The optimiser of the unfinished training, and everything else as it was."""
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self.stack_training = StackTraining(**state["stack_training"]) if state["stack_training"] else None
        optimiser = self._new_optimiser(histories)
        optimiser.load_state(state["optimiser"])
        self.best = Snapshot.of_state(state["best"]) if state["best"] else None
        self.evaluated = {step: Snapshot.of_state(found) for step, found in state["evaluated"].items()}
        self.seconds = state["seconds"]
        self.curve = [ValidationPoint(**point) for point in state["curve"]]
        self.selected = None if state["selected"] is None else ValidationPoint(**state["selected"])
        self.recent = state["recent"]
        self.first_ndcg = state["first_ndcg"]
        torch.set_rng_state(state["random"])
        return optimiser
