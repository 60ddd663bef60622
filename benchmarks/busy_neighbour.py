"""What training and scoring keep of their speed while another process computes on the same cores.

    python benchmarks/busy_neighbour.py [--seconds 20]

The alignment model takes steps of training, and reads candidates, in a process of its own with a thread for each
core: alone, then beside one process that never waits, then alone again. Threads of OpenMP meet at barriers many times
in each layer. A thread that was put aside lets all others wait, and libgomp's wait spins by default, which takes the
neighbour's core too. ``as_started`` is what the project's commands set (``alignrec_assets.WAITING``), ``spinning`` is
libgomp's own default. A neighbour on one of n cores leaves (n - 1/2) / n of the machine: ``fair_share``. Figures:
``<work>_<way>_kept``, rate beside the neighbour over rate alone, and ``<work>_cost``, the rate alone of spinning over
that as started. Prints one JSON object as its last line.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from alignment_training import options_of, prepare, served_histories, steps_of, topic_labels
from synthetic.devices import add_device
from synthetic.processes import in_a_process, start_process
from synthetic.report import print_report

from alignrec_assets import WAITING

SPINNING = {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "300000"}
"""As by libgomp's default, which is 300,000 rounds where nothing is set."""
WAYS = {"as_started": WAITING, "spinning": SPINNING}


def compute(_):
    """A neighbour: never waits, never ends by itself."""
    value = 1
    while True:
        value = value * 3 % 1_000_003


def training_rate(folder, seconds):
    """Histories a second in steps of training."""
    from models.alignment.trainer import AlignmentTrainer
    from models.language.fine_tuning import Optimiser, Schedule
    from models.language.frozen_layers import begin_training

    options = options_of("pointwise", 2, 8)
    trainer = AlignmentTrainer(folder / "start", topic_labels(), options, 3)
    optimiser = Optimiser(trainer.model.parameters(), Schedule(1e-4, 1000, 0.3, 0.01))
    begin_training(trainer.model)
    steps = steps_of(options)

    def step(number):
        trainer.accumulate_gradient(optimiser, steps[number % len(steps)])
        optimiser.step()

    return _rate(step, options.histories_per_batch, seconds)


def reading_rate(folder, seconds):
    """Histories a second whose candidates are read."""
    from models.alignment.candidate_reader import CandidateReader

    reader = CandidateReader.open(folder / "start", topic_labels())
    served = served_histories(4)
    read = [row.history for row in served], [row.clusters for row in served]
    return _rate(lambda _: reader.read(*read), len(served), seconds)


def _rate(step, units, seconds):
    step(0)  # not timed: caches and allocators fill
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        done += 1
        step(done)
    return done * units / (time.perf_counter() - started)


def beside(work, folder, seconds, environment):
    """Rates alone, beside a neighbour, and alone again."""
    alone = in_a_process(work, folder, seconds, environment=environment).found
    neighbour, _ = start_process(compute)
    found = in_a_process(work, folder, seconds, environment=environment).found
    neighbour.kill()
    again = in_a_process(work, folder, seconds, environment=environment).found
    print(f"{work.__name__}: alone {alone:.2f} and {again:.2f} a second, beside a neighbour {found:.2f}", flush=True)
    return (alone + again) / 2, found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=20, help="of each rate")
    add_device(parser)
    chosen = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    figures = {"fair_share": (cores - 0.5) / cores}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        in_a_process(prepare, folder)
        for name, work in {"training": training_rate, "reading": reading_rate}.items():
            alone = {}
            for way, environment in WAYS.items():
                threads = {"OMP_NUM_THREADS": str(cores)}
                alone[way], found = beside(work, folder, chosen.seconds, threads | environment)
                figures |= {f"{name}_{way}_per_second": alone[way], f"{name}_{way}_kept": found / alone[way]}
            figures[f"{name}_cost"] = alone["spinning"] / alone["as_started"]
    print_report("busy_neighbour", figures, {"seconds": chosen.seconds, "cores": cores})


if __name__ == "__main__":
    main()
