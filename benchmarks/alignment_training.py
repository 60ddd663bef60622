"""Packed training of the alignment model, against plain transformers (pointwise) and TRL's RewardTrainer (pairwise).

    python benchmarks/alignment_training.py [--steps 5]

Four arms on the embedded model, from one checkpoint with a fitted head: the project's own training with either loss;
transformers' Trainer with one row per (history, cluster) and the soft-label loss; TRL's RewardTrainer on the same pairs
of rows. Each has a process of its own, so that its peak of memory is its own, and an arm and its peer take their steps
in turn, so that a change of the machine's speed meets both. The first step of each arm is not timed.

All arms read the same tokens, train the same layers in bfloat16, and take the same steps over the same examples in the
same batches, at the same learning rate. The peers are set up to be fast: tokens prepared beforehand, the rows of a step
sorted by length and padded to the longest of a pass of 56 rows or 32 pairs (32 to 112 rows took the same time), no
autocast, no gradient checkpointing, no workers, neither logs nor saved checkpoints. One thing is not their default:
AdamW on bfloat16 weights loses small updates, so their optimiser keeps float32 copies and float32 gradients, as the
project's does. Evidence weights and probabilities of pairs are 1, because RewardTrainer has neither.

Losses are measured on fixed histories by one reader. They may differ by LOSS_TOLERANCE, see there; the benchmark fails
beyond. Rates count rows, or pairs, per second; tokens per example count padding. Prints one JSON object as its last
line.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from alignrec_assets.settings.sections import AlignmentSettings
from models.alignment.examples import group_by_history
from models.alignment.linear_head import fit_head
from models.alignment.options import AlignmentOptions
from models.alignment.pairs import sample_pairs
from models.alignment.trainer import AlignmentTrainer, history_batches
from models.arena.topics import attribute_matrix, load_topics
from models.language.base_model import materialize_base_model
from models.language.fine_tuning import GRADIENT_NORM, Optimiser, Schedule
from models.language.prompts import alignment_prompt, prompt_tokens
from models.progress import peak_gigabytes

TOPICS = 64
SERVED = 56  # clusters of each history, of the 62 that are not its own
HEAD_HISTORIES = 16
LOSS_HISTORIES = 16
ROWS_PER_PASS = 56  # of the peers; a step divides into passes of this many rows
PAIRS_PER_PASS = 32
SEED = 0
# Of the fall of the project's own loss. Two bfloat16 trainings on the same examples differ: the peers' heads round a
# logit to 8 bits, and padding and the cut of the passes move every state. Gaps of 0.005 to 0.10 of the fall were seen
# in two short runs (3 steps); an arm that learns nothing has a gap of 1.
LOSS_TOLERANCE = 0.25
PEERS = {"pointwise": "transformers", "pairwise": "trl"}


def topic_labels():
    topics, _ = load_topics(TOPICS)
    return [", ".join([topic.name, *topic.keywords[:2]]) for topic in topics]


def served_histories(count):
    """Histories of two topics whose scores follow the attributes that topics share, rounded like real ones."""
    generator = np.random.default_rng(SEED)
    attributes = attribute_matrix(*load_topics(TOPICS))
    directions = attributes / np.linalg.norm(attributes, axis=1, keepdims=True)
    chosen = set()
    while len(chosen) < count:
        chosen.add(tuple(sorted(generator.choice(TOPICS, 2, replace=False).tolist())))
    rows = []
    for history in sorted(chosen):
        others = [cluster for cluster in range(TOPICS) if cluster not in history]
        clusters = np.sort(generator.choice(others, SERVED, replace=False))
        affinity = directions[clusters] @ directions[list(history)].mean(0) + generator.normal(0, 0.05, SERVED)
        scores = np.round(affinity.argsort().argsort() / (SERVED - 1) * 20) / 20
        rows += [(list(history), cluster, score) for cluster, score in zip(clusters.tolist(), scores, strict=True)]
    examples = pl.DataFrame(rows, ["history", "cluster_id", "score"], orient="row").with_columns(
        weight=1.0,
        raw_rate="score",
        impressions=100,
        split=pl.lit("train"),
        shrunk_rate="score",
        lower=pl.col("score") - 0.1,
        upper=pl.col("score") + 0.1,
    )
    pairs = sample_pairs(examples, AlignmentSettings().pairs_per_history, SEED).with_columns(probability=1.0)
    return group_by_history(examples, TOPICS, pairs)["train"]


def options_of(loss, steps, histories_per_batch):
    """The options of both arms: as the settings have them, without the stack, which the peers do not know."""
    return AlignmentOptions(
        loss=loss,
        layers=None,
        tune="top:10",
        learning_rate=1e-4,
        steps=steps,
        histories_per_batch=histories_per_batch,
        histories_per_pass=8,
        evaluate_every=8,
        head_histories=256,
        stack=False,
        keep_overtrained=False,
        seed=0,
    )


def batches(options):
    """The histories of every step."""
    served = served_histories(options.steps * options.histories_per_batch)
    return [[served[index] for index in batch] for batch in history_batches(len(served), options)]


def prepare(folder):
    """Write the checkpoint that every arm starts from: the embedded model with a fitted head."""
    materialize_base_model(folder / "base", None)
    training = AlignmentTrainer(folder / "base", topic_labels(), options_of("pointwise", 1, 1), 3)
    fit_head(training.reader, served_histories(HEAD_HISTORIES))
    training.save(folder / "start")


class Turns:
    """Holds an arm back until its turn, and reports the seconds of each of its steps."""

    def __init__(self, connection):
        self.connection = connection
        self.started = 0.0

    def begin(self):
        self.connection.recv()
        self.started = time.perf_counter()

    def end(self):
        self.connection.send(time.perf_counter() - self.started)


class StepTurns(TrainerCallback):
    """A trainer's steps in turn; what a trainer does between two steps counts to the later one."""

    def __init__(self, turns):
        self.turns = turns

    def on_train_begin(self, *_, **__):
        self.turns.begin()

    def on_step_end(self, _, state, *__, **___):
        self.turns.end()
        if state.global_step < state.max_steps:
            self.turns.begin()


class MasterAdamW(torch.optim.AdamW):
    """``models.language.fine_tuning.Optimiser`` for a trainer: float32 weights and gradients behind bfloat16 ones."""

    def __init__(self, model, schedule):
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.masters = [weight.detach().float() for weight in self.weights]
        for weight, master in zip(self.weights, self.masters, strict=True):
            weight.register_post_accumulate_grad_hook(lambda weight, master=master: self.move_gradient(weight, master))
        super().__init__(self.masters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)

    @staticmethod
    def move_gradient(weight, master):
        part = weight.grad.float()
        master.grad = part if master.grad is None else master.grad + part
        weight.grad = None

    @torch.no_grad()
    def step(self, closure=None):
        torch.nn.utils.clip_grad_norm_(self.masters, GRADIENT_NORM)
        super().step(closure)
        for weight, master in zip(self.weights, self.masters, strict=True):
            weight.copy_(master)
            master.grad = None


class SoftLabelTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # noqa: ARG002
        scores = inputs.pop("scores")
        logits = model(**inputs, use_cache=False).logits.squeeze(-1).float()
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, scores)


def own_steps(training, schedule, turns):
    optimiser = Optimiser(training.model.parameters(), schedule)
    training.model.train()
    for batch in batches(training.options):
        turns.begin()
        training.accumulate_gradient(optimiser, batch)
        optimiser.step()
        turns.end()


def row_tokens(training, served):
    """Prompt and label of every cluster of a history, exactly as the packed training reads them."""
    prompt = prompt_tokens(training.tokenizer, alignment_prompt([training.reader.labels[c] for c in served.history]))
    return [prompt + training.reader.tokens[cluster] for cluster in served.clusters]


def trainer_settings(options, rows_per_step, rows_per_pass, folder):
    return {
        "output_dir": folder,
        "max_steps": options.steps,
        "per_device_train_batch_size": rows_per_pass,
        "gradient_accumulation_steps": rows_per_step // rows_per_pass,
        "train_sampling_strategy": "sequential",
        "max_grad_norm": 0.0,  # the optimiser clips the float32 gradients
        "use_cpu": True,
        "bf16": False,  # the model is in bfloat16 already: no autocast
        "gradient_checkpointing": False,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": False,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }


def transformers_trainer(training, folder, optimizers):
    rows = []
    for batch in batches(training.options):
        step = [
            {"input_ids": tokens, "score": score}
            for served in batch
            for tokens, score in zip(row_tokens(training, served), served.scores, strict=True)
        ]
        rows += sorted(step, key=lambda row: len(row["input_ids"]))
    padding = training.model.config.pad_token_id

    def collate(part):
        width = max(len(row["input_ids"]) for row in part)
        missing = [width - len(row["input_ids"]) for row in part]
        ids = [row["input_ids"] + [padding] * count for row, count in zip(part, missing, strict=True)]
        return {
            "input_ids": torch.tensor(ids),
            "attention_mask": torch.tensor([[1] * (width - count) + [0] * count for count in missing]),
            "scores": torch.tensor([row["score"] for row in part], dtype=torch.float32),
        }

    per_step = len(rows) // training.options.steps
    settings = TrainingArguments(**trainer_settings(training.options, per_step, ROWS_PER_PASS, folder))
    return SoftLabelTrainer(training.model, settings, collate, rows, optimizers=optimizers)


def trl_trainer(training, folder, optimizers):
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    rows = []
    for batch in batches(training.options):
        step = []
        for served in batch:
            tokens = row_tokens(training, served)
            step += [{"chosen_ids": tokens[better], "rejected_ids": tokens[worse]} for better, worse in served.pairs]
        rows += sorted(step, key=lambda pair: max(map(len, pair.values())))
    per_step = len(rows) // training.options.steps
    settings = RewardConfig(**trainer_settings(training.options, per_step, PAIRS_PER_PASS, folder), max_length=None)
    return RewardTrainer(
        training.model,
        settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=training.tokenizer,
        optimizers=optimizers,
    )


def peer_steps(training, schedule, turns, folder):
    optimiser = MasterAdamW(training.model, schedule)
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: schedule.rate(step) / schedule.learning_rate)
    make = transformers_trainer if training.options.loss == "pointwise" else trl_trainer
    trainer = make(training, folder, (optimiser, rates))
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(StepTurns(turns))
    trainer.train()


def loss(training):
    """Mean over fixed histories, some of those that are trained on."""
    training.model.eval()
    served = [row for batch in batches(training.options) for row in batch][:LOSS_HISTORIES]
    size = training.options.histories_per_pass
    with torch.inference_mode():
        parts = [training.loss(served[start : start + size]).item() for start in range(0, len(served), size)]
    return float(np.mean(parts))


def run_arm(folder, options, peer, connection):
    training = AlignmentTrainer(folder / "start", topic_labels(), options, 3)
    schedule = Schedule(options.learning_rate, options.steps, options.warmup_share, options.weight_decay)
    before = loss(training)
    tokens = []
    counter = training.model.get_input_embeddings().register_forward_hook(
        lambda *call: tokens.append(call[1][0].numel())
    )
    connection.send("ready")
    turns = Turns(connection)
    if peer:
        peer_steps(training, schedule, turns, folder / "trainer")
    else:
        own_steps(training, schedule, turns)
    counter.remove()
    peak = peak_gigabytes()  # before the loss is read
    connection.send({"tokens": sum(tokens), "peak_gb": peak, "loss_before": before, "loss_after": loss(training)})


def contest(folder, options):
    """Figures of the project's arm and its peer's; their steps alternate."""
    spawn = multiprocessing.get_context("spawn")
    names = [f"{options.loss}", f"{options.loss}_{PEERS[options.loss]}"]
    arms = {}
    for name, peer in zip(names, (False, True), strict=True):
        connection, theirs = spawn.Pipe()
        process = spawn.Process(target=run_arm, args=(folder, options, peer, theirs))
        process.start()
        theirs.close()
        arms[name] = connection
        connection.recv()  # ready
    served = [row for batch in batches(options) for row in batch]
    examples = sum(len(row.pairs if options.loss == "pairwise" else row.clusters) for row in served)
    seconds = {name: [] for name in names}
    for step in range(options.steps):
        for name, connection in arms.items():
            connection.send("go")
            seconds[name].append(connection.recv())
            rate = examples / options.steps / seconds[name][-1]
            print(f"{name}: step {step + 1}/{options.steps}, {rate:,.1f} examples/s", file=sys.stderr, flush=True)
    figures = {}
    for name, connection in arms.items():
        result = connection.recv()
        timed = examples * (options.steps - 1) / options.steps  # every step has as many examples
        figures[f"examples_per_second_{name}"] = timed / sum(seconds[name][1:])
        figures[f"tokens_per_example_{name}"] = result["tokens"] / examples
        for figure in ("peak_gb", "loss_before", "loss_after"):
            figures[f"{figure}_{name}"] = result[figure]
    own, peer = (figures[f"examples_per_second_{name}"] for name in names)
    figures[f"ratio_vs_{PEERS[options.loss]}"] = own / peer
    return figures


def loss_gap(figures):
    """The largest gap of an arm and its peer after equal examples, as a share of the fall of the project's loss."""
    gaps = []
    for loss, peer in PEERS.items():
        after = figures[f"loss_after_{loss}"]
        fall = figures[f"loss_before_{loss}"] - after
        gap = abs(after - figures[f"loss_after_{loss}_{peer}"])
        gaps.append(gap / max(fall, 1e-9))  # without a fall, equal losses would prove nothing: fails
    return max(gaps)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=5, help="optimiser steps of each arm, the first not timed")
    parser.add_argument("--histories-per-step", type=int, default=8)
    arguments = parser.parse_args()
    if arguments.steps < 2:
        parser.error("--steps must be at least 2: the first is not timed")
    if find_spec("trl") is None:
        sys.exit(
            "TRL, the peer of the pairwise training, is not installed: run `make bench`, or "
            "`.venv/bin/pip install --constraint constraints.txt --editable '.[bench]'`"
        )
    options = {loss: options_of(loss, arguments.steps, arguments.histories_per_step) for loss in PEERS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own: a child's peak of memory is never below what its parent held.
        preparation = multiprocessing.get_context("spawn").Process(target=prepare, args=(folder,))
        preparation.start()
        preparation.join()
        if preparation.exitcode:
            sys.exit("the start checkpoint could not be written, see above")
        figures = {key: value for option in options.values() for key, value in contest(folder, option).items()}
    figures["peak_gb"] = max(figures[f"peak_gb_{loss}"] for loss in PEERS)
    pointwise = options["pointwise"]
    report = {
        "name": "alignment_training",
        "figures": figures,
        "settings": {
            "topics": TOPICS,
            "served_clusters": SERVED,
            "pairs_per_history": AlignmentSettings().pairs_per_history,
            "histories_per_step": pointwise.histories_per_batch,
            "steps": pointwise.steps,
            "tune": pointwise.tune,
            "learning_rate": pointwise.learning_rate,
            "rows_per_pass_of_transformers": ROWS_PER_PASS,
            "pairs_per_pass_of_trl": PAIRS_PER_PASS,
            "loss_tolerance": LOSS_TOLERANCE,
            "threads": torch.get_num_threads(),
        },
        "seed": SEED,
        "command": "python " + " ".join(["benchmarks/alignment_training.py", *sys.argv[1:]]),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    figures["loss_gap_share_of_fall"] = loss_gap(figures)
    print(json.dumps(report))
    if not figures["loss_gap_share_of_fall"] <= LOSS_TOLERANCE:
        sys.exit(f"after equal examples the losses differ by more than {LOSS_TOLERANCE} of the fall of the loss")


if __name__ == "__main__":
    main()
