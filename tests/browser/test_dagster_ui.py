"""A browser on `make ui`: what a user sees and switches, on a real home.

With SCREENSHOTS_OF=<home> (`make screenshots`) the same steps run on a copy of that home, and the pictures in docs/ui
are taken there.
"""

import os
import shutil
from datetime import timedelta

import polars as pl
import pytest
from dagster import RunsFilter
from playwright.sync_api import expect, sync_playwright
from support.dagster_ui import CHROMIUM, ROOT, RUN_LINK, RUN_SECONDS, SCREEN, DagsterUi, make_ui
from support.line import FIRST_DAY, simulate

from alignrec_assets.assets.pictures import DIALOG_WIDTH
from alignrec_assets.home import Home
from alignrec_assets.instance.dagster_home import open_instance
from alignrec_assets.settings.sources import load_settings, update_settings_file
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.rows import table_frame

WEEK = 7
SHOWN_HOME = os.environ.get("SCREENSHOTS_OF")


@pytest.fixture(scope="module")
def chromium():
    if not CHROMIUM.exists():
        message = f"{CHROMIUM} is missing: apt-get install chromium"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_model_folder):
    """A week of landing files, and one more day in the calendar without any; nothing has run."""
    home = Home(tmp_path_factory.mktemp("ui") / "home")
    if SHOWN_HOME:
        shutil.copytree(SHOWN_HOME, home.path, symlinks=True)
    else:
        simulate(home, tiny_model_folder, days=WEEK)
        update_settings_file(home, {"calendar": {"first_day": FIRST_DAY, "last_day": FIRST_DAY + timedelta(days=WEEK)}})
    return home


@pytest.fixture(scope="module")
def served(home):
    with make_ui(home) as served:
        yield served


@pytest.fixture(scope="module")
def ui(chromium, served, tmp_path_factory):
    screenshots = ROOT / "docs" / "ui" if SHOWN_HOME else tmp_path_factory.mktemp("screenshots")
    screenshots.mkdir(parents=True, exist_ok=True)
    return DagsterUi(chromium.new_page(viewport=SCREEN), served[0], screenshots)


def drop_landing_file(home):
    """Events of the calendar's last day: those of the day before, a day later."""
    last = load_settings(home).calendar.last_day
    before = home.landing / "events" / f"day={last - timedelta(days=1)}"
    events = pl.read_parquet(before / "*.parquet").with_columns(pl.col("ts").dt.offset_by("1d"))
    folder = home.landing / "events" / f"day={last}"
    folder.mkdir(exist_ok=True)
    events.write_parquet(folder / "dropped.parquet")
    return last, events.height


def rows_of(home, table, day):
    with Warehouse(home).reading() as connection:
        return table_frame(connection, table).filter(pl.col("day") == day).height


def test_what_make_ui_says_first(ui, served):
    said = served[1].read_text()
    assert "dagster sensor start landing_files" in said
    assert "no login" in said


def test_a_day_is_run_and_a_dropped_landing_file_runs_by_itself(ui, home):
    ui.arrange_graph()
    for asset in ("raw/events", "interests/clusters", "publication/transition_table"):
        expect(ui.page.get_by_text(asset.split("/")[1], exact=True).first).to_be_visible()
    calendar = load_settings(home).calendar

    run = ui.launch_days(str(calendar.first_day), "Launch 1 run")
    ui.await_run(run)
    ui.screenshot("run")
    assert rows_of(home, "interests.user_cluster_days", calendar.first_day) > 0
    ui.open_graph()
    ui.screenshot("graph")

    ui.open_sensor("landing_files")
    ui.switch_on()
    last, dropped = drop_landing_file(home)
    ui.open_day("interests/user_cluster_days", calendar.first_day)
    expect(ui.page.get_by_role("row", name="cluster_id interests.item_clusters.cluster_id", exact=True)).to_be_visible()
    ui.screenshot("column_lineage")
    picture = ui.open_picture("interests/clusters")
    assert picture.evaluate("image => image.complete && image.naturalWidth") == DIALOG_WIDTH
    assert picture.bounding_box()["width"] > 700
    ui.screenshot("picture")

    ui.open_sensor("landing_files")
    ui.page.locator(RUN_LINK).first.wait_for(timeout=RUN_SECONDS * 1000)
    ui.await_run(ui.page.locator(RUN_LINK).first.get_attribute("href"))
    expect(ui.page.get_by_text(str(last)).filter(visible=True).first).to_be_visible()
    ui.open_sensor("landing_files")
    ui.screenshot("sensor")
    ui.open_day("raw/events", last)
    assert rows_of(home, "raw.events", last) >= dropped


@pytest.mark.full
def test_a_backfill_over_a_week(ui, home):
    first = load_settings(home).calendar.first_day
    days = [first + timedelta(days=number) for number in range(WEEK)]
    backfill = ui.launch_days(f"[{days[0]}...{days[-1]}]", "Launch backfill")
    ui.await_backfill(backfill)
    ui.screenshot("backfill")
    number = backfill.rpartition("/")[2].partition("?")[0]
    with open_instance(home) as instance:
        runs = instance.get_runs(RunsFilter(tags={"dagster/backfill": number}))
    (run,) = runs
    assert run.is_success, run.tags
    span = [run.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")]
    assert span == [str(days[0]), str(days[-1])]
    assert all(rows_of(home, "interests.user_cluster_days", day) for day in days)
