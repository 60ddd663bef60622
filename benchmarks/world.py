"""How long a large simulated world takes, and whether time and bytes grow in proportion to users and to days.

    .venv/bin/python benchmarks/world.py

Writes the landing files of 100,000 users, 20,000 items and 28 days to a temporary folder, with one random exposure per
session; then half as many users, for the growth with users. Prints one JSON object as its last line.
"""

import datetime as dt
import json
import tempfile
import time
from pathlib import Path

from alignrec_assets.commands.simulate import Simulation
from alignrec_assets.home import Home
from models.arena.world import World, WorldOptions
from models.progress import peak_gigabytes

USERS, ITEMS, DAYS, TOPICS = 100_000, 20_000, 28, 96


def landing_bytes(home):
    return sum(path.stat().st_size for path in home.landing.rglob("*.parquet"))


def write_world(folder, users):
    """Seconds and bytes after the first half of the days and after all of them, with and without the set-up."""
    home = Home(Path(folder) / str(users))
    options = WorldOptions(dt.date(2026, 1, 5), users=users, items=ITEMS, topics=TOPICS, random_shelf=1)
    simulation = Simulation(home, options, DAYS, DAYS)
    marks = []

    def watch(_):
        marks.append((time.perf_counter(), landing_bytes(home)))

    started = time.perf_counter()
    world = World(options)
    ready = time.perf_counter()
    simulation.write_quiet_days(world, print, watch)
    half = marks[DAYS // 2 - 1]
    return {
        "seconds": time.perf_counter() - started,
        "half_days_seconds": half[0] - ready,
        "days_seconds": marks[-1][0] - ready,
        "half_days_bytes": half[1],
        "bytes": marks[-1][1],
        "events": int(sum(day.plays for day in world.days)),
    }


def main():
    with tempfile.TemporaryDirectory() as folder:
        whole = write_world(folder, USERS)
        peak = peak_gigabytes()
        fewer = write_world(folder, USERS // 2)
    report = {
        "name": "world",
        "figures": {
            "seconds": whole["seconds"],
            "peak_gb": peak,
            "organic_plays": whole["events"],
            "landing_megabytes": whole["bytes"] / 1e6,
            "seconds_ratio_twice_the_days": whole["days_seconds"] / whole["half_days_seconds"],
            "bytes_ratio_twice_the_days": whole["bytes"] / whole["half_days_bytes"],
            "seconds_ratio_twice_the_users": whole["days_seconds"] / fewer["days_seconds"],
            "bytes_ratio_twice_the_users": whole["bytes"] / fewer["bytes"],
        },
        "settings": {"users": USERS, "items": ITEMS, "days": DAYS, "topics": TOPICS, "random_exposures": 1},
        "seed": 0,
        "command": "python benchmarks/world.py",
        "made_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
