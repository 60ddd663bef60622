"""The Dagster instance of a home: where it lies, its configuration, and runs whose process has died."""

import os
import shutil
import time
from importlib.resources import files
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus, RunsFilter

from alignrec_assets.home import Home
from models.progress import Log

INSTANCE_FILE = "dagster.yaml"
CLOCK_SECONDS = 60.0  # by so much the clock may have been set since a run began
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
        process, since = _process_of(instance, run.run_id)
        if process is not None and not _is_alive(process, since):
            instance.report_run_failed(run, f"its process {process} is gone")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            log(f"run {run.run_id[:8]} ({run.job_name}) had lost its process: marked as failed, its slots are free")


def _execute_after_dead_runs(context: dg.InitExecutorContext) -> dg.Executor:
    fail_dead_runs(context.instance, dg.get_dagster_logger().warning)
    return dg.in_process_executor.executor_creation_fn(context)  # type: ignore[misc]


def _instance_file() -> Path:
    checkout = Path(__file__).resolve().parent.parent / INSTANCE_FILE
    return checkout if checkout.exists() else Path(str(files("alignrec_assets") / INSTANCE_FILE))


def _process_of(instance: dg.DagsterInstance, run_id: str) -> tuple[int | None, float]:
    """The process that executes the steps of a run, and when it did, as the run's first engine event tells."""
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        if event is not None:
            pid = event.engine_event_data.metadata.get("pid")
            if pid is not None:
                return int(str(pid.value)), entry.timestamp
    return None, 0.0


def _is_alive(process: int, since: float) -> bool:
    """Whether the process of that moment still runs: the system gives numbers of the dead to others, which began later.

    Its command line tells nothing: a run of the daemon is a bare ``python -c from multiprocessing.spawn ...``.
    """
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return False
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    started = boot + int(status[19]) / os.sysconf("SC_CLK_TCK")
    return status[0] != "Z" and started < since + CLOCK_SECONDS


# Dagster's own, begun by freeing the slots of dead runs, for which plain commands and the daemon would wait for ever.
in_process_executor = dg.ExecutorDefinition(
    name="in_process",
    config_schema=dg.in_process_executor.config_schema,  # type: ignore[arg-type]
    executor_creation_fn=_execute_after_dead_runs,
)
