"""How time and memory of the line grow with users, days and clusters, and what one more day costs.

    .venv/bin/python benchmarks/growth.py [--users 2000 4000 8000] [--days 14 28 56] [--clusters 24 48 64]

Simulated logs with one random exposure a session, counted as feedback; the last day lands alone, after all days before
it were run. Every selection runs in a process of its own. ``users_exponent_days`` is the slope of log seconds of the
selection ``days`` against log users, and so on; 1 is linear. What a run takes that finds nothing new (imports, the
survey of files, Dagster's own work) is taken off first, because it hides growth. ``..._memory`` likewise of the peak of
memory, and ``days_exponent_next_day`` of the time of the one more day: 0 is flat.

The base model is random and tiny, with the embedded one's tokenizer, and both trainings are short: what a language
model costs for a history does not grow, and would hide what does. Pools are drawn by the engine ``free``, as in the
profile ``reference``. Prints one JSON object as its last line.
"""

import argparse
import datetime as dt
import os
import tempfile
from pathlib import Path

import numpy as np
from synthetic.processes import in_a_process, use_home
from synthetic.report import print_report

FIRST_DAY = dt.date(2026, 1, 5)


SELECTIONS = ("days", "learning", "publication")


def write_tiny_model(folder):
    """A random model of two narrow layers, with the tokenizer of the embedded model."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from models.language.base_model import materialize_base_model
    from models.language.language_model import load_tokenizer, save_checkpoint

    embedded = folder / "embedded"
    materialize_base_model(embedded, None)
    narrow = {"hidden_size": 48, "intermediate_size": 96, "num_attention_heads": 3, "num_key_value_heads": 1}
    config = AutoConfig.from_pretrained(embedded, num_hidden_layers=2, head_dim=16, **narrow)
    (folder / "tiny").mkdir()
    save_checkpoint(AutoModelForCausalLM.from_config(config), load_tokenizer(embedded), folder / "tiny")


def simulate(folder, model, users, days, clusters):
    """The landing files of a world, and the settings of its home; the calendar ends one day early."""
    from alignrec_assets.commands.simulate import Simulation
    from alignrec_assets.settings.sources import update_settings_file
    from models.arena.world import World, WorldOptions

    home = use_home(folder)
    home.create()
    options = WorldOptions(FIRST_DAY, users=users, topics=clusters, random_shelf=1)
    Simulation(home, options, days, days).write_quiet_days(World(options), lambda _: None)
    settings = {
        "interests": {"embedding": "tfidf", "clusters": clusters},
        "feedback": {"source": "random", "minimum_impressions": 1, "minimum_users": 1},
        "base_model": {"source": str(model)},
        "novelty": {"tune": "full", "most_steps": 20},
        "alignment": {"tune": "full", "epochs": 0.5},
        "candidates": {"engine": "free"},
        "publication": {"format_validity_limit": 0.0},  # a random model never learns to spell
    }
    update_settings_file(home, settings)
    set_days(folder, days - 1)


def set_days(folder, days):
    """Let the calendar of the home end after so many days."""
    from alignrec_assets.settings.sources import update_settings_file

    last = FIRST_DAY + dt.timedelta(days=days - 1)
    update_settings_file(use_home(folder), {"calendar": {"first_day": FIRST_DAY, "last_day": last}})


def run_selection(folder, selection):
    from alignrec_assets.commands.run import run_line

    run_line(use_home(folder), None, None, lambda _: None, selections=(selection,))


def measure(folder, size):
    """Seconds and gigabytes above those of a run that finds nothing new, by selection; of ``next_day`` the last day."""
    home = folder / "-".join(map(str, size))
    in_a_process(simulate, home, folder / "tiny", *size)
    found = {}
    for selection in SELECTIONS:
        first, nothing = in_a_process(run_selection, home, selection), in_a_process(run_selection, home, selection)
        found[selection] = first.process_seconds - nothing.process_seconds
        found[f"{selection}_memory"] = first.peak_gb - nothing.peak_gb
        found[f"{selection}_nothing_new"] = nothing.process_seconds
    in_a_process(set_days, home, size[1])
    found["next_day"] = in_a_process(run_selection, home, "days").process_seconds - found["days_nothing_new"]
    told = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
    print("{:,} users, {} days, {} clusters: ".format(*size) + told, flush=True)
    return found


def exponent(sizes, values):
    """Slope of the logarithms; what cannot be told from 0 counts as a hundredth."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 0.01)), 1)[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, nargs="+", default=[2_000, 4_000, 8_000])
    parser.add_argument("--days", type=int, nargs="+", default=[14, 28, 56])
    parser.add_argument("--clusters", type=int, nargs="+", default=[24, 48, 64])
    chosen = vars(parser.parse_args())
    least = [values[0] for values in chosen.values()]
    grown = {
        name: [(*least[:at], value, *least[at + 1 :]) for value in values]
        for at, (name, values) in enumerate(chosen.items())
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        in_a_process(write_tiny_model, folder)
        found = {size: measure(folder, size) for size in sorted(set().union(*grown.values()))}
    figures = {}
    for name, sizes in grown.items():
        for measured in [f"{selection}{kind}" for selection in SELECTIONS for kind in ("", "_memory")]:
            values = [found[size][measured] for size in sizes]
            figures[f"{name}_exponent_{measured}"] = exponent(chosen[name], values)
    next_days = [found[size]["next_day"] for size in grown["days"]]
    figures["days_exponent_next_day"] = exponent(chosen["days"], next_days)
    for size, facts in found.items():
        named = "{}_users_{}_days_{}_clusters".format(*size)
        figures |= {f"{name}_{named}": value for name, value in facts.items()}
    print_report("growth", figures, {**chosen, "cores": os.cpu_count()})


if __name__ == "__main__":
    main()
