"""`make ui` on a home, and its pages in a browser, as a user finds them."""

import io
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect
from support.line import BIN

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = Path("/usr/bin/chromium")
SCREEN = {"width": 1440, "height": 900}
LOADED_SECONDS = 60  # of a page, on a busy machine
RUN_SECONDS = 240
LARGEST_SCREENSHOT = 300_000
RUN_LINK = "a[href*='/runs/']"


@contextmanager
def make_ui(home):
    """`make ui` on a home, at a free port: its address and the file of its output. It ends with all its children."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("ALIGNREC_", "DAGSTER_", "MAKE"))}
    output = home.path / "ui.log"
    # The tests run in an environment that is set up; make would build one of its own beside them.
    make = ["make", "--assume-old=.venv/.ready", "ui", f"PORT={port}", f"BIN={BIN}"]
    with output.open("w") as log:
        process = subprocess.Popen(
            make,
            cwd=ROOT,
            env=clean | {"ALIGNREC_HOME": str(home.path), "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _await_server(address, process, output)
        yield address, output
    finally:
        _end(process)


def _await_server(address, process, output):
    deadline = time.monotonic() + LOADED_SECONDS * 2
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"{address}/server_info"):
            return
        time.sleep(0.3)
    raise AssertionError(f"`make ui` does not serve {address}:\n{output.read_text()}")


def _end(process):
    """The whole group: Dagster's own farewell waits for runs, and leaves code servers behind where it is killed."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class DagsterUi:
    """The pages of the UI that the line is run and watched from."""

    def __init__(self, page, address, screenshots):
        self.page = page
        self.address = address
        self.screenshots = screenshots
        page.set_default_timeout(LOADED_SECONDS * 1000)
        expect.set_options(timeout=LOADED_SECONDS * 1000)

    def open(self, path):
        self.page.goto(f"{self.address}{path}")

    def screenshot(self, name):
        """A picture of the window in 256 colours, once what moves in it has come to rest."""
        expect(self.page.get_by_text("Loading")).to_have_count(0)
        self.page.wait_for_timeout(1500)
        taken = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        path = self.screenshots / f"{name}.png"
        taken.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
        assert taken.size == (SCREEN["width"], SCREEN["height"])
        assert path.stat().st_size < LARGEST_SCREENSHOT

    def arrange_graph(self):
        """Every asset of every group, from top to bottom: so most names can be read. The browser remembers it."""
        self.open_graph()
        self.page.get_by_text("Hide navigation").click()
        for entry in ("vertical orientation", "Expand all groups"):
            self.page.mouse.click(SCREEN["width"] * 0.8, SCREEN["height"] * 0.9, button="right")
            self.page.get_by_role("menuitem").filter(has_text=entry).click()

    def open_graph(self):
        """The graph of all assets, fitted to the window."""
        self.open("/asset-groups")
        self.page.get_by_role("button", name="Materialize all").wait_for()
        self.page.wait_for_timeout(6000)  # the states of the assets come in by and by, without a sign of the last

    def launch_days(self, days, button):
        """Launch the job `days` for days written as in the UI; returns the path of the run or backfill."""
        self.open("/locations/alignrec/jobs/days")
        self.page.get_by_role("button", name="Materialize all").click()
        self.page.get_by_placeholder("ex: ").fill(days)
        self.page.keyboard.press("Tab")
        self.page.get_by_role("button", name=button, exact=True).click()
        return self.page.get_by_role("link", name="View", exact=True).get_attribute("href")

    def await_run(self, path):
        """Open a run and wait until it has succeeded."""
        self.open(path)
        ended = self.page.get_by_text(re.compile("^(Success|Failure|Canceled)$")).first
        ended.wait_for(timeout=RUN_SECONDS * 1000)
        expect(ended).to_have_text("Success")

    def await_backfill(self, path):
        """Open a backfill and wait until each of its days has ended."""
        self.open(path)
        self.page.get_by_text("100% completed").wait_for(timeout=RUN_SECONDS * 1000)

    def open_day(self, asset, day):
        """The page of one partition."""
        self.open(f"/assets/{asset}?view=partitions&partition={day}")
        self.page.get_by_text("dagster/partition_row_count").wait_for()

    def open_picture(self, asset):
        """Open the picture in the metadata of the latest materialization; returns the image."""
        self.open(f"/assets/{asset}?view=events")
        self.page.get_by_text("[Show Markdown]").first.click()
        image = self.page.locator("img[src^='data:image/png']")
        image.wait_for()
        return image

    def open_sensor(self, name):
        self.open("/automation")
        self.page.get_by_role("link", name=name).click()
        self.page.get_by_text("Preview tick result").wait_for()

    def switch_on(self):
        """Switch the sensor on whose page is open."""
        switch = self.page.get_by_role("checkbox").first
        expect(switch).not_to_be_checked()
        switch.press("Space")
        expect(switch).to_be_checked()
