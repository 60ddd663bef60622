"""The Dagster instance of a home: where it lies, its configuration, and runs whose process has died."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus, RunsFilter

from alignrec_assets.home import Home
from models.files import content_hash, replacing
from models.progress import Log

INSTANCE_FILE = "dagster.yaml"
POSTGRES_FILE = "dagster-postgres.yaml"
LOCK, COMPLETE = ".lock", ".complete"
"""Beside the instance file: what the one process that prepares the instance locks, and what says that its SQLite
databases are there."""
SHIPPED_RECORD = ".shipped"
"""Beside the instance file: the hash of the one that was put there last."""
SHIPPED_BEFORE_RECORDS = {
    "bc54d26f454629f9",
    "f81c655ea46b5e27",
    "47672c85a53dd72c",
    "8e654033e112df6a",
    "5fbf77f8b1f689d9",
    "6129fd5202736084",
}
"""Hashes of the instance files, plain and for Postgres, that homes were given until November 2026."""
POSTGRES_HOST, *_ = POSTGRES_VARIABLES = [
    f"DAGSTER_POSTGRES_{part}" for part in ("HOST", "PORT", "DB", "USER", "PASSWORD")
]
CLOCK_SECONDS = 60.0  # by so much the clock may have been set since a run began
LOST_PROCESS = "alignrec/lost_process"  # tag of runs that were failed for it: nothing was wrong with what they did
UNFINISHED = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]


class InstanceError(RuntimeError):
    """The Dagster instance of the home cannot be used; the message names the file or the variable, and the fix."""


def prepare_instance(home: Home) -> None:
    """Give the home the instance file of this alignrec, and make the instance the one that Dagster finds.

    Where ``DAGSTER_POSTGRES_HOST`` is set, that file is the one for Postgres, also in a home that began without. A file
    that was edited stays as it is, and a home whose runs lie in Postgres never goes back to SQLite unasked.

    Raises:
        InstanceError: the file and the variables do not fit each other, or the extra is not installed.
    """
    home.create()
    target = home.dagster / INSTANCE_FILE
    on_postgres = bool(os.environ.get(POSTGRES_HOST))
    with _alone(home):
        stays_there = target.exists() and POSTGRES_HOST in target.read_text(encoding="utf-8")
        _bring_up_to_date(target, _shipped(POSTGRES_FILE if on_postgres or stays_there else INSTANCE_FILE))
        _check_storage(target, on_postgres=on_postgres)
        os.environ["DAGSTER_HOME"] = str(home.dagster)
        if not on_postgres and not (home.dagster / COMPLETE).exists():
            with _instance() as instance:
                _make_storages(instance)
            (home.dagster / COMPLETE).touch()


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Dagster makes its databases when it first opens them: of two processes that do so at once, one fails."""
    descriptor = os.open(home.dagster / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # closing releases the lock


def _make_storages(instance: dg.DagsterInstance) -> None:
    """Ask each storage for something, for each makes its tables when it is first asked."""
    instance.get_runs_count()
    instance.get_latest_materialization_event(dg.AssetKey("none"))
    instance.all_instigator_state()


@contextmanager
def open_instance(home: Home) -> Iterator[dg.DagsterInstance]:
    """The instance of a home, prepared.

    Raises:
        InstanceError: as above, or Postgres does not let us in.
    """
    prepare_instance(home)
    with _instance() as instance:
        yield instance


def fail_dead_runs(instance: dg.DagsterInstance, log: Log) -> None:
    """Fail runs whose process is gone and free their slots.

    After ``kill -9`` a run stays started and keeps its place in a pool: a rerun would wait for ever.
    """
    for record in instance.get_run_records(RunsFilter(statuses=UNFINISHED)):
        run = record.dagster_run
        process, since = _process_of(instance, run.run_id)
        if process is not None and not _is_alive(process, since):
            instance.add_run_tags(run.run_id, {LOST_PROCESS: "true"})
            instance.report_run_failed(run, f"its process {process} is gone")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            log(f"run {run.run_id[:8]} ({run.job_name}) had lost its process: marked as failed, its slots are free")


def runs_under_way(instance: dg.DagsterInstance, log: Log, own_run: str | None = None) -> list[str]:
    """Names of the runs that a living process works on, but for the caller's own; dead ones are failed first."""
    fail_dead_runs(instance, log)
    runs = [record.dagster_run for record in instance.get_run_records(RunsFilter(statuses=UNFINISHED))]
    return [f"{run.run_id[:8]} ({run.job_name})" for run in runs if run.run_id != own_run]


def _shipped(name: str) -> Path:
    checkout = Path(__file__).resolve().parents[2] / name
    return checkout if checkout.exists() else Path(str(files("alignrec_assets") / name))


def _bring_up_to_date(target: Path, shipped: Path) -> None:
    """Copy the shipped file over what an earlier alignrec had put there, and over nothing that somebody edited."""
    record, wanted = target.with_name(SHIPPED_RECORD), content_hash(shipped)
    recorded = record.read_text(encoding="ascii").strip() if record.exists() else None
    found = content_hash(target) if target.exists() else None
    if found not in (None, wanted, recorded) and found[:16] not in SHIPPED_BEFORE_RECORDS:
        return
    for path, content, stands in (
        (target, shipped.read_bytes(), found == wanted),
        (record, f"{wanted}\n".encode(), recorded == wanted),
    ):
        if not stands:
            with replacing(path) as partial:
                partial.write_bytes(content)


def _check_storage(target: Path, *, on_postgres: bool) -> None:
    wants_postgres = POSTGRES_HOST in target.read_text(encoding="utf-8")
    missing = [name for name in POSTGRES_VARIABLES if not os.environ.get(name)]
    if on_postgres and not wants_postgres:
        raise InstanceError(
            f"{POSTGRES_HOST} is set, but {target} was edited and keeps runs elsewhere: give it the storage section of "
            f"{POSTGRES_FILE} in place of its event_log_storage, or move it away"
        )
    if wants_postgres and missing:
        raise InstanceError(
            f"{target} keeps runs in Postgres, but {', '.join(missing)} is not set: set it, or move that file away to "
            "keep runs in the home"
        )
    if wants_postgres and find_spec("dagster_postgres") is None:
        raise InstanceError(
            f"{target} keeps runs in Postgres: install what that needs, `pip install 'alignrec[postgres]'`"
        )


def _instance() -> dg.DagsterInstance:
    if not os.environ.get(POSTGRES_HOST):
        return dg.DagsterInstance.get()
    from dagster_postgres.utils import DagsterPostgresException

    try:
        return dg.DagsterInstance.get()
    except DagsterPostgresException as error:
        reason = getattr(error.__cause__, "orig", error)
        raise InstanceError(f"Postgres lets no one in, see {', '.join(POSTGRES_VARIABLES)}: {reason}") from error


def _execute_after_dead_runs(context: dg.InitExecutorContext) -> dg.Executor:
    fail_dead_runs(context.instance, dg.get_dagster_logger().warning)
    return dg.in_process_executor.executor_creation_fn(context)  # type: ignore[misc]


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
