"""What the alignment model is worth beside the yardsticks on several worlds, by the line's own reports.

    .venv/bin/python benchmarks/alignment_worlds.py [--seeds 5] [--users 8000] [--days 14]

Each world has 24 topics and three random exposures a session; a home of its own runs ``days`` and then the alignment
model under the default settings, but for a quarter of the clusters, which are kept from training: on them it is judged
what the words tell of clusters that were never served. Figures are means over the worlds, ``..._spread`` the standard
deviation from world to world; ``lead_...`` is that of the model over a yardstick, and ``lead_..._worlds`` the share of
the worlds in which it is ahead. An interval of one world holds over its histories alone, so claims rest on these.
Prints one JSON object as its last line.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from synthetic.processes import in_a_process
from synthetic.report import print_report
from synthetic.several_worlds import asked_worlds, summary
from synthetic.worlds import run_days

YARDSTICKS = ("random", "prior", "training_means", "additive", "factorisation", "label_regression", "language_model")
MEASURES = ("f1_at_k", "ndcg_at_k")
UNSEEN = ("unseen_f1_at_k", "unseen_ndcg_at_k")
FIGURES = (
    *(f"{measure}{suffix}" for measure in MEASURES for suffix in ("", *(f"_{name}" for name in YARDSTICKS))),
    *(f"{measure}{suffix}" for measure in UNSEEN for suffix in ("", "_random", "_nearest_label")),
    "words_share",
    "ece",
    "held_out_histories",
)


def judged(folder, seed, users, days):
    """Figures of the report of the alignment model of one world."""
    from alignrec_assets.commands.run import run_beside_the_line

    home = run_days(folder, seed, users, days)
    run_beside_the_line(home, "study", print)
    return json.loads((home.reports / "alignment.json").read_text(encoding="utf-8"))["figures"]


def main():
    chosen = asked_worlds(__doc__.splitlines()[0])
    worlds = []
    for seed in range(chosen.seeds):
        with tempfile.TemporaryDirectory() as folder:
            found = in_a_process(judged, Path(folder).resolve(), seed, chosen.users, chosen.days)
        worlds.append(found.found)
        told = {name: round(found.found[name], 3) for name in FIGURES if found.found.get(name) is not None}
        print(f"world {seed}, {found.process_seconds:.0f} s: {told}", flush=True)
    figures = {}
    for name in FIGURES:
        figures |= summary(name, [world[name] for world in worlds])
    for measure in MEASURES:
        for yardstick in YARDSTICKS:
            leads = [world[measure] - world[f"{measure}_{yardstick}"] for world in worlds]
            figures |= summary(f"lead_{measure}_{yardstick}", leads)
            figures[f"lead_{measure}_{yardstick}_worlds"] = float(np.mean(np.array(leads) > 0))
    print_report("alignment_worlds", figures, vars(chosen))


if __name__ == "__main__":
    main()
