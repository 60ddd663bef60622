"""The sensor of the landing zone: days whose files are new or changed are run, each state of them once.

A file belongs to the days of its rows, not to the day that it arrived in, so a late row asks for its own day again, and
an impression's day is asked for until the window of its outcomes has closed. A day without files, before others that
have some, is asked for too: it is empty, not missing. A run that lost its process is asked for again.
"""

import json
from collections.abc import Iterator
from datetime import date
from itertools import pairwise

import dagster as dg

from alignrec_assets.assets.raw import attribution_window, landing_zone
from alignrec_assets.home import Home
from alignrec_assets.instance.dagster_home import LOST_PROCESS, fail_dead_runs
from alignrec_assets.landing.survey import day_inputs, survey, unreadable_days
from alignrec_assets.partitions import FIRST_DAY_TAG, LAST_DAY_TAG, partition_after, partition_days, partition_of
from alignrec_assets.remote import INDEX_FILE, RemoteError, fetch_landing
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.sections import CalendarSettings, Partition
from alignrec_assets.warehouse.connection import Warehouse, WarehouseError
from models.files import fingerprint

JOB = "days"
KINDS = ("items", "events", "feedback", "outcomes")
PATIENCE_SECONDS = 5.0  # a tick is short: where a step holds the warehouse, the next one looks again
ATTEMPTS = 3  # a run that takes its process down, such as one without memory, is not repeated for ever
LOST_RUNS = 20  # so many of the latest are looked at
REASON, ATTEMPT = {"alignrec/reason": "landing files"}, "alignrec/attempt"
HASH_LETTERS = 8  # of each day in the cursor, which so has 24 bytes a day


@dg.sensor(
    job_name=JOB,
    name="landing_files",
    minimum_interval_seconds=60,
    description="Runs the days whose landing files are new or changed: neighbouring days in one run, each state once.",
)
def landing_sensor(
    context: dg.SensorEvaluationContext, home: HomeResource
) -> dg.SensorResult | dg.SkipReason | list[dg.RunRequest]:
    """One tick; the cursor holds the look of the folder at the last one, and the files of each day as one hash."""
    try:
        fetch_landing(home.home, home.settings.remote.landing, context.log.info, wait=False)
    except RemoteError as error:
        return dg.SkipReason(f"the next tick looks again: {error}")
    fail_dead_runs(context.instance, context.log.info)
    again = list(_repeats(context.instance))
    seen = json.loads(context.cursor or '{"folder": "", "days": {}}')
    asked = seen.get("asked", 0)
    folder = _folder_state(home.home, home.settings.calendar)
    if folder == seen["folder"]:
        return again or dg.SkipReason("no landing file is new or changed")
    try:
        states = _day_states(home)
    except WarehouseError as error:
        return dg.SkipReason(f"the next tick looks again: {error}")
    changed = [date.fromisoformat(day) for day, state in states.items() if seen["days"].get(day) != state]
    ranges = _ranges(changed, home.settings.calendar.partition)
    requests = [*again, *(_request(first, last, states, asked) for first, last in ranges)]
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else "what is new belongs to no day that is over",
        cursor=json.dumps({"folder": folder, "days": states, "asked": asked + bool(changed)}),
    )


def _folder_state(home: Home, calendar: CalendarSettings) -> str:
    """Names, sizes and times of all landing files as one hash: no file is read, so a tick without news is cheap."""
    files = [path for path in home.landing.rglob("*") if path.is_file() and path.name != INDEX_FILE]
    looks = sorted((str(path), status.st_size, status.st_mtime_ns) for path in files for status in [path.stat()])
    return fingerprint([looks, partition_days(calendar)[-1:]])


def _day_states(home: HomeResource) -> dict[str, str]:
    """What each day up to the last with files is made from, as a hash; the catalogue counts to that last day."""
    zone, window = landing_zone(home.home.landing, home.settings), attribution_window(home.settings)
    days = partition_days(home.settings.calendar)
    with Warehouse(home.home, patience_seconds=PATIENCE_SECONDS).writing() as connection:
        found = {kind: survey(connection, zone, kind) for kind in KINDS}
        events = day_inputs(connection, zone, "events", days)
        feedback = day_inputs(connection, zone, "feedback", days, window)
    no_events = unreadable_days(found["events"], days, zone.calendar)
    no_feedback = unreadable_days(found["feedback"] + found["outcomes"], days, zone.calendar, window)
    inputs = {day: [events[day], feedback[day], [no_events.get(day), no_feedback.get(day)]] for day in days}
    arrived = [file.last_day for kind in ("events", "feedback") for file in found[kind] if file.last_day]
    latest = partition_of(max(arrived, default=date.min), zone.calendar.partition)
    last = min(latest, max(days, default=date.min))
    catalogue = [file.content_hash for file in found["items"]]
    return {
        day.isoformat(): fingerprint([inputs[day], catalogue if day == last else []])[:HASH_LETTERS]
        for day in days
        if day <= last
    }


def _ranges(days: list[date], partition: Partition) -> Iterator[tuple[date, date]]:
    """Runs of neighbouring partitions."""
    if days:
        breaks = [(before, after) for before, after in pairwise(days) if after > partition_after(before, partition)]
        yield from zip(
            [days[0], *(after for _, after in breaks)], [*(before for before, _ in breaks), days[-1]], strict=True
        )


def _request(first: date, last: date, states: dict[str, str], asked: int) -> dg.RunRequest:
    """``asked`` is how often this sensor had asked before: days that come back to an earlier state run again."""
    span = [state for day, state in states.items() if first.isoformat() <= day <= last.isoformat()]
    return dg.RunRequest(
        run_key=f"{first}..{last}:{fingerprint(span)[:HASH_LETTERS]}:{asked}",
        tags={FIRST_DAY_TAG: first.isoformat(), LAST_DAY_TAG: last.isoformat(), **REASON},
    )


def _repeats(instance: dg.DagsterInstance) -> Iterator[dg.RunRequest]:
    """Once more what this sensor had asked for, where a power cut or the like took the run's process.

    Dagster makes one run of each key, so a run that was lost is repeated once, however many ticks see it.
    """
    for run in instance.get_runs(dg.RunsFilter(tags={**REASON, LOST_PROCESS: "true"}), limit=LOST_RUNS):
        attempt = int(run.tags.get(ATTEMPT, "1")) + 1
        if attempt <= ATTEMPTS:
            tags = {name: run.tags[name] for name in (FIRST_DAY_TAG, LAST_DAY_TAG)}
            yield dg.RunRequest(run_key=f"after {run.run_id}", tags={**tags, **REASON, ATTEMPT: str(attempt)})
