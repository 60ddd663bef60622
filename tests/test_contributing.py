"""The recipes of docs/recipes.md, applied to a copy of the project and tried out there."""

import json
import os
import re
import shutil
import subprocess
import sys

import duckdb
import polars as pl
import pytest
from support.line import BIN, DAYS, command
from support.older_home import unpack
from support.recipes import PAGE, PROJECT, RecipeError, apply_block, read_recipes

from alignrec_assets.home import Home

RECIPES = read_recipes(PAGE.read_text(encoding="utf-8"))
COPIED = ("alignrec_assets", "models", "sql", "tests", "docs")
ENOUGH = 6  # novel transitions: one day of the older home has fewer


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with all recipes applied, sorted and formatted as they say."""
    root = tmp_path_factory.mktemp("contributing") / "project"
    for name in COPIED:
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.png", "*.xz"))
    for name in ("pyproject.toml", "dagster.yaml", "dagster-postgres.yaml"):
        shutil.copy(PROJECT / name, root)
    for recipe in RECIPES.values():
        for block in recipe.blocks:
            apply_block(block, root)
    ruff(root, "check", "--fix")
    return root


def ruff(root, *arguments):
    done = subprocess.run([BIN / "ruff", *arguments, "."], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def of_project(root, home, *arguments, **variables):
    """Run a command with the code of the copy."""
    return command(home, *arguments, PYTHONPATH=str(root), **variables)


@pytest.fixture(scope="module")
def line(project, tmp_path_factory):
    """A home on which the line has run with the code of the copy, the new engine and the new limit."""
    home = unpack(tmp_path_factory.mktemp("line_of_copy") / "home")
    variables = {"ALIGNREC_CANDIDATES__ENGINE": "uniform", "ALIGNREC_CHECKS__LEAST_TRANSITIONS": str(ENOUGH)}
    variables |= {"ALIGNREC_CANDIDATES__K": "2"}  # few impressions are final: 2k = 6 clusters are rare
    told = of_project(project, home.path, "alignrec", "run", **variables).stdout
    return home, told


def rows(home, query):
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        return connection.sql(query).fetchall()


def test_the_code_of_the_recipes_is_formatted_as_the_project_is(project):
    ruff(project, "format", "--check")


@pytest.mark.full
def test_the_tests_of_the_recipes_pass(project):
    blocks = [block for recipe in RECIPES.values() for block in recipe.blocks if block.path.startswith("tests/")]
    named = [f"{each.path}::{name}" for each in blocks for name in re.findall(r"^def (test_\w+)", each.code, re.M)]
    assert {block.recipe for block in blocks} == RECIPES.keys() - {"Add a setting"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *named],
        cwd=project, env=os.environ | {"PYTHONPATH": str(project)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(named)} passed" in done.stdout


def test_the_paths_that_the_recipes_name_exist(project):
    paths = re.findall(r"(?<![\w./])((?:alignrec_assets|models|sql|tests|docs)/[\w./]*\w)", PAGE.read_text("utf-8"))
    assert [path for path in paths if not (project / path).exists()] == []


def test_every_recipe_ends_with_tests_to_run():
    assert all(any(line.startswith(".venv/bin/pytest tests/") for line in each.commands) for each in RECIPES.values())


@pytest.mark.full
def test_the_new_table_is_made_by_the_line(line):
    home, told = line
    (said,) = (text for text in told.splitlines() if "feedback/cluster_counts" in text)
    assert f"rows in {DAYS} days" in said
    found = "SELECT day, cluster_id, impressions, positives FROM feedback.cluster_counts ORDER BY ALL"
    sums = """SELECT day, cluster_id, sum(impressions), sum(positives) FROM feedback.transition_counts
              GROUP BY day, cluster_id ORDER BY ALL"""
    assert rows(home, found) == rows(home, sums) != []


def test_the_new_table_is_on_the_page_of_tables(project, tmp_path):
    page = of_project(project, tmp_path, "alignrec", "tables").stdout
    _, _, part = page.partition("## feedback.cluster_counts\n")
    assert "Reads: `feedback.transition_counts` (the same day)." in part.partition("\n## ")[0]


def test_the_new_setting_is_on_the_page_of_settings_and_tells_its_origin(project, tmp_path):
    page = of_project(project, tmp_path, "alignrec", "settings", "--page").stdout
    assert "| checks.least_transitions | `1` | transitions | whole number, 0 or more | A day should have" in page
    told = of_project(project, tmp_path, "alignrec", "settings", ALIGNREC_CHECKS__LEAST_TRANSITIONS="7").stdout
    assert re.search(r"checks\.least_transitions +7 +environment ALIGNREC_CHECKS__LEAST_TRANSITIONS", told)


@pytest.mark.full
def test_the_new_check_names_the_days_with_too_few_transitions(line):
    home, told = line
    count = """SELECT partition, rows FROM registry.fingerprints
                WHERE asset = 'training.novel_transitions' ORDER BY ALL"""
    days = dict(rows(home, count))
    few = {day: number for day, number in days.items() if number < ENOUGH}
    assert 0 < len(few) < len(days)
    words = [f"{day}: {number} transitions, fewer than" for day, number in few.items()]
    assert all(each in told for each in words)
    assert len(re.findall(r"transitions, fewer than", told)) == len(few)


@pytest.mark.full
def test_the_new_engine_draws_labels_outside_the_history_alone(line):
    home, told = line
    assert "uniform engine" in told
    pools = rows(home, "SELECT history, cluster_id, novelty_probability FROM candidates.pools")
    labels = rows(home, "SELECT count(*) FROM interests.clusters")[0][0]
    assert pools
    assert all(cluster not in history for history, cluster, _ in pools)
    assert {round(probability, 9) for *_, probability in pools} == {round(1 / (labels - 2), 9)}


@pytest.mark.full
def test_the_new_metric_is_in_the_figures_of_the_alignment_model(line):
    home, _ = line
    manifests = [json.loads(path.read_text()) for path in home.checkpoints.glob("alignment_model/[!.]*/manifest.json")]
    found = [each["figures"]["mean_reciprocal_rank"] for each in manifests if "mean_reciprocal_rank" in each["figures"]]
    assert len(found) == 1
    assert found[0] is None or 0 < found[0] <= 1


def test_the_new_format_is_ingested(project, tmp_path):
    source, home = tmp_path / "source", Home(tmp_path / "home")
    source.mkdir()
    played = [f"{user},s{song},Blue {song},jazz,1767607200\n" for user in ("ada", "bob") for song in range(5)]
    (source / "plays.csv").write_text("listener,song,title,genre,started\n" + "".join(played))
    told = of_project(project, home.path, "alignrec", "ingest", "plays", source).stdout
    assert "5 items, 10 events from 2026-01-05 to 2026-01-05" in told
    assert pl.read_parquet(home.landing / "events" / "day=2026-01-05")["user_id"].to_list() == ["ada"] * 5 + ["bob"] * 5
    assert "first_day = 2026-01-05 # ingest chose" in home.settings.read_text()


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("Into `NOTHING` of `models/arrays.py`:", "models/arrays.py has no NOTHING that is a tuple, list, dict"),
        ("Into the class `Nothing` of `models/arrays.py`:", "models/arrays.py has no class Nothing"),
        ("At the end of `models/nothing.py`:", "there is no models/nothing.py"),
        ("As `models/arrays.py`:", "models/arrays.py exists already"),
        ("Then write:", "'Then write:' does not say where the code goes"),
    ],
)
def test_a_block_without_a_place_is_told(before, message):
    page = f"# A page\n\n## Other\n\n## Add nothing\n\nWords.\n\n{before}\n\n```python\nX = 1\n```\n"
    with pytest.raises(RecipeError, match=re.escape(f"line 9, recipe 'Add nothing': {message}")):
        apply_block(read_recipes(page)["Add nothing"].blocks[0], PROJECT)


@pytest.mark.parametrize(
    ("before", "text", "after"),
    [
        ("X = (\n    1,  # one\n    2  # two\n)\n", "3,\n", "X = (\n    1,  # one\n    2,  # two\n    3,\n)\n"),
        ("X = {}\n", '"é": 3,\n', 'X = {"é": 3}\n'),
        ("x: Literal['é', 'b'] = 'b'\nY = []\n", "'c',\n", "x: Literal['é', 'b', 'c'] = 'b'\nY = []\n"),
    ],
)
def test_code_goes_before_the_closing_bracket(tmp_path, before, text, after):
    (tmp_path / "a.py").write_text(before)
    page = f"## Add it\n\nInto `{before[0]}` of `a.py`:\n\n```python\n{text}```\n"
    apply_block(read_recipes(page)["Add it"].blocks[0], tmp_path)
    assert (tmp_path / "a.py").read_text() == after
