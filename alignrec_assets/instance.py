"""The Dagster instance of a home: where it lies, its configuration, and runs whose process has died."""

import os
import shutil
from importlib.resources import files
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus, RunsFilter

from alignrec_assets.home import Home
from models.progress import Log

INSTANCE_FILE = "dagster.yaml"
UNFINISHED = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]


def prepare_instance(home: Home) -> None:
    """Copy ``dagster.yaml`` to the home where it has none, and make the instance the one that Dagster finds."""
    home.create()
    target = home.dagster / INSTANCE_FILE
    if not target.exists():
        shutil.copyfile(_instance_file(), target)
    os.environ["DAGSTER_HOME"] = str(home.dagster)


def fail_dead_runs(instance: dg.DagsterInstance, log: Log) -> None:
    """Fail runs whose process is gone and free their slots.

    After ``kill -9`` a run stays started and keeps its place in a pool: a rerun would wait for ever.
    """
    for record in instance.get_run_records(RunsFilter(statuses=UNFINISHED)):
        run = record.dagster_run
        process = _process_of(instance, run.run_id)
        if process is not None and not _is_alive(process):
            instance.report_run_failed(run, f"its process {process} is gone")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            log(f"run {run.run_id[:8]} ({run.job_name}) had lost its process: marked as failed, its slots are free")


def runs_under_way(instance: dg.DagsterInstance, log: Log) -> list[str]:
    """Names of the runs that a living process works on; dead ones are failed first."""
    fail_dead_runs(instance, log)
    runs = [record.dagster_run for record in instance.get_run_records(RunsFilter(statuses=UNFINISHED))]
    return [f"{run.run_id[:8]} ({run.job_name})" for run in runs]


def _instance_file() -> Path:
    checkout = Path(__file__).resolve().parent.parent / INSTANCE_FILE
    return checkout if checkout.exists() else Path(str(files("alignrec_assets") / INSTANCE_FILE))


def _process_of(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """The process that executes the steps of a run, as its first engine event tells."""
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        if event is not None:
            pid = event.engine_event_data.metadata.get("pid")
            if pid is not None:
                return int(str(pid.value))
    return None


def _is_alive(process: int) -> bool:
    """Whether it still runs one of our commands: the system gives numbers of the dead to others."""
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
    return b"dagster" in command or b"alignrec" in command or b"pytest" in command
