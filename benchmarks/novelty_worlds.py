"""What the novelty model is worth beside counting on several worlds, with the heads that are asked for.

    .venv/bin/python benchmarks/novelty_worlds.py [--seeds 5] [--users 8000] [--days 14] [--topics 24] [--heads words]

Each world has its own home, which runs ``days`` under the default settings, with as many clusters as topics. The
novelty model learns from its novel transitions as in the line; several heads learn from the same examples. Figures are
means over the worlds, ``..._spread`` the standard deviation from world to world; ``HEAD_lead_MEASURE_YARDSTICK`` is the
model's lead (above 0 it is better, in losses too), and ``..._worlds`` the share of the worlds in which its 95% interval
over users lies above 0. Prints one JSON object as its last line.
"""

import datetime as dt
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from synthetic.processes import in_a_process, use_home
from synthetic.report import print_report
from synthetic.several_worlds import asked_worlds, summary

FIRST_DAY = dt.date(2026, 1, 5)
MEASURES = ("loss", "recall_at_3", "macro_recall_at_3")
SHOWN = (*MEASURES, "coverage_at_3", "surprise_at_3", "yardsticks_beaten_share", "held_out_transitions", "seconds")
ITEMS_OF_A_TOPIC = 20


def judged(folder, base, chosen, seed):
    """What the report of each head says of one world."""
    from alignrec_assets.commands.run import run_line
    from alignrec_assets.commands.simulate import Simulation
    from alignrec_assets.refresh.taxonomies import cluster_labels
    from alignrec_assets.settings.sources import load_settings, update_settings_file
    from alignrec_assets.warehouse.connection import Warehouse
    from models.arena.world import World, WorldOptions
    from models.novelty.examples import choose_novelty_examples
    from models.novelty.options import NoveltyOptions
    from models.novelty.report import learn_novelty_model

    home = use_home(folder)
    home.create()
    items = max(2_000, ITEMS_OF_A_TOPIC * chosen.topics)
    options = WorldOptions(FIRST_DAY, users=chosen.users, items=items, topics=chosen.topics, seed=seed)
    Simulation(home, options, chosen.days, chosen.days).write_quiet_days(World(options), lambda _: None)
    last = FIRST_DAY + dt.timedelta(days=chosen.days - 1)
    calendar = {"first_day": FIRST_DAY, "last_day": last}
    update_settings_file(home, {"calendar": calendar, "interests": {"clusters": chosen.topics}})
    run_line(home, None, None, print, selections=("days",))
    warehouse, asked = Warehouse(home), load_settings(home).novelty
    with warehouse.reading() as connection:
        transitions = connection.sql("SELECT user_id, history, cluster_id FROM training.novel_transitions").pl()
    examples = choose_novelty_examples(
        transitions.sort("user_id", "cluster_id"),
        asked.maximum_examples,
        asked.examples_per_label_limit,
        asked.holdout_share,
        asked.seed,
    )
    told = examples.group_by("split").len().sort("split").rows()
    print(
        f"{transitions.height:,} novel transitions of {transitions['user_id'].n_unique():,} users: {told}", flush=True
    )
    found = {}
    for head in chosen.heads:
        how = NoveltyOptions(head, asked.tune, asked.learning_rate, asked.batch_size, asked.epochs, asked.most_steps, 1)
        with tempfile.TemporaryDirectory() as output:
            found[head] = learn_novelty_model(base, Path(output), cluster_labels(warehouse), examples, how, print)
    return found


def base_model(folder):
    """The embedded language model, dequantised."""
    from models.language.base_model import materialize_base_model

    materialize_base_model(folder, None, lambda _: None)


def main():
    chosen = asked_worlds(__doc__.splitlines()[0], topics=24, heads=["label_vectors"])
    worlds = []
    with tempfile.TemporaryDirectory() as base:
        in_a_process(base_model, Path(base) / "model")
        for seed in range(chosen.seeds):
            with tempfile.TemporaryDirectory() as folder:
                found = in_a_process(judged, Path(folder).resolve(), Path(base) / "model", chosen, seed)
            worlds.append(found.found)
            for head, facts in found.found.items():
                print(f"world {seed}, {head}: {facts.get('spreads', '')}", flush=True)
                print(pl.DataFrame([{"name": name, **values} for name, values in facts["contest"].items()]), flush=True)
    figures = {}
    for head in chosen.heads:
        facts = [world[head] for world in worlds]
        for name in SHOWN:
            figures |= summary(f"{head}_{name}", [each["figures"][name] for each in facts])
        for yardstick in facts[0]["leads"]:
            for measure in MEASURES:
                figures |= leads_over(f"{head}_lead_{measure}_{yardstick}", facts, measure, yardstick)
    print_report("novelty_worlds", figures, vars(chosen))


def leads_over(name, facts, measure, yardstick):
    """Mean and spread of a lead over the worlds, and the share of worlds whose interval lies above 0."""
    sign = -1 if measure == "loss" else 1
    leads = [sign * (each["contest"]["model"][measure] - each["contest"][yardstick][measure]) for each in facts]
    sure = float(np.mean([each["leads"][yardstick][measure][0] > 0 for each in facts]))
    return summary(name, leads) | {f"{name}_worlds": sure}


if __name__ == "__main__":
    main()
