"""Running the line from the command line: the three selections in order, each step with its time."""

import logging
import re
import time
from collections.abc import Collection
from datetime import date

import dagster as dg

from alignrec_assets.automation.selections import SELECTIONS
from alignrec_assets.definitions import build_definitions
from alignrec_assets.failures import Failure, UnexpectedError, bounded, explain_by_name, place_of
from alignrec_assets.home import Home
from alignrec_assets.instance.dagster_home import fail_dead_runs, open_instance
from alignrec_assets.instance.step_log import STEP_LOGGER
from alignrec_assets.partitions import FIRST_DAY_TAG, LAST_DAY_TAG, days_of, partition_of
from alignrec_assets.settings.sections import CalendarSettings
from alignrec_assets.settings.sources import load_settings
from models.messages import listed
from models.progress import Log

STEP_WIDTH = 30
STOPPED_BY_CHECKS = "DagsterAssetCheckFailedError"
ENDED_BY_USER = (dg.DagsterEventType.RUN_CANCELING, dg.DagsterEventType.RUN_CANCELED)


class RunFailedError(RuntimeError):
    """A step failed; the message is the step's own."""


def run_line(
    home: Home,
    first: date | None,
    last: date | None,
    write: Log,
    *,
    recluster: bool = False,
    selections: Collection[str] = ("days", "learning", "publication"),
) -> None:
    """Run days, learning and publication on the home's instance.

    Args:
        home: the home.
        first: first day to run, by default the calendar's.
        last: last day to run, by default the calendar's (or yesterday, where the log is open).
        write: receives each line of progress.
        recluster: make a new taxonomy first.
        selections: which of the three.

    Raises:
        RunFailedError: a step failed; what was finished before it stays.
    """
    start, end = day_range(load_settings(home).calendar, first, last)
    definitions = build_definitions(home)
    with open_instance(home) as instance:
        fail_dead_runs(instance, write)
        for name, _, _ in SELECTIONS:
            if name not in selections:
                continue
            days = f" {start} to {end}" if name == "days" else ""
            write(f"{name}{days}")
            span = (start, end) if name == "days" else None
            run_selection(definitions, instance, name, span, StepReporter(home, write), recluster=recluster)


def run_beside_the_line(home: Home, name: str, write: Log) -> None:
    """Run a selection that is no part of the line, such as the search, on what the line has made so far.

    Raises:
        RunFailedError: a step failed; what was finished before it stays.
    """
    with open_instance(home) as instance:
        fail_dead_runs(instance, write)
        run_selection(build_definitions(home), instance, name, None, StepReporter(home, write))


def run_selection(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    name: str,
    days: tuple[str, str] | None,
    reporter: "StepReporter",
    *,
    recluster: bool = False,
) -> None:
    """Run one selection in this process, exactly the assets of ``dg launch --assets``.

    Raises:
        RunFailedError: a step failed.
        UnexpectedError: a step failed with an error that nobody expected.
        KeyboardInterrupt: the user ended the run, in a step or between two.
    """
    tags = {FIRST_DAY_TAG: days[0], LAST_DAY_TAG: days[1]} if days else {}
    steps = logging.getLogger(STEP_LOGGER)
    steps.addHandler(reporter)
    config = {"ops": {"interests__clusters": {"config": {"recluster": True}}}} if recluster and days else {}
    try:
        result = definitions.resolve_job_def(name).execute_in_process(
            instance=instance, tags=tags, raise_on_error=False, run_config={**config, "loggers": {"steps": {}}}
        )
    finally:
        steps.removeHandler(reporter)
    failure = reporter.failure
    if failure.interrupted or any(event.event_type in ENDED_BY_USER for event in result.all_events):
        raise KeyboardInterrupt
    if result.success:
        return
    told = " ".join(f"{reporter.failed_step or name}: {failure.message}".splitlines())
    if failure.traceback:
        raise UnexpectedError(told, failure.traceback)
    raise RunFailedError(told)


def day_range(calendar: CalendarSettings, first: date | None, last: date | None) -> tuple[str, str]:
    """The range as partition keys: those of the partitions that hold the two days.

    Raises:
        RunFailedError: a day outside the calendar.
    """
    keys = days_of(calendar).get_partition_keys()
    if not keys:
        raise RunFailedError("the calendar has no day that is over yet: see calendar.first_day in settings.toml")
    start = partition_of(first, calendar.partition).isoformat() if first else keys[0]
    end = partition_of(last, calendar.partition).isoformat() if last else keys[-1]
    for key, day in ((start, first), (end, last)):
        if key not in keys:
            raise RunFailedError(
                f"day {day} is outside the calendar {keys[0]} to {keys[-1]}: name another, "
                "or change [calendar] in settings.toml"
            )
    if end < start:
        raise RunFailedError(f"the last day {end} lies before the first day {start}")
    return start, end


class StepReporter(logging.Handler):
    """Turns Dagster's log into one line per step with its outcome and time, and lines of progress between."""

    def __init__(self, home: Home, write: Log) -> None:
        super().__init__(logging.DEBUG)  # step starts and ends are debug records
        self.home = home
        self.write = write
        self.started: dict[str, float] = {}
        self.last_message: dict[str, str] = {}
        self.checks: set[str] = set()  # steps that do nothing but check
        self.failed_checks: list[str] = []
        self.failed_step = ""
        self.failure = Failure("the run failed: `make ui` shows its log")

    def emit(self, record: logging.LogRecord) -> None:
        """Handle one record of Dagster's log."""
        metadata = getattr(record, "dagster_meta", None)
        step = metadata.get("step_key") if metadata else None
        if not metadata or not step:
            return
        event = metadata.get("dagster_event")
        if event is None:
            self._message(step, str(metadata["orig_message"]), record.levelno)
        elif event.is_step_start:
            self.started[step] = time.monotonic()
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            self._check(step, event.asset_check_evaluation_data)
        elif event.is_step_success:
            self._finish(step)
        elif event.is_step_failure:
            self._fail(step, event.step_failure_data.error)

    def _check(self, step: str, told: dg.AssetCheckEvaluation) -> None:
        if step.endswith(f"_{told.check_name}"):
            self.checks.add(step)
        if not told.passed and told.severity == dg.AssetCheckSeverity.ERROR:
            self.failed_checks.append(f"{told.check_name}: {told.description or 'failed'}")

    def _message(self, step: str, message: str, level: int) -> None:
        # A step's last message becomes its summary, so each is held back until the next one comes.
        held = self.last_message.get(step)
        if held is not None:
            self.write(f"    {held}")
        told = bounded(message, self.home)
        self.last_message[step] = f"warning: {told}" if level >= logging.WARNING else told

    def _finish(self, step: str) -> None:
        if step in self.checks and step not in self.last_message:
            return  # a check that has nothing to say
        seconds = time.monotonic() - self.started.get(step, time.monotonic())
        summary = self.last_message.pop(step, "done")
        self.write(f"  {step.replace('__', '/'):<{STEP_WIDTH}} {summary}  [{seconds:.1f} s]")

    def _fail(self, step: str, error: object) -> None:
        if self.failure.interrupted:
            return  # what fails after it is of no interest
        # What Dagster wraps around a step's own error is not of interest; what that was raised from is in its message.
        while getattr(error, "cause", None) is not None and str(getattr(error, "cls_name", "")).startswith("Dagster"):
            error = error.cause  # type: ignore[attr-defined]
        self.failed_step = step.replace("__", "/")
        name = str(getattr(error, "cls_name", None) or "error")
        if name == STOPPED_BY_CHECKS and self.failed_checks:
            self.failure = Failure(listed(self.failed_checks, "; "))
            return
        # Dagster puts the class with its module before the message.
        message = re.sub(r"^[\w.]+(: |$)", "", str(getattr(error, "message", error)).strip())
        traced = str(error.to_string()) if hasattr(error, "to_string") else str(error)
        self.failure = explain_by_name(name, message, place_of(getattr(error, "stack", [])), traced)
