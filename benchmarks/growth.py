"""How time and memory of the selection ``days`` grow with users and with days, and what one more day costs.

    .venv/bin/python benchmarks/growth.py [--users 4000 8000 16000] [--days 14 28 56]

Simulated logs with one random exposure a session, counted as feedback; the last day lands alone, after all days before
it were run. Every run is a process of its own. ``users_exponent`` is the slope of log seconds against log users,
``days_exponent`` against log days; 1 is linear. What a run takes that finds nothing new (imports, the survey of files,
Dagster's own work) is taken off first, because it hides growth. ``..._memory`` likewise of the peak of memory, and
``next_day_days_exponent`` of the time of the one more day: 0 is flat. Prints one JSON object as its last line.
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


def simulate(folder, users, days):
    """The landing files of a world, and the settings of its home; the calendar ends one day early."""
    from alignrec_assets.commands.simulate import Simulation
    from alignrec_assets.settings.sources import update_settings_file
    from models.arena.world import World, WorldOptions

    home = use_home(folder)
    home.create()
    options = WorldOptions(FIRST_DAY, users=users, random_shelf=1)
    Simulation(home, options, days, days).write_quiet_days(World(options), lambda _: None)
    update_settings_file(home, {"interests": {"embedding": "tfidf"}, "feedback": {"source": "random"}})
    set_days(folder, days - 1)


def set_days(folder, days):
    """Let the calendar of the home end after so many days."""
    from alignrec_assets.settings.sources import update_settings_file

    last = FIRST_DAY + dt.timedelta(days=days - 1)
    update_settings_file(use_home(folder), {"calendar": {"first_day": FIRST_DAY, "last_day": last}})


def run_days(folder):
    from alignrec_assets.commands.run import run_line

    run_line(use_home(folder), None, None, lambda _: None, selections=("days",))


def measure(folder, users, days):
    """Seconds and gigabytes above those of a run that finds nothing new: of all days but one, and of the last day."""
    home = folder / f"{users}-{days}"
    in_a_process(simulate, home, users, days)
    first, nothing = in_a_process(run_days, home), in_a_process(run_days, home)
    in_a_process(set_days, home, days)
    next_day = in_a_process(run_days, home)
    found = {
        "seconds": first.process_seconds - nothing.process_seconds,
        "memory": first.peak_gb - nothing.peak_gb,
        "next_day": next_day.process_seconds - nothing.process_seconds,
        "nothing_new": nothing.process_seconds,
    }
    print(f"{users:,} users, {days} days: { ({name: round(value, 2) for name, value in found.items()}) }", flush=True)
    return found


def exponent(sizes, values):
    """Slope of the logarithms; what cannot be told from 0 counts as a hundredth."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 0.01)), 1)[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, nargs="+", default=[4_000, 8_000, 16_000])
    parser.add_argument("--days", type=int, nargs="+", default=[14, 28, 56])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        sizes = {(users, chosen.days[0]) for users in chosen.users} | {(chosen.users[0], days) for days in chosen.days}
        found = {size: measure(folder, *size) for size in sorted(sizes)}
    by_users = {name: [found[users, chosen.days[0]][name] for users in chosen.users] for name in ("seconds", "memory")}
    by_days = {name: [found[chosen.users[0], days][name] for days in chosen.days] for name in (*by_users, "next_day")}
    figures = {
        "users_exponent": exponent(chosen.users, by_users["seconds"]),
        "users_exponent_memory": exponent(chosen.users, by_users["memory"]),
        "days_exponent": exponent(chosen.days, by_days["seconds"]),
        "days_exponent_memory": exponent(chosen.days, by_days["memory"]),
        "next_day_days_exponent": exponent(chosen.days, by_days["next_day"]),
    }
    for (users, days), facts in found.items():
        figures |= {f"{name}_{users}_users_{days}_days": value for name, value in facts.items()}
    print_report("growth", figures, {**vars(chosen), "cores": os.cpu_count()})


if __name__ == "__main__":
    main()
