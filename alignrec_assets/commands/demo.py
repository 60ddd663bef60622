"""The demo: a simulated world for two weeks, or a public data set, carried along the whole line, and a report."""

import time
from datetime import date, timedelta
from pathlib import Path

from alignrec_assets.commands.demo_report import write_report
from alignrec_assets.commands.ingest import ingest_source
from alignrec_assets.commands.run import run_line
from alignrec_assets.commands.simulate import Simulation
from alignrec_assets.home import Home
from alignrec_assets.instance.dagster_home import prepare_instance
from alignrec_assets.settings.sources import update_settings_file
from models.progress import Log
from models.serving.transition_table import current_version

FIRST_DAY = date(2026, 1, 5)
WEEK = 7
# The first table knows nothing of what users like. Half of its traffic goes to the whole label distribution, five times
# the default slice, so that a week is enough to score most pairs of a small platform.
COLD_START_SLICE = 0.5
# Of some 200 histories with feedback 60 or more make the contest, and 25 select. By the defaults it would be 30 and 30.
HELD_OUT = {"holdout_share": 0.46, "report_share": 0.72}


class DemoError(ValueError):
    """The demo cannot run on this home or data; the message names the fix."""


def run_demo(home: Home, source: str, data: Path | None, write: Log) -> None:
    """Run the demo of a source and write ``reports/demo.json``.

    Raises:
        DemoError: the home holds another source, or a data set was not named.
    """
    started = time.monotonic()
    prepare_instance(home)
    before, truth = None, None
    if source == "simulated":
        before, truth = _run_simulated(home, write)
    elif data is None:
        raise DemoError(f"name the folder of the {source} data set: make demo SOURCE={source} DATA=path/to/{source}")
    else:
        _run_public(home, source, data, write)
    write_report(home, source, before, truth, time.monotonic() - started, write)


def _run_public(home: Home, source: str, data: Path, write: Log) -> None:
    write(f"ingest {source}")
    ingest_source(home, source, data, None, write)
    run_line(home, None, None, write)


def _run_simulated(home: Home, write: Log) -> tuple[str, Path]:
    """Two weeks of the world around the line; returns the version of the first table, and the file of the truth."""
    from models.arena.world import World, WorldOptions

    options = WorldOptions(first_day=FIRST_DAY, users=8_000, seed=1)
    last = FIRST_DAY + timedelta(days=2 * WEEK - 1)
    if not home.settings.exists():
        update_settings_file(home, {"calendar": {"first_day": FIRST_DAY, "last_day": last}, "alignment": HELD_OUT})
    simulation = Simulation(home, options, WEEK, 2 * WEEK)
    if simulation.finished:
        write("simulated world: skipped, both weeks are in the landing zone")
    else:
        if not simulation.quiet_finished:
            write(f"simulated world, week 1: {options.users:,} users, {options.items:,} items, organic feed alone")
            simulation.write_quiet_days(World(options), _indented(write))
        run_line(home, None, simulation.last_day(WEEK), write)
        version = simulation.progress["table_version"] or current_version(home.published)
        write(f"simulated world, week 2: the exploration shelf asks table {version}")
        simulation.write_explored_days(version, COLD_START_SLICE, _indented(write))
    run_line(home, None, None, write)
    return str(simulation.progress["table_version"]), simulation.truth


def _indented(write: Log) -> Log:
    return lambda line: write(f"  {line}")
