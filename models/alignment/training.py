"""Training the alignment model, from examples to a saved and judged checkpoint.

The alignment model is a language model with one linear projection, which predicts how much users of a history like a
cluster. The checkpoint that ranks the validation histories best is saved; ``report`` judges it on the test histories,
and ``scoring`` scores candidates by it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from models.alignment.apart_examples import APART
from models.alignment.checkpoint_selection import ValidationPoint, rank_scores, selection_rule
from models.alignment.examples import ServedHistory, group_by_history, with_raw_rates
from models.alignment.options import AlignmentOptions
from models.alignment.report import JudgedModel, Judgement, judge
from models.alignment.trainer import AlignmentTrainer
from models.alignment.users_apart import INFIX, contest_of_users_apart
from models.arrays import AnyFloatArray, Float64Array
from models.evaluation.metrics import evaluate_ranking
from models.evaluation.ranking_contest import flat_names
from models.progress import Log, silent


@dataclass(frozen=True)
class AlignmentReport:
    """What training did, and how the selected checkpoint ranks the test histories.

    Attributes:
        curve: the evaluations on the validation histories; step 0 is the pretrained body under the fitted head.
        judgement: of the test histories.
        overtrained: by factor (2, 3) the step of the arm and its ``f1_at_k`` and ``ndcg_at_k`` on the test histories.
        selected_step: the step whose weights were saved.
        selected_by: ``ndcg_at_k``, ``validation_loss``, or ``last_step`` where there was nothing to validate on.
        notes: every reason why a figure is missing or another rule was used.
        seconds: the whole call, without what a killed run had done before.
    """

    curve: tuple[ValidationPoint, ...]
    judgement: Judgement
    overtrained: dict[int, dict[str, float | None]]
    selected_step: int
    selected_by: str
    notes: tuple[str, ...]
    seconds: float

    def facts(self) -> dict[str, Any]:
        """What the manifest of the checkpoint says of the training and of the test histories."""
        judgement = self.judgement
        return {
            "figures": {
                **judgement.figures,
                "held_out_histories": judgement.held_out_histories,
                "selected_step": self.selected_step,
                "seconds": self.seconds,
            },
            "intervals": judgement.intervals,
            "selected_model": judgement.model,
            "leads": judgement.leads,
            "leads_over_random": judgement.leads_over_random,
            "by_cut": judgement.by_cut,
            "errors": judgement.errors,
            "words": judgement.words,
            "overtrained": self.overtrained,
            "selected_by": self.selected_by,
            "notes": list(self.notes),
            "curve": [vars(point) for point in self.curve],
        }


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
        examples: see the head of ``examples``.
        options: how to train.
        k: clusters served per history, the cut of the metrics.
        log: receives progress lines.
        pairs: what the pairwise loss learns from, see ``pairs.sample_pairs``.
        multipliers: [N] by which predicted scores are multiplied before they rank.
        label_embeddings: [N, dimensions] of the labels, rows of length 1, for a stack with label vectors, and for the
            yardsticks that compare labels.
        resume: file of an unfinished training, see :meth:`AlignmentTrainer.fit`.

    Raises:
        ValueError: no training examples, no pairs for the pairwise loss, or unusable labels, examples or options.
    """
    started = time.monotonic()
    seen = examples.filter(~pl.col("unseen"))
    rows = seen.filter(pl.col("split") == "train")
    served = _served_histories(seen, len(labels), options, pairs)
    trainer = AlignmentTrainer(base, labels, options, k, multipliers, label_embeddings)
    trainer.fit(served["train"], served["validation"], log, resume)
    rates = trainer.calibrate(rows, served["validation"])
    log("ranking the test histories, by the model and by the yardsticks")
    alone = trainer.score_alone if options.stack else None
    reader = trainer.reader
    model = JudgedModel(reader.read, trainer.score, rates, reader.structure(), reader.offsets, alone)
    judgement = judge(model, examples, labels, k, label_embeddings, options.seed)
    trainer.yardsticks = judgement.yardsticks
    trainer.save(output)
    if set(APART) <= set(examples.columns):
        judgement = _with_users_apart(judgement, trainer, served, seen, label_embeddings, log)
    overtrained = _overtrained_arms(trainer, output, served, rows, log)
    seconds = time.monotonic() - started
    return _report(trainer, len(served["validation"]), judgement, overtrained, seconds)


def _with_users_apart(
    judgement: Judgement,
    trainer: AlignmentTrainer,
    served: dict[str, list[ServedHistory]],
    seen: pl.DataFrame,
    label_embeddings: AnyFloatArray | None,
    log: Log,
) -> Judgement:
    """The judgement, with the contest beside it in which those who judge have taught nothing."""
    test = served["test"]
    contest = contest_of_users_apart(
        seen,
        (
            *trainer.read_by_best(served["train"], served["validation"], log),
            trainer.reader.read([row.history for row in test], [row.clusters for row in test]),
        ),
        stack=trainer.options.stack,
        label_vectors=trainer.options.label_vectors,
        clusters=len(trainer.reader.labels),
        label_embeddings=label_embeddings,
        k=trainer.k,
        seed=trainer.options.seed,
    )
    if contest is None:
        note = "no figures with users kept apart: those who teach give too little feedback"
        return replace(judgement, notes=(*judgement.notes, note))
    figures = flat_names(contest.values, INFIX) | {f"held_out_histories{INFIX}": float(contest.histories)}
    notes = [f"no figures with users kept apart: {contest.reason}"] if contest.reason else []
    return replace(
        judgement,
        figures=judgement.figures | figures,
        intervals=judgement.intervals | flat_names(contest.intervals, INFIX),
        notes=(*judgement.notes, *notes),
    )


def _report(
    trainer: AlignmentTrainer,
    validation_histories: int,
    judgement: Judgement,
    overtrained: dict[int, dict[str, float | None]],
    seconds: float,
) -> AlignmentReport:
    selected = trainer.selected or trainer.curve[-1]
    selected_by, notes = selection_rule(selected, validation_histories, trainer.k)
    notes += [trainer.ended] if trainer.ended else []
    return AlignmentReport(
        curve=tuple(trainer.curve),
        judgement=judgement,
        overtrained=overtrained,
        selected_step=selected.step,
        selected_by=selected_by,
        notes=(*notes, *judgement.notes),
        seconds=seconds,
    )


def _served_histories(
    seen: pl.DataFrame, clusters: int, options: AlignmentOptions, pairs: pl.DataFrame | None
) -> dict[str, list[ServedHistory]]:
    """The examples by split and history, with the labels of a stack, and the pairs where the loss needs them."""
    if options.loss == "pairwise" and (pairs is None or pairs.filter(pl.col("split") == "train").is_empty()):
        raise ValueError("the pairwise loss has no training pairs: every two served clusters of a history tie")
    labelled = with_raw_rates(seen) if options.stack else seen
    return group_by_history(labelled, clusters, pairs if options.loss == "pairwise" else None)


def _overtrained_arms(
    trainer: AlignmentTrainer,
    output: Path,
    served: dict[str, list[ServedHistory]],
    rows: pl.DataFrame,
    log: Log,
) -> dict[int, dict[str, float | None]]:
    """Save the over-trained weights beside the model, and rank the test histories by them."""
    arms: dict[int, dict[str, float | None]] = {}
    test = served["test"]
    candidates = [row.clusters for row in test]
    for factor, step in trainer.overtrained_steps().items():
        log(f"the weights of step {step}, {factor} times the selected one")
        trainer.evaluated[step].put_into(trainer.reader)
        trainer.alone = None  # it was fitted to the selected body
        trainer.calibrate(rows, served["validation"])
        trainer.save(output.with_name(f"{output.name}_overtrained_{factor}x"))
        logits = trainer.reader.all_logits([row.history for row in test], candidates)
        found = evaluate_ranking(
            rank_scores(logits, candidates, trainer.multipliers), [row.rates for row in test], trainer.k
        )
        arms[factor] = {"step": step, "f1_at_k": found.f1_at_k, "ndcg_at_k": found.ndcg_at_k}
    return arms
