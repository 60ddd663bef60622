"""A small real home: a simulated platform, and the commands that a user would type.

Commands run in processes of their own, as they would: the calendar of a home is read when the code location loads.
"""

import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

from alignrec_assets.settings.sources import update_settings_file

FIRST_DAY = date(2026, 1, 5)
DAYS = 4
LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)
BIN = Path(sys.executable).parent
SMALL = {
    "interests": {"clusters": 8, "embedding": "tfidf"},
    "novelty": {"maximum_examples": 300, "tune": "full", "learning_rate": 0.01, "epochs": 12, "most_steps": 60},
    "alignment": {"epochs": 1.0, "tune": "full", "looks_per_epoch": 2, "minimum_histories": 5},
    "feedback": {"minimum_impressions": 2, "minimum_users": 1},
    "landing": {"attribution_hours": 12},  # impressions of noon are final when their day is over
    "publication": {"format_validity_limit": 0.0},  # a tiny random model never learns to spell well
}


def environment(home, **variables):
    """The variables of a command on a home."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("ALIGNREC_", "DAGSTER_"))}
    return clean | {
        "ALIGNREC_HOME": str(home),
        "DAGSTER_HOME": str(Path(home) / "dagster"),
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "200",
        **variables,
    }


def command(home, *arguments, check=True, seconds=500, **variables):
    """Run ``alignrec``, ``dg`` or ``dagster`` on a home; returns the finished process with its output as text."""
    done = subprocess.run(
        [str(BIN / arguments[0]), *map(str, arguments[1:])],
        env=environment(home, **variables),
        cwd=home if Path(home).is_dir() else None,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, arguments))} failed:\n{done.stdout}\n{done.stderr}")
    return done


def launch(selection, *days):
    """The plain command that makes a selection: on one day, from the first to the last day named, or without a day."""
    plain = ("dg", "launch", "-m", "alignrec_assets.definitions", "--assets", selection)
    if not days:
        return plain
    span = ("--partition", str(days[0])) if len(days) == 1 else ("--partition-range", f"{days[0]}...{days[-1]}")
    return (*plain, *span)


def materialize(home, asset, *days):
    """Make one day of an asset, or all from the first to the last one named, by the plain command."""
    command(home.path, *launch(f'key:"{asset}"', *days))


def materialize_each(home, *wanted):
    """Make each (asset, day, ...) in turn: a run for each, in one process; a command alone spends most on imports."""
    driver = Path(__file__).with_name("dg_commands.py")
    words = (launch(f'key:"{asset}"', *days) for asset, *days in wanted)
    command(home.path, "python", driver, *(json.dumps(each[1:]) for each in words))


def answer(home, driver, *arguments, **variables):
    """What a script of this folder tells as JSON on its last line: a process of its own reads the home's calendar."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(driver)), *arguments],
        env=environment(home.path, **variables),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def simulate(home, base_model, days=DAYS, users=150, items=200):
    """Fill a home's landing zone with days of the simulated platform and a random exploration shelf."""
    from models.arena.world import World, WorldOptions

    home.create()
    last = FIRST_DAY + timedelta(days=days - 1)
    update_settings_file(
        home,
        {
            "calendar": {"first_day": FIRST_DAY, "last_day": last},
            "base_model": {"source": str(base_model)},
            **SMALL,
        },
    )
    world = World(WorldOptions(first_day=FIRST_DAY, users=users, items=items, seed=2))
    (home.landing / "items").mkdir(parents=True, exist_ok=True)
    for _ in range(days):
        day = world.next_day
        traffic = world.simulate_day(day)
        if traffic.items.height:
            traffic.items.write_parquet(home.landing / "items" / f"{day}.parquet")
        folder = home.landing / "events" / f"day={day}"
        folder.mkdir(parents=True, exist_ok=True)
        traffic.events.write_parquet(folder / "part-0.parquet")


def write_random_feedback(home, impressions=6000, seed=5, file="part-0"):
    """Random exposures of the last two days, answered by a taste that only feedback can teach."""
    import numpy as np
    import polars as pl

    from alignrec_assets.warehouse.connection import Warehouse
    from alignrec_assets.warehouse.rows import table_frame

    with Warehouse(home).reading() as connection:
        items = table_frame(connection, "interests.item_clusters")
    rng = np.random.default_rng(seed)
    histories = [sorted(rng.choice(8, 2, replace=False).tolist()) for _ in range(impressions)]
    chosen = items[rng.integers(items.height, size=impressions)]
    clusters = chosen["cluster_id"].to_numpy()
    rates = 0.1 + 0.8 * (clusters % 3 == 0)
    days = rng.integers(DAYS - 2, DAYS, size=impressions)
    frame = pl.DataFrame(
        {
            "request_id": [f"{file}-{number}" for number in range(impressions)],
            "item_id": chosen["item_id"],
            "user_id": [f"x{number % 500}" for number in range(impressions)],
            "ts": [f"{FIRST_DAY + timedelta(days=int(day))}T12:00:00Z" for day in days],
            "history": histories,
            "cluster_id": clusters,
            "policy": "random",
            "table_version": None,
            "taxonomy_version": items["taxonomy_version"][0],
            "propensity": 1 / 8,
            "positive": rng.random(impressions) < rates,
        },
        schema_overrides={"history": pl.List(pl.Int32), "table_version": pl.String},
    )
    for number in (DAYS - 2, DAYS - 1):
        folder = home.landing / "feedback" / f"day={FIRST_DAY + timedelta(days=number)}"
        folder.mkdir(parents=True, exist_ok=True)
        frame.filter(pl.Series(days == number)).write_parquet(folder / f"{file}.parquet")
