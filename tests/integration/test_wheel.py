"""The wheel as a user gets it: installed into an environment of its own, used from a foreign folder."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(PROJECT)]
    subprocess.run(build, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A clean environment: the wheel alone, and the dependencies by a path file, since no test may use a network."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", wheel], check=True)
    site = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    # A path file read through another path file is not obeyed, so the checkout's editable install stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def run(arguments, folder, home):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ALIGNREC_", "DAGSTER_", "PYTHONPATH"))}
    variables = clean | {"ALIGNREC_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "COLUMNS": "200"}
    return subprocess.run(
        list(map(str, arguments)), cwd=folder, env=variables, capture_output=True, text=True, check=False
    )


def test_the_wheel_holds_both_packages_and_the_queries_as_data(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} - {"alignrec-0.1.0.dist-info"} == {"alignrec_assets", "models"}
    queries = {f"alignrec_assets/{path.relative_to(PROJECT)}" for path in (PROJECT / "sql").rglob("*.sql")}
    assert queries <= names
    assert {"alignrec_assets/dagster.yaml", "models/arena/topics.toml", "models/arena/facets.toml"} <= names


def test_from_a_foreign_folder_lookup_answers_and_the_definitions_validate(environment, line_home, tmp_path):
    where = run(
        [environment / "python", "-c", "import alignrec_assets; print(alignrec_assets.__file__)"],
        tmp_path,
        line_home.path,
    )
    assert str(environment.parent) in where.stdout
    found = run([environment / "alignrec", "lookup", "0", "1"], tmp_path, line_home.path)
    assert found.returncode == 0, found.stderr
    assert "ranked by alignment" in found.stdout
    validate = [environment / "python", "-m", "dagster", "definitions", "validate", "-m", "alignrec_assets.definitions"]
    validated = run(validate, tmp_path, line_home.path)
    assert validated.returncode == 0, validated.stdout + validated.stderr


def test_a_stray_models_module_is_refused_by_both_paths(environment, line_home, tmp_path):
    (tmp_path / "models.py").write_text("")
    refused = run([environment / "python", "-m", "alignrec_assets.cli"], tmp_path, line_home.path)
    assert refused.returncode != 0
    assert str(tmp_path / "models.py") in refused.stderr
    assert str(environment.parent) in refused.stderr
