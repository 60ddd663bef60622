"""Learning a novelty model, whatever its head, and its report: what was done, and the contest on held-out users."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.arrays import Float64Array
from models.evaluation.ranking_contest import MODEL, flat_names
from models.files import MODEL_FOLDER
from models.language.prompts import History
from models.novelty.batches import check_examples, split_examples
from models.novelty.contest import CUT, NoveltyContest, hold_novelty_contest
from models.novelty.label_distribution import label_distributions
from models.novelty.label_vectors import train_label_vectors
from models.novelty.options import NoveltyOptions
from models.novelty.pictures import draw_novelty_contest, draw_novelty_curve
from models.novelty.training import train_novelty_model
from models.novelty.transitions import Law, TransitionCounts
from models.novelty.yardsticks import fit_yardsticks
from models.progress import Log, silent

Facts = dict[str, Any]
TOLD = ("loss", f"macro_recall_at_{CUT}")  # of every contestant, among the figures; the rest stands in the contest


def learn_novelty_model(
    base: Path, folder: Path, labels: Sequence[str], examples: pl.DataFrame, options: NoveltyOptions, log: Log = silent
) -> Facts:
    """Train the novelty model, hold its contest, and write model and pictures to the folder.

    Args:
        base: folder of the pretrained model.
        folder: to be filled.
        labels: the label of cluster i at index i.
        examples: ``user_id``, ``history``, ``cluster_id`` and ``split``, one row for each transition.
        options: how to train, and by which head.
        log: receives progress lines.

    Returns:
        What the manifest says of it. Its ``figures``: of the model ``loss`` (nats per held-out transition, without the
        mass of invalid text), ``recall_at_1``, ``_3``, ``_5``, ``_10``, ``macro_recall_at_3``, ``coverage_at_3`` and
        ``surprise_at_3``; ``loss_*`` and ``macro_recall_at_3_*`` of the yardsticks; ``yardsticks_beaten_share``;
        ``format_validity_tuned`` and what else the training of the head gives.

    Raises:
        ValueError: nobody teaches or is held out, or labels, histories, targets or options are unusable.
    """
    check_examples(examples, len(labels))
    if options.head == "label_vectors":
        facts, held_out, parts = _train_label_vectors(base, folder, labels, examples, log)
    else:
        facts, held_out, parts = _train_words(base, folder, labels, examples, options, log)
    contest = judge_novelty_model(folder / MODEL_FOLDER, labels, examples, held_out, options.seed, parts=parts, log=log)
    draw_novelty_contest(contest, len(labels) - len(examples["history"][0]), folder / "novelty.png")
    others = {name: {measure: found[measure] for measure in TOLD} for name, found in contest.values.items()}
    facts["figures"] |= {
        **flat_names({**others, MODEL: contest.values[MODEL]}),
        "yardsticks_beaten_share": contest.beaten_share,
        "held_out_transitions": contest.transitions,
        "held_out_users": contest.users,
    }
    return {
        **facts,
        "head": options.head,
        "intervals": flat_names(contest.intervals),
        "leads": contest.leads,
        "contest": contest.values,
        "best_yardstick": contest.best_yardstick,
    }


def judge_novelty_model(
    folder: Path,
    labels: Sequence[str],
    examples: pl.DataFrame,
    held_out: pl.DataFrame,
    seed: int,
    *,
    parts: Mapping[str, Law],
    log: Log = silent,
) -> NoveltyContest:
    """Hold the contest of a saved model against the yardsticks.

    Args:
        folder: of the model.
        labels: the label of cluster i at index i.
        examples: ``user_id``, ``history``, ``cluster_id`` and ``split``.
        held_out: those of the held-out examples that are measured.
        seed: of the yardsticks and of the bootstrap.
        parts: what the model is made of, each by itself; they compete, and are no yardsticks.
        log: receives progress lines.
    """

    def law(histories: Sequence[History]) -> Float64Array:
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(label_distributions(folder, labels, histories, [1.0], log).probabilities[0]))

    taught, validation = _taught(examples)
    log(f"fitting what counts to {taught.height:,} transitions, and measuring on {held_out.height:,} of held-out users")
    yardsticks = fit_yardsticks(taught, validation, len(labels), seed, log)
    popularity = np.exp(TransitionCounts.of(pl.concat([taught, validation]), len(labels)).log_popularity())
    return hold_novelty_contest({MODEL: law, **yardsticks, **parts}, held_out, popularity, seed)


Trained = tuple[Facts, pl.DataFrame, dict[str, Law]]
"""What the manifest says of a training, the held-out examples that can be measured, and the parts of the model."""


def _train_label_vectors(base: Path, folder: Path, labels: Sequence[str], examples: pl.DataFrame, log: Log) -> Trained:
    started = time.monotonic()
    taught, validation = _taught(examples)
    model = train_label_vectors(base, labels, taught, validation, log)
    model.save(folder / MODEL_FOLDER)
    figures = {
        "format_validity_tuned": 1.0,  # by construction
        "training_examples": taught.height + validation.height,
        "seconds": time.monotonic() - started,
    }
    facts = {"figures": figures, "curve": [], "spreads": vars(model.law.spreads)}
    held_out = examples.filter(pl.col("split") == "holdout")
    return facts, held_out, {name: law.log_probabilities for name, law in model.parts.items()}


def _train_words(
    base: Path, folder: Path, labels: Sequence[str], examples: pl.DataFrame, options: NoveltyOptions, log: Log
) -> Trained:
    report = train_novelty_model(base, folder / MODEL_FOLDER, labels, examples, options, log=log)
    _, _, held_out = split_examples(examples, len(labels), options)
    draw_novelty_curve(report, len(labels) - len(examples["history"][0]), folder / "novelty_curve.png")
    return {"figures": dict(report.figures), "curve": [vars(point) for point in report.curve]}, held_out, {}


def _taught(examples: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All transitions of those who teach, and of those who validate."""
    return (
        examples.filter(pl.col("split").is_in(["train", "counted"])),
        examples.filter(pl.col("split") == "validation"),
    )
