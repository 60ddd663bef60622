"""What fine-tuning the alignment model buys, look by look, on several worlds.

    .venv/bin/python benchmarks/fine_tuning.py [--seeds 3] [--users 8000] [--days 14] [--epochs 3.0] [--looks 2]

The worlds and what is kept from training are those of ``alignment_worlds``; the settings are the default ones. Each
look judges by NDCG@3 what would be saved then: the stack on the validation and the test histories (``validation``,
``test``), the language model alone on the test histories (``language_model``), and the clusters kept from training on
the test histories (``unseen``). Figures are means over the worlds; ``..._gain`` is over step 0. ``selected_epochs`` is
what the training itself selects, ``selected_test_gain`` what that wins on the test histories. Prints one JSON object as
its last line.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from synthetic.processes import in_a_process
from synthetic.report import print_report
from synthetic.several_worlds import asked_worlds, summary
from synthetic.worlds import examples_of, run_days

from models.alignment.examples import group_by_history
from models.alignment.joint_head import fit_joint_head, spreads_of_head_alone, stack_scores
from models.alignment.passes import total_steps
from models.alignment.trainer import AlignmentTrainer
from models.evaluation.metrics import evaluate_ranking
from models.language.frozen_layers import FrozenReading

MEASURES = ("validation", "test", "language_model", "unseen")


class WatchedTrainer(AlignmentTrainer):
    """Judges test histories at every look too; nothing that it selects depends on them."""

    def watch(self, test, unseen):
        self.watched = {"test": (test, FrozenReading(self.model)), "unseen": (unseen, FrozenReading(self.model))}
        self.looks = []

    def evaluate(self, training, validation, step, training_loss, log):
        super().evaluate(training, validation, step, training_loss, log)
        read = self._read_sample(training, log), self._read(validation, self.frozen_validation)
        cells = self._cells(training, validation, read)
        alone = fit_joint_head(cells[0], spreads_of_head_alone(*cells))
        states = {name: self._read(*watched) for name, watched in self.watched.items()}
        scores = {name: self.score(read) for name, read in states.items()}
        scores["language_model"] = stack_scores(states["test"], alone.head, alone.offsets)
        found = {"validation": self.curve[-1].ndcg_at_k}
        for name, values in scores.items():
            rows = self.watched["unseen" if name == "unseen" else "test"][0]
            found[name] = evaluate_ranking(values, [row.rates for row in rows], self.k).ndcg_at_k
        self.looks.append((step, found))
        print(step, training_loss, self.curve[-1].validation_loss, self.curve[-1].lead, found, flush=True)


def curve_of(folder, seed, users, days, epochs, looks):
    """By epoch the figures of each look, and the epoch that was selected."""
    from alignrec_assets.assets.checkpoints import alignment_options

    examples, labels, base, settings = examples_of(run_days(folder, seed, users, days))
    served = group_by_history(examples.filter(~pl.col("unseen")), len(labels))
    unseen = group_by_history(examples.filter("unseen"), len(labels))["test"]
    options = replace(alignment_options(settings), epochs=epochs, looks_per_epoch=looks)
    trainer = WatchedTrainer(base, labels, options, settings.candidates.k)
    trainer.watch(served["test"], unseen)
    trainer.fit(served["train"], served["validation"], print)
    epoch = total_steps(len(served["train"]), replace(options, epochs=1.0))
    curve = {round(step / epoch * looks) / looks: found for step, found in trainer.looks}
    return curve, round(trainer.selected.step / epoch * looks) / looks


def main():
    chosen = asked_worlds(__doc__.splitlines()[0], epochs=3.0, looks=2)
    worlds = []
    for seed in range(chosen.seeds):
        with tempfile.TemporaryDirectory() as folder:
            arguments = Path(folder).resolve(), seed, *(getattr(chosen, name) for name in ("users", "days"))
            found = in_a_process(curve_of, *arguments, chosen.epochs, chosen.looks)
        worlds.append(found.found)
        print(f"world {seed}, {found.process_seconds:.0f} s: selected at epoch {found.found[1]}", flush=True)
    figures = {}
    for epoch in worlds[0][0]:
        for measure in MEASURES:
            figures |= summary(f"{measure}_{epoch:g}", [curve[epoch][measure] for curve, _ in worlds])
            gains = [curve[epoch][measure] - curve[0.0][measure] for curve, _ in worlds]
            figures |= summary(f"{measure}_{epoch:g}_gain", gains)
    figures["selected_epochs"] = float(np.mean([selected for _, selected in worlds]))
    gains = [curve[selected]["test"] - curve[0.0]["test"] for curve, selected in worlds]
    print_report("fine_tuning", figures | summary("selected_test_gain", gains), vars(chosen))


if __name__ == "__main__":
    main()
