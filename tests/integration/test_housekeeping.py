"""Housekeeping on a home that the line has run on: what goes, what stays, and that the line is none the worse."""

import json
import os
import shutil
import sqlite3
import time
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from support.line import FIRST_DAY, LAST_DAY, command, launch

from alignrec_assets.home import Home
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.rows import table_frame
from alignrec_assets.warehouse.tables import KEPT_PAST, TABLES
from models.serving.transition_table import TransitionTable

BOOKKEEPING = {"registry.fingerprints", "registry.checkpoints", "publication.versions", "raw.landing_files", KEPT_PAST}
DAYS = launch("tag:selection=days", FIRST_DAY, LAST_DAY)
FIRST_INTERACTIONS = launch('key:"interests/first_interactions"', FIRST_DAY, LAST_DAY)
RAW_EVENTS = 'key:"raw/items" or key:"raw/events"'
THIRD_DAY = FIRST_DAY + timedelta(days=2)
KEEP_TWO_DAYS = {"ALIGNREC_HOUSEKEEPING__RAW_DAYS": "2"}


def contents(home):
    """Every table's rows as comparable text, in no order."""
    with Warehouse(home).reading() as connection:
        frames = {name: table_frame(connection, name) for name in TABLES if name not in BOOKKEEPING}
    return {name: sorted(map(repr, frame.rows())) for name, frame in frames.items()}


def frame(home, table):
    with Warehouse(home).reading() as connection:
        return table_frame(connection, table)


def files(home):
    return {
        path: path.stat().st_size for path in home.path.rglob("*") if path.is_file() and "dagster" not in path.parts
    }


@pytest.mark.full
def test_raw_days_go_nothing_is_stale_and_they_come_back_where_they_are_needed(copied_home):
    before, size, stood = contents(copied_home), copied_home.warehouse.stat().st_size, files(copied_home)
    old = frame(copied_home, "raw.events").filter(pl.col("day") < THIRD_DAY)
    shown = command(copied_home.path, "alignrec", "prune", "--dry-run", **KEEP_TWO_DAYS).stdout
    assert f"raw.events, 2 days from {FIRST_DAY} to {FIRST_DAY + timedelta(days=1)}, {old.height:,} rows" in shown
    assert files(copied_home) == stood
    assert contents(copied_home) == before

    done = command(copied_home.path, "alignrec", "prune", **KEEP_TWO_DAYS).stdout
    assert done.replace("all of it is gone", "") == shown.replace("dry run: nothing was changed", "")
    assert copied_home.warehouse.stat().st_size < size
    after = contents(copied_home)
    assert {name for name in after if after[name] != before[name]} == {"raw.events", "raw.pruned_items"}
    assert frame(copied_home, "raw.events")["day"].min() == THIRD_DAY
    assert "0 pieces" in command(copied_home.path, "alignrec", "prune", **KEEP_TWO_DAYS).stdout

    command(copied_home.path, *DAYS)
    assert contents(copied_home) == after  # pruned days are neither stale nor empty

    with Warehouse(copied_home).writing() as connection:
        connection.execute("DELETE FROM registry.fingerprints WHERE asset = 'interests.first_interactions'")
    command(copied_home.path, *DAYS)
    assert contents(copied_home) == before


@pytest.mark.full
def test_a_pruned_day_is_read_again_when_its_catalogue_changes(copied_home):
    command(copied_home.path, "alignrec", "prune", **KEEP_TWO_DAYS)
    pruned = frame(copied_home, "raw.pruned_items")
    first, second = (pruned.filter(pl.col("day") == day)["item_id"] for day in sorted(pruned["day"].unique()))
    alone = sorted(set(first) - set(second))[0]
    items = frame(copied_home, "raw.items").filter(pl.col("item_id") == alone)
    changed = items.with_columns(pl.col("duration_s") * 1000, pl.lit(LAST_DAY).cast(pl.Datetime).alias("updated_at"))
    changed.write_parquet(copied_home.landing / "items" / "changed.parquet")
    command(copied_home.path, *[part.replace("tag:selection=days", RAW_EVENTS) for part in DAYS])
    days = frame(copied_home, "raw.events")["day"].unique()
    assert FIRST_DAY in days
    assert FIRST_DAY + timedelta(days=1) not in days


@pytest.mark.full
def test_a_damaged_file_behind_pruned_days_holds_back_those_that_look_at_it(copied_home):
    command(copied_home.path, "alignrec", "prune", ALIGNREC_HOUSEKEEPING__RAW_DAYS="1")
    before = frame(copied_home, "interests.first_interactions")
    with Warehouse(copied_home).writing() as connection:
        connection.execute("DELETE FROM registry.fingerprints WHERE asset = 'interests.first_interactions'")
        connection.execute("DELETE FROM interests.first_interactions")
    damaged = LAST_DAY - timedelta(days=1)
    path = copied_home.landing / "feedback" / f"day={damaged}" / "part-0.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    failed = command(copied_home.path, *FIRST_INTERACTIONS, check=False)
    assert failed.returncode != 0
    assert "days of interests.first_interactions cannot be made and stay as they were" in failed.stderr
    assert str(path) in failed.stderr
    made = frame(copied_home, "interests.first_interactions")
    assert set(made["day"]) == {FIRST_DAY, FIRST_DAY + timedelta(days=1)}
    assert_frame_equal(made, before.filter(pl.col("day") < damaged), check_row_order=False)
    path.write_bytes(content)
    command(copied_home.path, *FIRST_INTERACTIONS)
    assert_frame_equal(frame(copied_home, "interests.first_interactions"), before, check_row_order=False)


def test_what_the_line_and_kept_versions_use_stays_and_the_rest_goes(copied_home):
    home = copied_home
    current = TransitionTable.open(home.published)
    old, other = "0" * 16, "1" * 16
    for model in ("taxonomy", "pools", "alignment_model"):
        (source,) = list((home.checkpoints / model).glob("[0-9a-f]*"))[:1]
        shutil.copytree(source, home.checkpoints / model / old)
        manifest = home.checkpoints / model / old / "manifest.json"
        text = manifest.read_text().replace(source.name, old)
        manifest.write_text(
            text.replace('"made_at": "20', '"made_at": "19').replace('"content_hash": "', '"content_hash": "x')
        )
    (home.checkpoints / "item_clusters" / old).mkdir()
    (home.checkpoints / "shards" / current.version).mkdir(parents=True)
    finished = next(path.name for path in (home.checkpoints / "pools").iterdir() if path.name != old)
    (home.checkpoints / "shards" / finished).mkdir()
    (home.checkpoints / "pools" / f".{other}.999999999.partial").mkdir()
    (home.checkpoints / "pools" / f".{other}.1.partial").mkdir()  # process 1 lives
    aged = home.checkpoints / "alignment_model" / f".{other}.unfinished"
    aged.write_bytes(b"weights")
    young = home.checkpoints / "alignment_model" / f".{old}2.unfinished"
    young.write_bytes(b"weights")
    month_ago = time.time() - 30 * 86400
    os.utime(aged, (month_ago, month_ago))
    search = home.checkpoints / "alignment_search"
    record = {"content_hash": "", "made_at": "2026-01-05T00:00:00+00:00", "figures": {}}
    for name, moment in ((old, month_ago), (other, time.time())):
        (search / f"{name}-001").mkdir(parents=True)
        for path in (search / f"{name}.journal", search / f"{name}-001" / "manifest.json"):
            path.write_text(json.dumps(record | {"version": f"{name}-001"}))
            os.utime(path, (moment, moment))
        os.utime(search / f"{name}-001", (moment, moment))
    before = contents(home)
    bounds = {
        "ALIGNREC_HOUSEKEEPING__CHECKPOINTS_PER_MODEL": "1",
        "ALIGNREC_HOUSEKEEPING__PUBLISHED_VERSIONS": "1",
    }
    shown = command(home.path, "alignrec", "prune", "--dry-run", **bounds).stdout
    command(home.path, "alignrec", "prune", **bounds)
    going = {
        home.published / current.manifest["replaces"],
        *(home.checkpoints / model / old for model in ("taxonomy", "pools", "alignment_model", "item_clusters")),
        home.checkpoints / "shards" / finished,
        home.checkpoints / "pools" / f".{other}.999999999.partial",
        aged,
        search / f"{old}.journal",
        search / f"{old}-001",
    }
    assert not [path for path in going if path.exists()]
    for path in going - {search / f"{old}.journal", search / f"{old}-001"}:
        assert str(path.relative_to(home.path)) in shown
    assert f"checkpoints/alignment_search/{old}" in shown
    staying = (
        home.checkpoints / "shards" / current.version,
        home.checkpoints / "pools" / f".{other}.1.partial",
        young,
        search / f"{other}-001",
    )
    assert all(path.exists() for path in staying)
    assert frame(home, "publication.versions")["version"].to_list() == [current.version]
    assert all((home.path / folder).exists() for folder in frame(home, "registry.checkpoints")["folder"])
    assert "skipped" in command(home.path, "alignrec", "run").stdout
    assert contents(home) == before
    assert TransitionTable.open(home.published).version == current.version


def test_the_scheduled_job_prunes_too_and_its_own_run_holds_nothing_back(copied_home):
    replaced = copied_home.published / TransitionTable.open(copied_home.published).manifest["replaces"]
    assert replaced.exists()
    job = ("dg", "launch", "-m", "alignrec_assets.definitions", "--job", "housekeeping")
    told = command(copied_home.path, *job, ALIGNREC_HOUSEKEEPING__PUBLISHED_VERSIONS="1").stderr
    assert not replaced.exists()
    assert f"published version published/{replaced.name}: " in told
    assert "under way" not in told


@pytest.mark.full
def test_finished_runs_go_but_for_those_that_made_what_stands(copied_home):
    command(copied_home.path, *DAYS)  # of six runs of the line before it, the two of the days are now outdone
    database = copied_home.dagster / "history" / "runs.db"
    with sqlite3.connect(database) as runs:
        runs.execute("UPDATE runs SET end_time = end_time - 100 * 86400")
        jobs = dict(runs.execute("SELECT run_id, pipeline_name FROM runs"))
    shown = command(copied_home.path, "alignrec", "prune").stdout
    with sqlite3.connect(database) as runs:
        left = {run for (run,) in runs.execute("SELECT run_id FROM runs")}
    gone = [jobs[run] for run in jobs if run not in left]
    assert sorted(gone) == ["days", "days", "learning", "publication"]
    assert "3 older runs stay" in shown
    events = {path.stem for path in Path(copied_home.dagster / "history" / "runs").glob("*.db")} - {"index"}
    assert events == left


@pytest.mark.full
def test_forgetting_a_user_leaves_the_line_as_if_the_user_had_never_been(copied_home, line_home, tmp_path):
    user = frame(copied_home, "training.novelty_examples")["user_id"].sort()[0]
    never = Home(tmp_path / "never")
    shutil.copytree(line_home.path, never.path)
    never.warehouse.unlink()
    for path in never.landing.rglob("events/*/*.parquet"):
        pl.read_parquet(path).filter(pl.col("user_id") != user).write_parquet(path)

    declined = command(copied_home.path, "alignrec", "forget", user, check=False)
    assert declined.returncode == 1
    assert user in set(frame(copied_home, "raw.events")["user_id"])
    said = command(copied_home.path, "alignrec", "forget", user, "--yes").stdout
    for table in ("raw.events", "interests.user_cluster_days", "interests.first_interactions"):
        assert table in said
        assert user not in set(frame(copied_home, table)["user_id"])
    (novelty,) = (copied_home.checkpoints / "novelty_model").glob("[0-9a-f]*")
    assert f"checkpoints/novelty_model/{novelty.name}: its training examples held rows of the user" in said
    for home in (copied_home, never):
        command(home.path, *DAYS)
    forgotten, expected = contents(copied_home), contents(never)
    daily = [name for name in expected if name.split(".")[0] in ("raw", "interests", "feedback")]
    assert {name: forgotten[name] for name in daily} == {name: expected[name] for name in daily}
    assert forgotten["training.novel_transitions"] == expected["training.novel_transitions"]
