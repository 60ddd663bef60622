"""Packed training of the alignment model, against plain transformers (pointwise) and TRL's RewardTrainer (pairwise).

    python benchmarks/alignment_training.py [--steps 5]

Four arms on the embedded model, from one checkpoint with a fitted head: the project's own training with either loss;
transformers' Trainer with one row per (history, cluster) and the soft-label loss; TRL's RewardTrainer on the same pairs
of rows. Each has a process of its own, so that its peak of memory is its own, and an arm and its peer take their steps
in turn, so that a change of the machine's speed meets both. The first step of each arm is not timed.

All arms read the same tokens, train the same layers in bfloat16, and take the same steps over the same examples in the
same batches, at the same learning rate. The peers are set up to be fast: as ``synthetic/peers.py`` says, with tokens
prepared beforehand, the rows of a step sorted by length and padded to the longest of a pass, no autocast, no gradient
checkpointing, no workers, neither logs nor saved checkpoints. A pass has as many rows or pairs as were fastest in two
steps of two histories, taken before. One thing is not their default: AdamW on bfloat16 weights loses small updates, so
their optimiser keeps float32 copies and float32 gradients, as the project's does. Evidence weights and probabilities of
pairs are 1, because RewardTrainer has neither.

Losses are measured on fixed histories by one reader. They may differ by LOSS_TOLERANCE, see there; the benchmark fails
beyond. Rates count rows, or pairs, per second; tokens per example count padding. Prints one JSON object as its last
line.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import torch
from synthetic.devices import add_device, device_name
from synthetic.peers import at_its_best, every_core, given, told
from synthetic.processes import in_a_process, start_process
from synthetic.trainers import peer_steps

from alignrec_assets.settings.sections import AlignmentSettings
from models.alignment.examples import group_by_history
from models.alignment.linear_head import fit_head
from models.alignment.options import AlignmentOptions
from models.alignment.pairs import sample_pairs
from models.alignment.passes import step_passes, training_passes
from models.alignment.trainer import AlignmentTrainer
from models.arena.topics import attribute_matrix, load_topics
from models.language.base_model import materialize_base_model
from models.language.fine_tuning import Optimiser, Schedule
from models.language.frozen_layers import begin_training
from models.progress import peak_gigabytes

TOPICS = 64
SERVED = 56  # clusters of each history, of the 62 that are not its own
HEAD_HISTORIES = 16
LOSS_HISTORIES = 16
BATCHES = {"pointwise": (28, 56, 112), "pairwise": (16, 32, 64)}
"""Rows or pairs of one pass that are tried for the peers: a step of two histories divides into each."""
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


@dataclass(frozen=True)
class TimedOptions(AlignmentOptions):
    """One epoch of as many steps, each with histories of its own."""

    steps: int = 2


def options_of(loss, steps, histories_per_batch):
    """The options of both arms: as the settings have them, without the stack, which the peers do not know."""
    return TimedOptions(
        loss=loss,
        layers=None,
        tune="top:10",
        learning_rate=1e-4,
        steps=steps,
        epochs=1.0,
        histories_per_batch=histories_per_batch,
        histories_per_pass=8,
        looks_per_epoch=1,
        head_histories=256,
        stack=False,
        label_vectors=False,
        keep_overtrained=False,
        seed=0,
    )


def steps_of(options):
    """The histories of every pass, by its number, of every step."""
    served = served_histories(options.steps * options.histories_per_batch)
    passes = [[served[index] for index in each] for each in training_passes(len(served), options)]
    return [{number: passes[number] for number in numbers} for numbers in step_passes(len(served), options)]


def batches(options):
    """The histories of every step."""
    return [[row for served in step.values() for row in served] for step in steps_of(options)]


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


def own_steps(training, schedule, turns):
    optimiser = Optimiser(training.model.parameters(), schedule)
    begin_training(training.model)
    for passes in steps_of(training.options):
        turns.begin()
        training.accumulate_gradient(optimiser, passes)
        optimiser.step()
        turns.end()


def loss(training):
    """Mean over fixed histories, some of those that are trained on."""
    training.model.eval()
    served = [row for batch in batches(training.options) for row in batch][:LOSS_HISTORIES]
    size = training.options.histories_per_pass
    with torch.inference_mode():
        parts = [training.loss(served[start : start + size]).item() for start in range(0, len(served), size)]
    return float(np.mean(parts))


def run_arm(folder, options, batch, connection):
    training = AlignmentTrainer(folder / "start", topic_labels(), options, 3)
    schedule = Schedule(options.learning_rate, options.steps, options.warmup_share, options.weight_decay)
    before = loss(training)
    tokens = []
    counter = training.model.get_input_embeddings().register_forward_hook(
        lambda *call: tokens.append(call[1][0].numel())
    )
    connection.send("ready")
    turns = Turns(connection)
    if batch:
        peer_steps(training, batches(options), schedule, turns, folder / "trainer", batch)
    else:
        own_steps(training, schedule, turns)
    counter.remove()
    peak = peak_gigabytes()  # before the loss is read
    after = loss(training)
    connection.send(
        {"tokens": sum(tokens), "peak_gb": peak, "loss_before": before, "loss_after": after, "given": given()}
    )


def start_arm(folder, options, batch=None):
    """The connection to an arm that waits for its first step: the project's, or with a batch its peer."""
    environment = at_its_best() if batch else every_core()
    _, connection = start_process(run_arm, folder, options, batch, environment=environment)
    connection.recv()  # ready
    return connection


def take_step(connection):
    """Seconds of the arm's next step."""
    connection.send("go")
    return connection.recv()


def best_batch(folder, loss):
    """The batch of the peer's fastest second step, and the seconds of all batches."""
    seconds = {}
    for batch in BATCHES[loss]:
        arm = start_arm(folder, options_of(loss, steps=2, histories_per_batch=2), batch)
        seconds[batch] = [take_step(arm), take_step(arm)][1]
        arm.recv()
        print(f"{PEERS[loss]}, passes of {batch}: {seconds[batch]:.1f} s", file=sys.stderr, flush=True)
    return told(seconds)


def contest(folder, options):
    """Figures of the project's arm and its peer's, and what each was given; their steps alternate."""
    own, peer = options.loss, f"{options.loss}_{PEERS[options.loss]}"
    tried = best_batch(folder, options.loss)
    arms = {own: start_arm(folder, options), peer: start_arm(folder, options, tried["batch"])}
    served = [row for batch in batches(options) for row in batch]
    examples = sum(len(row.pairs if options.loss == "pairwise" else row.clusters) for row in served)
    seconds = {name: [] for name in arms}
    for step in range(options.steps):
        for name, connection in arms.items():
            seconds[name].append(take_step(connection))
            rate = examples / options.steps / seconds[name][-1]
            print(f"{name}: step {step + 1}/{options.steps}, {rate:,.1f} examples/s", file=sys.stderr, flush=True)
    figures, settings = {}, {}
    for name, connection in arms.items():
        result = connection.recv()
        timed = examples * (options.steps - 1) / options.steps  # every step has as many examples
        figures[f"examples_per_second_{name}"] = timed / sum(seconds[name][1:])
        figures[f"tokens_per_example_{name}"] = result["tokens"] / examples
        for figure in ("peak_gb", "loss_before", "loss_after"):
            figures[f"{figure}_{name}"] = result[figure]
        settings[name] = result["given"]
    settings[peer] |= tried
    rates = [figures[f"examples_per_second_{name}"] for name in (own, peer)]
    figures[f"ratio_vs_{PEERS[options.loss]}"] = rates[0] / rates[1]
    return figures, settings


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
    add_device(parser)
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
        in_a_process(prepare, folder)  # in one of its own: a child's peak of memory is never below what its parent held
        figures, settings = {}, {}
        for option in options.values():
            measured, had = contest(folder, option)
            figures |= measured
            settings |= had
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
            "loss_tolerance": LOSS_TOLERANCE,
            "given": settings,
        },
        "device": device_name(),
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
