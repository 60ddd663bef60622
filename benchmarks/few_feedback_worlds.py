"""Feedback for few pairs of 768 clusters on several worlds: where words and counting together beat counting.

    .venv/bin/python benchmarks/few_feedback_worlds.py [--seeds 3] [--users 80000]

Each world is a study of its own (``alignrec study --size 768``), of the seeds from 1 on. Figures are means over the
worlds, ``..._spread`` the standard deviation from world to world: ``MEASURE_CONTESTANT_PART_DENSITY``, and likewise
``lead_...``, that of the alignment model over the contestant, with ``..._worlds``, the share of the worlds in which its
95% interval over histories lies above 0. Prints one JSON object as its last line.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from synthetic.devices import add_device
from synthetic.processes import in_a_process
from synthetic.report import print_report
from synthetic.several_worlds import summary


def arms_of(folder, users, seed):
    """The contests of one world."""
    from alignrec_assets.commands.few_feedback_study import run_few_feedback_study
    from alignrec_assets.home import Home

    home = Home(folder)
    home.create()
    run_few_feedback_study(home, users, lambda line: print(line, flush=True), seed)
    return json.loads((home.reports / "few_feedback.json").read_text())["arms"]


def figures_of_worlds(worlds):
    """Values and leads over the worlds, each with its spread."""
    figures = {}
    for arms in zip(*worlds, strict=True):
        for part in ("served", "apart"):
            contests = [arm[part] for arm in arms]
            for name, values in contests[0]["values"].items():
                for measure in values:
                    figures |= of_contestant(contests, name, measure, f"{part}_{arms[0]['density']:g}")
    return figures


def of_contestant(contests, name, measure, where):
    """One contestant of one density: its value, and the lead of the model over it."""
    values = [[contest["values"][each][measure] for contest in contests] for each in (name, "model")]
    found = summary(f"{measure}_{name}_{where}", values[0])
    if name != "model":
        lead = f"lead_{measure}_{name}_{where}"
        found |= summary(lead, list(np.subtract(values[1], values[0])))
        found[f"{lead}_worlds"] = float(np.mean([contest["leads"][name][measure][0] > 0 for contest in contests]))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--users", type=int, default=80_000)
    add_device(parser)
    chosen = parser.parse_args()
    worlds = []
    for seed in range(1, chosen.seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            worlds.append(in_a_process(arms_of, Path(folder).resolve(), chosen.users, seed).found)
    print_report("few_feedback_worlds", figures_of_worlds(worlds), vars(chosen))


if __name__ == "__main__":
    main()
