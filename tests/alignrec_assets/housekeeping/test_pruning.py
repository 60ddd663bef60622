"""What goes from a home is decided by its own records; the line itself: tests/integration/test_housekeeping.py."""

import os

import polars as pl
import pytest

from alignrec_assets.home import Home
from alignrec_assets.housekeeping.pruning import plan_pruning, prune
from alignrec_assets.settings.sources import update_settings_file
from models.files import new_folder, remove_folder
from models.serving.transition_table import current_version, make_current, publish

CLUSTERS = pl.DataFrame({"cluster_id": [0, 1, 2, 3], "label": list("abcd"), "readable": True})


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    found = Home(tmp_path / "home")
    found.create()
    return found


def publish_one(home, number):
    rows = pl.DataFrame(
        {"history": [[0, 1]], "rank": 1, "cluster_id": 2, "novelty_probability": 0.1 * number, "propensity": 1.0},
        schema_overrides={"history": pl.List(pl.Int32), "rank": pl.Int32, "cluster_id": pl.Int32},
    ).with_columns(pl.lit(None, dtype=pl.Float64).alias("alignment_score"))
    before = current_version(home.published) if number > 1 else None
    manifest = {"made_at": f"2026-01-0{number}T00:00:00+00:00", "replaces": before, "history_clusters": 2}
    models = {"taxonomy": "t", "novelty_model": f"n{number}", "alignment_model": None}
    return publish(home.published, rows, CLUSTERS, manifest | models)


def going(home):
    return {piece.name for piece in plan_pruning(home, print).pieces}


def test_the_current_version_and_what_it_replaced_come_before_newer_ones(home):
    versions = [publish_one(home, number) for number in (1, 2, 3, 4, 5)]
    first, second, third, fourth, fifth = (f"published/{version}" for version in versions)
    update_settings_file(home, {"housekeeping": {"published_versions": 2}})
    assert going(home) == {first, second, third}
    make_current(home.published, versions[1])  # rolled back: second, and first before it
    assert going(home) == {third, fourth, fifth}
    update_settings_file(home, {"housekeeping": {"published_versions": 3}})
    found = plan_pruning(home, print)
    assert {piece.name for piece in found.pieces} == {third, fourth}  # there is room for the newest too
    sizes = [sum(file.stat().st_size for file in (home.path / piece.name).iterdir()) for piece in found.pieces]
    assert [piece.bytes for piece in found.pieces] == sizes
    prune(home, found)
    assert {path.name for path in home.published.glob("[0-9a-f]*")} == {versions[0], versions[1], versions[4]}
    assert going(home) == set()


def test_a_removal_that_is_cut_off_leaves_nothing_half_deleted_under_the_name(home, monkeypatch):
    folder = home.checkpoints / "pools" / "v"
    with new_folder(folder) as partial:
        (partial / "weights").write_bytes(b"x" * 1000)
    with monkeypatch.context() as cut_off:
        cut_off.setattr("shutil.rmtree", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            remove_folder(folder)
    assert not folder.exists()
    (rest,) = folder.parent.iterdir()
    assert going(home) == set()  # this process lives
    dead = rest.with_name(rest.name.replace(str(os.getpid()), "999999999"))
    rest.rename(dead)
    (piece,) = plan_pruning(home, print).pieces
    assert (piece.name, piece.bytes) == (f"checkpoints/pools/{dead.name}", 1000)
    prune(home, plan_pruning(home, print))
    assert not list(folder.parent.iterdir())


@pytest.mark.parametrize("written", ["{}/\n", "0123456789abcdef\n", "", "../{}\n"])
def test_nothing_is_pruned_while_current_names_no_version(home, written, comes_out):
    versions = [publish_one(home, number) for number in (1, 2, 3)]
    update_settings_file(home, {"housekeeping": {"published_versions": 1}})
    (home.published / "CURRENT").write_text(written.format(versions[2]))
    with pytest.raises(ValueError, match="alignrec rollback VERSION"):
        plan_pruning(home, print)
    assert {path.name for path in home.published.glob("[0-9a-f]*")} == set(versions)
    comes_out("names", f"prune, while CURRENT holds {written.format('VERSION')!r}", "refused, and nothing is deleted")
    make_current(home.published, versions[2])
    assert going(home) == {f"published/{version}" for version in versions[:2]}
