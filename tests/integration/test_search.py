"""The search on a small home where the line has run: its trials in the registry, its winner in the reports."""

import json
import shutil
import tomllib

import polars as pl
import pytest
from support.line import command

from alignrec_assets.automation.selections import SELECTIONS
from alignrec_assets.definitions import build_definitions
from alignrec_assets.home import Home
from alignrec_assets.settings.sources import load_settings, update_settings_file
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.rows import table_frame

DEFINITIONS = build_definitions(Home.from_environment())


def trials_in_registry(home):
    with Warehouse(home).reading() as connection:
        rows = table_frame(connection, "registry.checkpoints")
    return rows.filter(pl.col("model") == "alignment_search").sort("version")


@pytest.fixture(scope="module")
def searched(line_home, tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("search") / "home")
    shutil.copytree(line_home.path, home.path, symlinks=True)
    update_settings_file(home, {"search": {"trials": 4}})
    return home, command(home.path, "alignrec", "search", OMP_NUM_THREADS="1").stdout


def test_each_trial_is_in_the_registry_and_three_have_weights(searched):
    home, _ = searched
    rows = trials_in_registry(home)
    assert rows.height == 4
    assert not rows["current"].any()
    kept = [json.loads(figures)["weights_kept"] for figures in rows["figures"]]
    assert sum(kept) == 3
    for folder, has_weights in zip(rows["folder"], kept, strict=True):
        assert (home.path / folder / "model" / "model.safetensors").exists() == has_weights


def test_the_report_tells_the_winner_its_figures_and_every_trial(searched):
    home, output = searched
    report = json.loads((home.reports / "alignment_search.json").read_text())
    assert {"name", "figures", "settings", "seed", "command", "made_at"} <= set(report)
    sound = [trial for trial in report["trials"] if not trial["failure"]]
    best = max(sound, key=lambda t: (t["figures"]["f1_at_k"], t["figures"]["ndcg_at_k"], -t["number"]))
    assert report["winner"] == best
    figures = report["figures"]
    assert figures["validation_f1_at_k"] == best["figures"]["f1_at_k"] >= figures["standing_validation_f1_at_k"]
    assert {"f1_at_k", "ndcg_at_k", "f1_at_k_random", "f1_at_k_prior"} <= set(figures)
    assert report["judged"] == [best["version"]]
    assert (home.reports / "alignment_search.png").read_bytes().startswith(b"\x89PNG")
    for line in report["settings_toml"].splitlines() if best["number"] > 1 else ():
        assert line in output


def test_the_first_trial_is_the_alignment_model_of_the_line(searched):
    home, _ = searched
    line = json.loads((home.reports / "alignment.json").read_text())
    first = json.loads((home.reports / "alignment_search.json").read_text())["trials"][0]
    for looks in (first["curve"], line["curve"]):
        for look in looks:
            look.pop("seconds")
    assert first["curve"] == line["curve"]


def test_the_lines_of_the_winner_are_settings(searched, tmp_path):
    home, _ = searched
    report = json.loads((home.reports / "alignment_search.json").read_text())
    fresh = Home(tmp_path)
    fresh.create()
    update_settings_file(fresh, tomllib.loads(report["settings_toml"]))
    settings, parameters = load_settings(fresh), report["winner"]["parameters"]
    assert settings.feedback.normalisation == parameters["normalisation"]
    for name in ("loss", "tune", "learning_rate", "epochs"):
        assert getattr(settings.alignment, name) == parameters[name]


def test_the_line_does_not_search():
    assert "alignment_search" in DEFINITIONS.resolve_job_def("search").graph.node_dict
    for name, _, _ in SELECTIONS:
        assert "alignment_search" not in DEFINITIONS.resolve_job_def(name).graph.node_dict
