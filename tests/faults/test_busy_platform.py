"""Half an hour of everything at once: two runs at a time, a backfill, both sensors, and a person's own commands.

DRILL_MINUTES shortens it. Days and late rows land all the while. In the end every run must have succeeded, nothing may
have been asked for twice for one reason, and a last run of the whole line must find no day left to do.
"""

import json
import os
import shutil
import signal
import time
from datetime import timedelta
from itertools import pairwise

import dagster as dg
import polars as pl
import pytest
import yaml
from support.drill import GRAPH, WORKSPACE, start_daemon
from support.line import DAYS, FIRST_DAY, command, launch, simulate, write_random_feedback

from alignrec_assets.home import Home
from alignrec_assets.instance.dagster_home import open_instance
from alignrec_assets.refresh.declarations import DECLARATIONS
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import read_records

MINUTES = float(os.environ.get("DRILL_MINUTES", "30"))
ALL_DAYS = [(FIRST_DAY + timedelta(days=number)).isoformat() for number in range(14)]
BEGINNING = ALL_DAYS[:DAYS]
EVERY_SECONDS = 45.0  # something lands
QUIET_SECONDS = 120.0  # without a run, before the end is believed: a sensor and a condition have looked once more
PATIENCE_SECONDS = 900.0
OVER = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@pytest.fixture
def home(tmp_path, tiny_model_folder):
    """The line has run on the first days; the files of the others wait aside."""
    home = Home(tmp_path / "home")
    simulate(home, tiny_model_folder, days=len(ALL_DAYS), users=600)
    (tmp_path / "aside").mkdir()
    for day in ALL_DAYS[DAYS:]:
        shutil.move(home.landing / "events" / f"day={day}", tmp_path / "aside" / day)
    command(home.path, "alignrec", "run", "--last", BEGINNING[-1])
    write_random_feedback(home)
    command(home.path, "alignrec", "run", "--last", BEGINNING[-1])
    configuration = home.dagster / "dagster.yaml"
    settings = yaml.safe_load(configuration.read_text())
    settings["concurrency"]["runs"] = {"max_concurrent_runs": 2}
    configuration.write_text(yaml.safe_dump(settings))
    return home


def recorded(home):
    """What each day of each daily table was made from."""
    with Warehouse(home).reading() as connection:
        tables = [each.name for each in DECLARATIONS if each.daily and not each.from_landing]
        return {(table, day): record for table in tables for day, record in read_records(connection, table).items()}


def land_something(home, aside, number):
    """By turns a new day, late events of an old one, and feedback of an old one."""
    waiting = sorted(aside.iterdir())
    day = ALL_DAYS[number % (len(ALL_DAYS) - len(waiting))]
    if number % 3 == 0 and waiting:
        shutil.move(waiting[0], home.landing / "events" / f"day={waiting[0].name}")
    elif number % 3 == 1:
        folder = home.landing / "events" / f"day={day}"
        late = (
            pl.read_parquet(folder / "part-0.parquet")
            .head(5)
            .with_columns(pl.format("late{}", "user_id").alias("user_id"))
        )
        late.write_parquet(folder / f"late-{number}.parquet")
    else:
        source = home.landing / "feedback" / f"day={BEGINNING[-1]}"
        again = pl.read_parquet(source / "part-0.parquet").head(400)
        again = again.with_columns(pl.format("{}-{}", "request_id", pl.lit(number)).alias("request_id"))
        again.write_parquet(source / f"late-{number}.parquet")


def await_quiet(instance):
    """Wait until no run was open for a while."""
    deadline, quiet_since = time.monotonic() + PATIENCE_SECONDS, time.monotonic()
    while time.monotonic() - quiet_since < QUIET_SECONDS:
        assert time.monotonic() < deadline, [run.status for run in instance.get_runs(limit=5)]
        if any(run.status not in OVER for run in instance.get_runs()):
            quiet_since = time.monotonic()
        time.sleep(2.0)


def asked_days(run):
    """The days that a run was launched for; an empty string where it has none."""
    first, last = (run.tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))
    one = run.tags.get("dagster/partition")
    if first:
        return [day for day in ALL_DAYS if first <= day <= last]
    return [one] if one else [""]


def made_at(instance, key):
    records = instance.fetch_materializations(key, limit=10_000).records
    return [record.timestamp for record in records]


def requests_of_automation(instance):
    """Moments at which the conditions asked for each day of each asset."""
    asked = {}
    for record in reversed(instance.get_run_records()):
        run = record.dagster_run
        if run.tags.get("alignrec/reason") == "automation":
            for key in run.asset_selection or ():
                for day in asked_days(run):
                    asked.setdefault((key, day), []).append(record.create_timestamp.timestamp())
    return asked


@pytest.mark.full
@pytest.mark.timeout(60 * MINUTES + 3600)
def test_half_an_hour_of_everything_at_once(home, tmp_path):
    for sensor in ("landing_files", "automation"):
        command(home.path, "dagster", "sensor", "start", sensor, *WORKSPACE)
    daemon = start_daemon(home)
    try:
        command(
            home.path, "dagster", "job", "backfill", *WORKSPACE, "--job", "days", "--noprompt",
            "--from", BEGINNING[0], "--to", BEGINNING[-1],
        )  # fmt: skip
        until = time.monotonic() + 60 * MINUTES
        number = 0
        while time.monotonic() < until:
            land_something(home, tmp_path / "aside", number)
            if number % 5 == 4:
                command(home.path, *launch('key:"feedback/transition_scores"', BEGINNING[0], BEGINNING[-1]))
            number += 1
            time.sleep(EVERY_SECONDS)
        with open_instance(home) as instance:
            await_quiet(instance)
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait()
    said = daemon.output.read_text(errors="replace")
    assert "database is locked" not in said
    assert "Could not set lock" not in said
    with open_instance(home) as instance:
        runs = instance.get_runs()
        print(json.dumps({"runs": len(runs), "landed": number, "minutes": MINUTES}))
        failed = [run for run in runs if run.status != dg.DagsterRunStatus.SUCCESS]
        assert not failed, [(run.run_id, run.job_name, run.tags) for run in failed]
        keys = [run.tags["dagster/run_key"] for run in runs if "dagster/run_key" in run.tags]
        assert len(set(keys)) == len(keys)
        for (key, day), moments in requests_of_automation(instance).items():
            read = [made for parent in GRAPH.get(key).parent_keys for made in made_at(instance, parent)]
            for before, after in pairwise(moments):
                assert any(before < made < after for made in read), f"{key} {day} was asked for twice for one reason"
    before = recorded(home)
    command(home.path, "alignrec", "run")
    after = recorded(home)
    assert {day: after[day] for day in before} == before  # days that have not landed yet are made, and no other
