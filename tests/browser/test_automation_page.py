"""The page Automation of a home that ran every day for two years, with sensors that looked all day."""

import statistics
import time
from datetime import UTC, datetime, timedelta

import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.utils import make_new_run_id
from playwright.sync_api import sync_playwright
from support.dagster_ui import CHROMIUM, ROOT, SCREEN, make_ui
from support.line import command

from alignrec_assets.home import Home
from alignrec_assets.instance.dagster_home import open_instance

DAYS = 730
SENSORS = {"landing_files": 60, "automation": 30}  # seconds from one look to the next
FOUND_SOMETHING = 6  # looks of a day that ask for a run
PAGE_SECONDS = 2.0
KINDS = {"skipped": TickStatus.SKIPPED, "success": TickStatus.SUCCESS}


def kept_days(instance: DagsterInstance) -> dict[str, int]:
    """How many days of ticks the instance keeps: what Dagster throws away at each look."""
    kept = instance.get_tick_retention_settings(InstigatorType.SENSOR)
    return {name: kept[status] for name, status in KINDS.items()}


def fill(instance: DagsterInstance) -> int:
    """The ticks that stand after two years, and a run for each day; returns how many ticks there are."""
    now, kept = time.time(), kept_days(instance)
    assert all(0 < days < 60 for days in kept.values())
    count, runs = 0, [make_new_run_id() for _ in range(DAYS)]
    for state in instance.all_instigator_state():
        every = SENSORS.get(state.instigator_name)
        if every is None:
            continue
        looks = [now - every * look for look in range(kept["skipped"] * 86_400 // every)]
        finds = [now - 86_400 / FOUND_SOMETHING * look for look in range(kept["success"] * FOUND_SOMETHING)]
        for status, moments in ((TickStatus.SKIPPED, looks), (TickStatus.SUCCESS, finds)):
            for moment in moments:
                instance.create_tick(
                    TickData(
                        instigator_origin_id=state.instigator_origin_id, instigator_name=state.instigator_name,
                        instigator_type=InstigatorType.SENSOR, status=status, timestamp=moment,
                        selector_id=state.selector_id,
                        run_ids=runs[:1] if status == TickStatus.SUCCESS else None,
                    )
                )  # fmt: skip
                count += 1
    for run in runs:
        instance.add_run(DagsterRun("days", run_id=run, status=DagsterRunStatus.SUCCESS))
    return count


@pytest.mark.full
def test_the_page_opens_in_two_seconds_after_two_years(tmp_path):
    home = Home(tmp_path / "home")
    home.create()
    first = datetime.now(UTC).date() - timedelta(days=DAYS)
    home.settings.write_text(f"[calendar]\nfirst_day = {first}\n", encoding="utf-8")  # an open log
    command(home.path, "alignrec", "prepare")
    for name in SENSORS:
        command(home.path, "dagster", "sensor", "start", name, "-w", ROOT / "workspace.yaml")
    with open_instance(home) as instance:
        ticks = fill(instance)
    assert ticks > 4000
    with make_ui(home) as (address, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SCREEN)
        seconds = []
        for _ in range(4):
            page.goto("about:blank")
            started = time.perf_counter()
            page.goto(f"{address}/automation")
            for name in SENSORS:
                page.get_by_role("link", name=name).first.wait_for()
            page.get_by_role("checkbox", checked=True).nth(len(SENSORS) - 1).wait_for(state="attached")
            seconds.append(time.perf_counter() - started)
        page.screenshot(path=tmp_path / "automation.png")
        browser.close()
    print(f"{ticks:,} ticks, page Automation: {', '.join(f'{each:.2f}' for each in seconds)} s")
    assert statistics.median(seconds[1:]) < PAGE_SECONDS
