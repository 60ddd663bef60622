"""The alignment model: a language model with one linear projection, trained to predict how much users like a cluster.

All candidates of one history are separate branches under its prompt in one packed sequence, so a history with m served
clusters costs one prompt and m labels. Two losses: binary cross-entropy on the score L as a soft label (pointwise), or
a logistic loss on pairs of clusters of one history (pairwise). The checkpoint that ranks the validation histories best
is the one that is saved; ``alignment_report`` judges it on the test histories, ``alignment_scoring`` scores by it.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy.special import expit
from torch import Tensor

from models.alignment.candidate_reader import CandidateReader, Clusters
from models.alignment.checkpoint_selection import (
    CurvePoint,
    describe,
    merit,
    rank_scores,
    selection_rule,
    validation_point,
)
from models.alignment.examples import ServedHistory, group_by_history
from models.alignment.joint_head import JointCells, JointHead, choose_spreads, fit_joint_head, spreads_of_head_alone
from models.alignment.linear_head import fit_head
from models.alignment.losses import pairwise_loss, soft_label_loss
from models.alignment.options import AlignmentOptions
from models.alignment.predicted_rates import Cells, PredictedRates
from models.alignment.report import Judgement, judge
from models.arrays import AnyFloatArray, Float64Array
from models.evaluation.metrics import evaluate_ranking
from models.feedback.affinity import AdditiveAffinity
from models.files import new_folder, replacing
from models.language.fine_tuning import Optimiser, Schedule
from models.language.language_model import load_scoring_model, load_tokenizer, save_checkpoint, select_trainable
from models.language.prompts import History
from models.progress import Log, Progress, silent

OVERTRAINING = (2, 3)  # times the selected step
SAVE_EVERY_SECONDS = 120.0  # of an unfinished training: half a gigabyte each time with the embedded model


@dataclass(frozen=True)
class AlignmentReport:
    """What training did, and how the selected checkpoint ranks the test histories.

    Attributes:
        curve: the looks at the validation histories; step 0 is the pretrained body under the fitted head.
        judgement: of the test histories.
        overtrained: by factor (2, 3) the step of the arm and its ``f1_at_k`` and ``ndcg_at_k`` on the test histories.
        selected_step: the step whose weights were saved.
        selected_by: ``f1_at_k``, ``validation_loss``, or ``last_step`` where there was nothing to validate on.
        notes: every reason why a figure is missing or another rule was used.
        seconds: the whole call, without what a killed run had done before.
    """

    curve: tuple[CurvePoint, ...]
    judgement: Judgement
    overtrained: dict[int, dict[str, float | None]]
    selected_step: int
    selected_by: str
    notes: tuple[str, ...]
    seconds: float


def training_batches(histories: int, options: AlignmentOptions) -> Iterator[list[int]]:
    """Indices of the batches: every history once in a seeded order, then again in another, until the steps are done."""
    generator = np.random.default_rng(options.seed)
    queue: list[int] = []
    for _ in range(options.steps):
        while len(queue) < options.histories_per_batch:
            queue.extend(generator.permutation(histories).tolist())
        yield queue[: options.histories_per_batch]
        queue = queue[options.histories_per_batch :]


class AlignmentTraining:
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
        self.model = load_scoring_model(base, options.seed, options.layers)
        self.options = options
        self.k = k
        self.multipliers = np.ones(len(labels)) if multipliers is None else multipliers
        self.predicted_rates: PredictedRates | None = None
        self.alone: JointHead | None = None
        self._last_read: tuple[Sequence[History], Sequence[Clusters], Float64Array] | None = None
        select_trainable(self.model, options.tune, options.seed)
        self.reader = CandidateReader(self.model, self.tokenizer, labels)
        self.curve: list[CurvePoint] = []
        self.selected: CurvePoint | None = None
        self.best_weights: dict[str, Tensor] = {}
        self.look_weights: dict[int, dict[str, Tensor]] = {}
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
        """Fit the head, take the steps, and end with the weights of the best look at the validation histories.

        Args:
            training: what to learn from.
            validation: what to select by.
            log: receives progress lines.
            resume: file of an unfinished training of the same data and options: taken up if it exists, written now and
                then, and removed at the end. The result is the same with and without an interruption.
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
                log(f"the training that was interrupted after step {optimiser.step_count} goes on")
            else:
                self._fit_head(training, log)
                self.look(shown, 0, None, log)
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
        weights = torch.from_numpy(self._evidence(served)).to(logits)
        if self.options.loss == "pairwise":
            first = np.cumsum([0, *(len(row.clusters) for row in served[:-1])])
            places = np.concatenate([row.pairs + offset for row, offset in zip(served, first, strict=True)])
            return pairwise_loss(logits[places[:, 0]], logits[places[:, 1]], weights)
        scores = torch.from_numpy(np.concatenate([row.scores for row in served])).to(logits)
        return soft_label_loss(logits, scores, weights)

    def look(self, validation: Sequence[ServedHistory], step: int, training_loss: float | None, log: Log) -> None:
        """Add a point to the curve, and keep the weights if it is the best so far."""
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
                self.look_weights[step] = weights
            if best:
                self.selected, self.best_weights = point, weights

    def predict(self, histories: Sequence[History], candidates: Sequence[Clusters]) -> list[Float64Array]:
        """Predicted scores L of the candidates of each history, by the weights as they stand."""
        if self.alone is None:
            return [expit(logits) for logits in self.reader.all_logits(histories, candidates)]
        # What is asked here is asked of the language model alone next: the states are read once for both.
        self._last_read = histories, candidates, self.reader.all_states(histories, candidates)
        return self._scores(self.reader.head_weights(), self.reader.offsets)

    def predict_alone(self, histories: Sequence[History], candidates: Sequence[Clusters]) -> list[Float64Array]:
        """Likewise by the language model of a stack alone, under a head that was fitted without affinities.

        Raises:
            ValueError: the model is no stack.
        """
        if self.alone is None:
            raise ValueError("the model is no stack: predict is the language model alone")
        if self._last_read is None or self._last_read[0] is not histories or self._last_read[1] is not candidates:
            self.predict(histories, candidates)
        return self._scores(self.alone.head, self.alone.offsets)

    def _scores(self, head: Float64Array, offsets: AdditiveAffinity | None) -> list[Float64Array]:
        """Scores of what was read last, under a head."""
        if self._last_read is None or offsets is None:
            raise ValueError("nothing was read yet")
        histories, candidates, states = self._last_read
        parts = np.split(states @ head, np.cumsum([len(clusters) for clusters in candidates])[:-1])
        return [expit(part + offset) for part, offset in zip(parts, offsets.scores(histories, candidates), strict=True)]

    def calibrate(self, rows: pl.DataFrame, validation: Sequence[ServedHistory]) -> PredictedRates:
        """Fit what turns scores into rates to the weights as they stand.

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
        scores = self.predict(cells.histories, cells.candidates)
        self.predicted_rates = PredictedRates.fit(rows, self.multipliers, cells, scores)
        return self.predicted_rates

    def overtrained_steps(self) -> dict[int, int]:
        """By factor the first look at or after that many times the selected step; without those that lie beyond."""
        selected = self.selected.step if self.selected else 0
        found = {}
        for factor in OVERTRAINING if selected else ():
            later = [step for step in self.look_weights if step >= factor * selected]
            if later:
                found[factor] = min(later)
        return found

    def use_weights(self, weights: dict[str, Tensor], training: Sequence[ServedHistory], log: Log = silent) -> None:
        """Let the model have the weights of a look; the head of a stack is fitted to them anew."""
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
        states = self.reader.all_states([row.history for row in served], [row.clusters for row in served], log)
        cells = JointCells.of(states, served, len(self.reader.labels))
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
        for step, batch in enumerate(training_batches(len(training), options), start=1):
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
                self.look(validation, step, float(np.mean(self.recent)), log)
                self.recent.clear()
            if resume is not None and time.monotonic() - saved >= save_every_seconds:
                self._save_state(resume, optimiser)
                saved = time.monotonic()

    def _evidence(self, served: Sequence[ServedHistory]) -> Float64Array:
        """[clusters or pairs in all] the weights of the loss."""
        pairwise = self.options.loss == "pairwise"
        return np.concatenate([row.pair_weights if pairwise else row.weights for row in served])

    def _save_state(self, path: Path, optimiser: Optimiser) -> None:
        state = {
            "optimiser": optimiser.state(),
            "best_weights": self.best_weights,
            "look_weights": self.look_weights,
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
        self.look_weights = state["look_weights"]
        self.seconds = state["seconds"]
        self.curve = [CurvePoint(**point) for point in state["curve"]]
        self.selected = None if state["selected"] is None else CurvePoint(**state["selected"])
        self.recent = state["recent"]
        torch.set_rng_state(state["random"])
        if state["offsets"]:
            self.reader.offsets = AdditiveAffinity(*(values.numpy() for values in state["offsets"]))


def train_alignment_model(
    base: Path,
    output: Path,
    labels: Sequence[str],
    examples: pl.DataFrame,
    options: AlignmentOptions,
    k: int,
    log: Log = silent,
    *,
    pairs: pl.DataFrame | None = None,
    multipliers: Float64Array | None = None,
    label_embeddings: AnyFloatArray | None = None,
    resume: Path | None = None,
) -> AlignmentReport:
    """Train the alignment model, and save the checkpoint that ranks the validation histories best.

    Args:
        base: folder or hub id of the pretrained model.
        output: folder to be written, whole or not at all: a standard sequence classifier with one label.
        labels: the label of cluster i at index i.
        examples: one row per (history, cluster served) with ``history`` (sorted cluster ids), ``cluster_id``,
            ``score`` (soft label L in [0, 1]), ``weight`` (evidence, above 0), ``raw_rate``, ``shrunk_rate``,
            ``impressions``, ``split`` (``train``, ``validation`` or ``test``; all rows of a history in one), and
            ``unseen`` (whether the cluster is kept from training and validation, to judge what words tell of it).
        options: how to train.
        k: clusters served per history, the cut of the metrics.
        log: receives progress lines.
        pairs: what the pairwise loss learns from, see ``pairs.sample_pairs``.
        multipliers: [N] by which predicted scores are multiplied before they rank.
        label_embeddings: [N, dimensions] of the labels, rows of length 1, for the yardsticks that compare labels.
        resume: file of an unfinished training, see :meth:`AlignmentTraining.fit`.

    Raises:
        ValueError: there are no training examples (or no pairs, for the pairwise loss), or labels, examples or options
            are unusable.
    """
    started = time.monotonic()
    if options.loss == "pairwise" and (pairs is None or pairs.filter(pl.col("split") == "train").is_empty()):
        raise ValueError("the pairwise loss has no training pairs: every two served clusters of a history tie")
    seen = examples.filter(~pl.col("unseen"))
    served = group_by_history(seen, len(labels), pairs if options.loss == "pairwise" else None)
    training = AlignmentTraining(base, labels, options, k, multipliers)
    training.fit(served["train"], served["validation"], log, resume)
    rows = seen.filter(pl.col("split") == "train")
    predicted_rates = training.calibrate(rows, served["validation"])
    training.save(output)
    log("ranking the test histories, by the model and by the yardsticks")
    alone = training.predict_alone if options.stack else None
    judgement = judge(training.predict, predicted_rates, examples, labels, k, label_embeddings, options.seed, alone)
    overtrained = _overtrained_arms(training, output, served, rows, log)
    selected = training.selected or training.curve[-1]
    selected_by, notes = selection_rule(selected, len(served["validation"]), k)
    return AlignmentReport(
        curve=tuple(training.curve),
        judgement=judgement,
        overtrained=overtrained,
        selected_step=selected.step,
        selected_by=selected_by,
        notes=(*notes, *judgement.notes),
        seconds=time.monotonic() - started,
    )


def _overtrained_arms(
    training: AlignmentTraining,
    output: Path,
    served: dict[str, list[ServedHistory]],
    rows: pl.DataFrame,
    log: Log,
) -> dict[int, dict[str, float | None]]:
    """Save the over-trained weights beside the model, and rank the test histories by them."""
    arms: dict[int, dict[str, float | None]] = {}
    test = served["test"]
    candidates = [row.clusters for row in test]
    for factor, step in training.overtrained_steps().items():
        log(f"the weights of step {step}, {factor} times the selected one")
        training.use_weights(training.look_weights[step], served["train"], log)
        training.calibrate(rows, served["validation"])
        training.save(output.with_name(f"{output.name}_overtrained_{factor}x"))
        logits = training.reader.all_logits([row.history for row in test], candidates)
        found = evaluate_ranking(
            rank_scores(logits, candidates, training.multipliers), [row.rates for row in test], training.k
        )
        arms[factor] = {"step": step, "f1_at_k": found.f1_at_k, "ndcg_at_k": found.ndcg_at_k}
    return arms
