"""``alignrec simulate`` on real homes: what it writes, that it repeats byte for byte, and that worlds do not mix."""

import hashlib
import json
import tomllib
from datetime import date, timedelta

import matplotlib.image
import polars as pl
import pytest
from support.line import command

from alignrec_assets.commands.simulate import MARKER, OtherSimulationError, Simulation
from alignrec_assets.home import Home
from models.arena.predictors import PREDICTORS
from models.arena.responses import SIGNALS
from models.arena.world import World, WorldOptions

FIRST_DAY = date(2026, 3, 2)
DAYS = 4
OPTIONS = WorldOptions(FIRST_DAY, users=120, items=60, random_shelf=1, seed=5)
ARGUMENTS = ("--users", 120, "--items", 60, "--days", DAYS, "--seed", 5, "--first-day", FIRST_DAY)


class KilledError(Exception):
    """Stands for whatever ends a process in the middle."""


def landing_hashes(home):
    files = sorted(path for path in home.landing.rglob("*") if path.is_file())
    return {str(path.relative_to(home.landing)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def write_quietly(home, options=OPTIONS, watch=None):
    home.create()
    Simulation(home, options, DAYS, DAYS).write_quiet_days(World(options), lambda line: None, watch)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A home filled by the command, and what the command printed."""
    home = Home(tmp_path_factory.mktemp("simulated") / "home")
    return home, command(home.path, "alignrec", "simulate", *ARGUMENTS, "--home", home.path)


def test_the_landing_files_of_every_day_are_there(simulated):
    home, _ = simulated
    days = [FIRST_DAY + timedelta(days=number) for number in range(DAYS)]
    for kind in ("events", "feedback", "outcomes"):
        assert sorted(path.name for path in (home.landing / kind).iterdir()) == [f"day={day}" for day in days]
        for day in days:
            frame = pl.read_parquet(home.landing / kind / f"day={day}" / "part-0.parquet", hive_partitioning=False)
            assert set(frame["ts"].dt.date()) == {day}
    items = pl.concat([pl.read_parquet(path) for path in sorted((home.landing / "items").iterdir())])
    assert items["item_id"].to_list() == [f"i{number:07d}" for number in range(items.height)]
    assert items.height >= 60
    marker = json.loads((home.landing / MARKER).read_text(encoding="utf-8"))
    assert marker["days_written"] == DAYS
    assert marker["world"] | {"users": 120, "seed": 5, "first_day": str(FIRST_DAY)} == marker["world"]


def test_the_calendar_of_the_home_is_that_of_the_world(simulated):
    home, _ = simulated
    calendar = tomllib.loads(home.settings.read_text(encoding="utf-8"))["calendar"]
    assert calendar == {"first_day": FIRST_DAY, "last_day": FIRST_DAY + timedelta(days=DAYS - 1)}


def test_the_report_has_the_figures_of_the_landing_files(simulated):
    home, done = simulated
    report = json.loads((home.reports / "world.json").read_text(encoding="utf-8"))
    figures = report["figures"]
    assert set(figures) == {
        "users", "items", "plays", "exposures", "exposure_positive_rate", "favourite_share_first",
        "favourite_share_last", "plays_of_top_fifth", "adjusted_rand_index", "rate_random", "rate_oracle", "seconds",
        "peak_gb",
        *(f"{signal}_rate" for signal in SIGNALS),
        *(f"explained_{name}" for name in PREDICTORS),
    }  # fmt: skip
    rows = {
        kind: pl.read_parquet(home.landing / kind, hive_partitioning=False).height
        for kind in ("events", "feedback", "outcomes", "items")
    }
    assert figures["users"] == 120
    assert figures["items"] == rows["items"]
    assert figures["exposures"] == rows["feedback"]
    assert figures["plays"] == rows["events"] - rows["outcomes"]
    assert figures["explained_oracle"] == 1
    assert figures["explained_random"] == 0
    assert {name: len(series) for name, series in report["days"].items()} == dict.fromkeys(
        ("visitors", "plays", "favourite_share", "positive_rate"), DAYS
    )
    assert report["seed"] == report["settings"]["seed"] == 5
    assert report["command"].startswith("alignrec simulate")
    assert f"WORLD of 120 users and {rows['items']} items: {figures['plays']:,} organic plays" in done.stdout
    assert f"alignrec run --home {home.path}" in done.stdout


def test_the_picture_is_a_png_of_sensible_size(simulated):
    home, _ = simulated
    path = home.reports / "world.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    height, width = matplotlib.image.imread(path).shape[:2]
    assert (width, height) == (1300, 800)
    assert 30_000 < path.stat().st_size < 1_000_000


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(simulated, tmp_path):
    home, _ = simulated
    same, other = Home(tmp_path / "same"), Home(tmp_path / "other")
    write_quietly(same)
    assert landing_hashes(same) == landing_hashes(home)
    write_quietly(other, WorldOptions(FIRST_DAY, users=120, items=60, random_shelf=1, seed=6))
    here, there = landing_hashes(home), landing_hashes(other)
    assert len(here) > 3 * DAYS
    assert all(here[name] != there[name] for name in here.keys() & there.keys())


def test_a_simulation_that_was_killed_is_taken_up_by_the_same_command(simulated, tmp_path):
    home, _ = simulated
    killed = Home(tmp_path / "killed")
    seen = []

    def watch(traffic):
        seen.append(traffic)
        if len(seen) == 3:
            raise KilledError

    with pytest.raises(KilledError):
        write_quietly(killed, watch=watch)
    found = Simulation(killed, OPTIONS, DAYS, DAYS)
    assert found.progress["days_written"] == 2  # the third day's files are there, but nothing vouches for them
    assert not found.quiet_finished
    (killed.landing / "events" / f"day={FIRST_DAY + timedelta(days=2)}" / "part-0.parquet").write_bytes(b"half a file")
    command(killed.path, "alignrec", "simulate", *ARGUMENTS, "--home", killed.path)
    assert landing_hashes(killed) == landing_hashes(home)
    assert found.quiet_finished
    one, other = (json.loads((one.reports / "world.json").read_text("utf-8")) for one in (home, killed))
    for name in ("seconds", "peak_gb"):
        del one["figures"][name], other["figures"][name]
    assert one["figures"] == other["figures"]
    assert one["days"] == other["days"]


def test_days_written_never_go_back(tmp_path):
    home, written = Home(tmp_path / "home"), []
    write_quietly(home)
    simulation = Simulation(home, OPTIONS, DAYS, DAYS)
    simulation.write_quiet_days(
        World(OPTIONS), lambda line: None, lambda traffic: written.append(simulation.progress["days_written"])
    )
    assert written == [DAYS] * DAYS
    assert simulation.finished


@pytest.mark.parametrize(
    "change", [{"seed": 6}, {"users": 121}, {"mix": 0.4}, {"topics": 48}, {"first_day": FIRST_DAY + timedelta(days=1)}]
)
def test_another_worlds_options_are_refused_in_the_same_home(simulated, change):
    home, _ = simulated
    before = landing_hashes(home)
    options = WorldOptions(**{"first_day": FIRST_DAY, "users": 120, "items": 60, "random_shelf": 1, "seed": 5} | change)
    with pytest.raises(
        OtherSimulationError, match=r"another simulated world.*use another home \(ALIGNREC_HOME\), or delete"
    ):
        Simulation(home, options, DAYS, DAYS)
    assert landing_hashes(home) == before


def test_other_days_are_refused_in_the_same_home(simulated):
    with pytest.raises(OtherSimulationError):
        Simulation(simulated[0], OPTIONS, DAYS + 1, DAYS + 1)


def test_the_command_names_the_mend_and_leaves_the_home_as_it_was(simulated):
    home, _ = simulated
    before = landing_hashes(home), home.settings.read_bytes()
    done = command(home.path, "alignrec", "simulate", *ARGUMENTS[:-4], "--seed", 9, "--home", home.path, check=False)
    assert done.returncode == 1
    assert "another simulated world" in done.stderr
    assert f"use another home (ALIGNREC_HOME), or delete {home.path}" in done.stderr
    assert "Traceback" not in done.stderr
    assert (landing_hashes(home), home.settings.read_bytes()) == before


def test_options_out_of_range_are_refused_before_anything_is_written(tmp_path):
    home = tmp_path / "home"
    done = command(tmp_path, "alignrec", "simulate", "--topics", 25, "--home", home, check=False)
    assert done.returncode == 1
    assert "24, 48, 64, 96" in done.stderr
    assert not home.exists()


def test_a_home_with_logs_that_no_simulation_wrote_is_refused(tmp_path):
    home = Home(tmp_path / "home")
    home.create()
    folder = home.landing / "events" / "day=2026-03-02"
    folder.mkdir(parents=True)
    (folder / "real.csv").write_text("user_id,item_id,ts\n", encoding="utf-8")
    with pytest.raises(OtherSimulationError, match="logs that no simulation wrote"):
        Simulation(home, OPTIONS, DAYS, DAYS)
