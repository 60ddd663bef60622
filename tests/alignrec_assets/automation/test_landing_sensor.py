"""The sensor of the landing zone, tick by tick on real files."""

import json
import os
import subprocess
import sys
from datetime import date, timedelta

import dagster as dg
import polars as pl
import pytest
from dagster._core.events import EngineEventData
from dagster._core.utils import make_new_run_id

from alignrec_assets.home import Home
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.sources import update_settings_file

FIRST = date(2026, 1, 1)
DAYS = 6


@pytest.fixture
def home(tmp_path, monkeypatch):
    found = Home(tmp_path / "home")
    monkeypatch.setenv("ALIGNREC_HOME", str(found.path))
    found.create()
    update_settings_file(found, {"calendar": {"first_day": FIRST, "last_day": FIRST + timedelta(days=DAYS - 1)}})
    (found.landing / "items").mkdir()
    pl.DataFrame({"item_id": ["a"], "title": ["jazz"]}).write_parquet(found.landing / "items" / "items.parquet")
    return found


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def tick(home, instance, monkeypatch):
    import alignrec_assets.automation.landing_sensor as module

    cursor = None

    def look():
        nonlocal cursor
        with dg.build_sensor_context(
            instance, cursor=cursor, resources={"home": HomeResource(database=str(home.warehouse))}
        ) as c:
            found = module.landing_sensor(c)
        if isinstance(found, dg.SkipReason):
            return found.skip_message
        if isinstance(found, list):
            return found
        cursor = found.cursor
        return [
            (
                request.tags["dagster/asset_partition_range_start"][-2:],
                request.tags["dagster/asset_partition_range_end"][-2:],
                request.run_key,
            )
            for request in found.run_requests
        ]

    return look


def land(home, arrival, *moments, kind="events", name="part-0", **columns):
    folder = home.landing / kind / f"day={FIRST + timedelta(days=arrival)}"
    folder.mkdir(parents=True, exist_ok=True)
    rows = {"user_id": "u", "item_id": "a", "ts": [f"2026-01-{moment:02}T10:00:00Z" for moment in moments], **columns}
    pl.DataFrame(rows).write_parquet(folder / f"{name}.parquet")


def test_new_days_run_once_in_one_run_with_the_empty_ones_between(home, tick):
    for day in (0, 1, 3):
        land(home, day, day + 1)
    assert [request[:2] for request in tick()] == [("01", "04")]
    assert tick() == "no landing file is new or changed"


def test_a_new_day_comes_with_those_whose_windows_were_open(home, tick):
    for day in range(4):
        land(home, day, day + 1)
    tick()
    land(home, 4, 5)
    assert [request[:2] for request in tick()] == [("03", "05")]


def test_days_apart_are_runs_apart(home, tick):
    for day in range(5):
        land(home, day, day + 1)
    tick()
    land(home, 4, 1, name="late")
    land(home, 4, 3, name="later")
    assert [request[:2] for request in tick()] == [("01", "01"), ("03", "03")]


def test_a_late_row_asks_for_its_own_day_again_under_another_key(home, tick):
    for day in range(3):
        land(home, day, day + 1)
    ((_, _, first_key),) = tick()
    land(home, 2, 2, 3, name="late")
    ((start, end, key),) = tick()
    assert (start, end) == ("02", "03")
    assert key != first_key


def test_a_touched_file_with_the_same_content_asks_for_nothing(home, tick):
    land(home, 0, 1)
    tick()
    path = next((home.landing / "events").rglob("*.parquet"))
    os.utime(path, ns=(1, 1))
    assert tick() == []
    assert tick() == "no landing file is new or changed"


def test_the_same_state_has_the_same_run_key_without_the_cursor(home, tick, instance):
    land(home, 0, 1)
    (first,) = tick()
    import alignrec_assets.automation.landing_sensor as module

    with dg.build_sensor_context(instance, resources={"home": HomeResource(database=str(home.warehouse))}) as context:
        (again,) = module.landing_sensor(context).run_requests
    assert again.run_key == first[2]


def test_days_that_come_back_to_an_earlier_state_run_again(home, tick):
    land(home, 0, 1)
    path = next((home.landing / "events").rglob("*.parquet"))
    good = path.read_bytes()
    keys = []
    for content in (good, good[:-50], good, good[:-50], good):
        path.write_bytes(content)
        ((_, _, key),) = tick()
        keys.append(key)
    assert len(set(keys)) == len(keys)


def test_a_changed_catalogue_asks_for_the_last_day(home, tick):
    land(home, 0, 1)
    land(home, 1, 2)
    tick()
    pl.DataFrame({"item_id": ["b"], "title": ["piano"]}).write_parquet(home.landing / "items" / "more.parquet")
    assert [request[:2] for request in tick()] == [("02", "02")]


def test_a_file_that_cannot_be_read_asks_for_its_day_until_it_is_mended(home, tick):
    for day in range(5):
        land(home, day, day + 1)
    tick()
    path = home.landing / "events" / f"day={FIRST + timedelta(days=1)}" / "part-0.parquet"
    good = path.read_bytes()
    path.write_bytes(good[:-50])
    ((start, end, broken_key),) = tick()
    assert (start, end) == ("02", "02")
    land(home, 3, 4, name="late")
    assert [request[:2] for request in tick()] == [("04", "04")]
    path.write_bytes(good)
    ((start, end, mended_key),) = tick()
    assert (start, end) == ("02", "02")
    assert mended_key != broken_key


def test_a_busy_warehouse_is_left_to_the_next_tick(home, tick, monkeypatch):
    import fcntl

    import alignrec_assets.automation.landing_sensor as module

    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)
    land(home, 0, 1)
    descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert "the next tick looks again" in tick()
    os.close(descriptor)
    assert len(tick()) == 1


def lose(instance, **tags):
    """A run of the sensor whose process is gone, as after a power cut."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    range_ = {"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "2026-01-02"}
    run = dg.DagsterRun(
        job_name="days",
        run_id=make_new_run_id(),
        status=dg.DagsterRunStatus.STARTED,
        tags={"alignrec/reason": "landing files", **range_, **tags},
    )
    instance.add_run(run)
    instance.report_engine_event("begun", run, EngineEventData(metadata={"pid": str(gone.pid)}))
    return run


def test_a_run_that_lost_its_process_is_asked_for_again_once(home, tick, instance):
    land(home, 0, 1)
    tick()
    lost = lose(instance)
    ((again,), (later,)) = tick(), tick()
    assert instance.get_run_by_id(lost.run_id).status == dg.DagsterRunStatus.FAILURE
    assert again.run_key == later.run_key == f"after {lost.run_id}"  # Dagster makes one run of it
    assert again.tags["dagster/asset_partition_range_end"] == "2026-01-02"
    lost_again = lose(instance, **{"alignrec/attempt": again.tags["alignrec/attempt"]})
    assert [request.run_key for request in tick()] == [f"after {lost_again.run_id}", f"after {lost.run_id}"]
    lose(instance, **{"alignrec/attempt": "3"})
    assert len(tick()) == 2


def test_a_run_that_failed_with_its_process_alive_is_not(home, tick, instance):
    land(home, 0, 1)
    tick()
    instance.report_run_failed(lose(instance), "a step failed")
    assert tick() == "no landing file is new or changed"


def test_the_cursor_of_a_year_is_small(home, instance, monkeypatch):
    import alignrec_assets.automation.landing_sensor as module

    first = FIRST - timedelta(days=364)
    update_settings_file(home, {"calendar": {"first_day": first, "last_day": FIRST}})
    land(home, 0, 1)
    with dg.build_sensor_context(instance, resources={"home": HomeResource(database=str(home.warehouse))}) as context:
        cursor = module.landing_sensor(context).cursor
    assert len(json.loads(cursor)["days"]) == 365
    assert len(cursor) < 12_000


def test_the_sensor_is_off_until_it_is_switched_on(home):
    from alignrec_assets.definitions import build_definitions

    sensor = build_definitions(home).resolve_sensor_def("landing_files")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
