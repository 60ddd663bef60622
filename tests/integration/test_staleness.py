"""What the UI marks as stale when settings, code or data changed, and what it leaves alone."""

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from support.line import DAYS, FIRST_DAY, command, environment

from alignrec_assets.asset_settings import ASSET_SETTINGS
from alignrec_assets.home import Home

DRIVER = Path(__file__).parents[1] / "support" / "staleness.py"
ALL_DAYS = [str(FIRST_DAY + timedelta(days=number)) for number in range(DAYS)]
LATE = ALL_DAYS[1]


@pytest.fixture
def home(line_home, tmp_path):
    shutil.copytree(line_home.path, tmp_path / "home", symlinks=True)
    return Home(tmp_path / "home")


def stale(home, **variables):
    done = subprocess.run(
        [sys.executable, str(DRIVER)],
        env=environment(home.path, **variables),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def materialize(home, asset, *days):
    span = ("--partition", days[0]) if len(days) == 1 else ("--partition-range", f"{days[0]}...{days[-1]}")
    module = ("-m", "alignrec_assets.definitions")
    command(home.path, "dagster", "asset", "materialize", *module, "--select", f'key:"{asset}"', *span)


def test_after_the_line_has_run_nothing_is_stale(home):
    assert stale(home) == {}


def test_a_changed_setting_marks_what_depends_on_it_and_no_other(home):
    marked = stale(home, ALIGNREC_CANDIDATES__TEMPERATURE="1.2")
    assert marked == {"candidates/pools": [""]}
    reading = {asset.replace(".", "/") for asset, names in ASSET_SETTINGS.items() if "feedback" in names}
    marked = stale(home, ALIGNREC_FEEDBACK__INTERVAL="0.02")
    made = reading | {"alignment_search"}
    assert set(marked) <= made
    assert {"feedback/transition_scores", "training/pointwise_examples"} <= set(marked)
    assert marked["feedback/transition_scores"] == ALL_DAYS


def test_a_day_that_changed_marks_that_day_of_its_readers_until_they_are_made_anew(home):
    for asset in ("raw/events", "interests/user_cluster_days"):
        for day in ALL_DAYS:  # a version of its own for each day
            materialize(home, asset, day)
    for asset in ("interests/first_interactions", "feedback/transition_users", "training/novel_transitions"):
        materialize(home, asset, ALL_DAYS[0], ALL_DAYS[-1])
    assert "interests/user_cluster_days" not in stale(home)
    folder = home.landing / "events" / f"day={LATE}"
    item = pl.read_parquet(folder / "part-0.parquet")["item_id"][0]
    late = {"user_id": ["somebody"], "item_id": [item], "ts": [f"{LATE}T23:00:00Z"], "positive": [True]}
    pl.DataFrame(late).write_parquet(folder / "late.parquet")
    materialize(home, "raw/events", LATE)
    assert stale(home)["interests/user_cluster_days"] == [LATE]
    materialize(home, "interests/user_cluster_days", LATE)
    assert "interests/user_cluster_days" not in stale(home)


def test_a_day_that_is_made_again_from_the_same_marks_nothing(home):
    materialize(home, "raw/events", ALL_DAYS[0], ALL_DAYS[-1])
    assert stale(home) == {}
