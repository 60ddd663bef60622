"""The code location: built for a home, so that importing it asks nothing of the environment."""

import subprocess
import sys

import dagster as dg
import pytest
from support.line import environment

from alignrec_assets.definitions import build_definitions
from alignrec_assets.home import Home, HomeError
from alignrec_assets.settings.sources import update_settings_file


def test_importing_the_code_location_reads_no_home(tmp_path):
    (tmp_path / "settings.toml").write_text("no toml")
    code = "import alignrec_assets.definitions, alignrec_assets.commands.run, sys; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_two_homes_have_calendars_of_their_own(tmp_path):
    days = []
    for name, last in (("one", "2026-01-02"), ("two", "2026-01-04")):
        home = Home(tmp_path / name)
        update_settings_file(home, {"calendar": {"first_day": "2026-01-01", "last_day": last}})
        graph = build_definitions(home).resolve_asset_graph()
        days.append(graph.get(dg.AssetKey(["raw", "events"])).partitions_def.get_partition_keys())
    assert days == [["2026-01-01", "2026-01-02"], ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]]


def test_the_home_is_the_one_of_the_environment_or_that_of_the_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALIGNREC_HOME", raising=False)
    assert Home.from_environment("study").path == tmp_path / ".alignrec" / "study"
    monkeypatch.setenv("ALIGNREC_HOME", str(tmp_path / "named"))
    assert Home.from_environment("study").path == tmp_path / "named"


def test_a_newer_home_is_refused(tmp_path):
    (tmp_path / "format.json").write_text('{"format_version": 99}')
    with pytest.raises(HomeError, match="format 99"):
        Home(tmp_path).check()
