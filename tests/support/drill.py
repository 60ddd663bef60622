"""Commands for the failure drill, with a fault in one asset or without."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

from support.line import BIN, FIRST_DAY, LAST_DAY, environment, launch

from alignrec_assets.definitions import build_definitions
from alignrec_assets.home import Home

PROJECT = Path(__file__).resolve().parents[2]
WORKSPACE = ("--workspace", str(PROJECT / "workspace.yaml"))
DISTURBANCE = PROJECT / "tests" / "faults" / "disturbance"
DAYS = (FIRST_DAY.isoformat(), LAST_DAY.isoformat())
GRAPH = build_definitions(Home.from_environment()).resolve_asset_graph()
ASSETS = {".".join(key.path): GRAPH.get(key) for key in GRAPH.toposorted_asset_keys}


def selections():
    """The selection of every asset, which is also the job that runs it, by its name in the warehouse."""
    return {name: node.tags["selection"] for name, node in ASSETS.items()}


def disturbed(fault, asset, sign=os.devnull):
    """Variables under which one asset of a command meets a fault."""
    path = os.pathsep.join(filter(None, [str(DISTURBANCE), os.environ.get("PYTHONPATH")]))
    return {"DRILL_FAULT": fault, "DRILL_ASSET": asset, "DRILL_SIGN": str(sign), "PYTHONPATH": path}


def start(home, asset, **variables):
    """Start the plain command that materializes one asset."""
    days = DAYS if ASSETS[asset].partitions_def else ()
    return _start(home, *launch(f'key:"{asset.replace(".", "/")}"', *days), **variables)


def finish(process, seconds=300):
    """Wait for a command; returns its exit code and its output."""
    code = process.wait(seconds)
    return code, Path(process.output).read_text(errors="replace")


def start_daemon(home, **variables):
    """Start Dagster's daemon on the project's workspace, in a process group of its own."""
    return _start(home, "dagster-daemon", "run", *WORKSPACE, **variables)


def launch_arguments(selection):
    """The command that hands a run of a selection to the daemon; `dg launch` would execute it in its own process."""
    tags = dict(zip(("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"), DAYS, strict=True))
    extra = ("--tags", json.dumps(tags)) if selection == "days" else ()
    return ("dagster", "job", "launch", *WORKSPACE, "--job", selection, *extra)


def _start(home, program, *arguments, **variables):
    beside = home.dagster.resolve().parent  # not on the full disk
    output = Path(tempfile.mkstemp(suffix=".txt", prefix=f"{program}-", dir=beside)[1])
    with output.open("w") as stream:
        process = subprocess.Popen(
            [str(BIN / program), *arguments],
            env=environment(home.path, **variables),
            cwd=home.path,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    process.output = output
    return process
