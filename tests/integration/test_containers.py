"""The container and the compose file, as far as they can be checked where no engine runs."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from dockerfile_parse import DockerfileParser

PROJECT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def instructions():
    with (PROJECT / "Containerfile").open("rb") as file:
        return DockerfileParser(fileobj=file).structure


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((PROJECT / "compose.yaml").read_text())


def copied(instructions):
    """What is copied from the project, by stage: one list of sources per FROM."""
    stages = []
    for step in instructions:
        words = step["value"].split()
        if step["instruction"] == "FROM":
            stages.append([])
        elif step["instruction"] == "COPY" and not words[0].startswith("--from"):
            stages[-1] += words[:-1]
    return stages


def test_hadolint_finds_nothing_in_the_container_file():
    done = subprocess.run([BIN / "hadolint", PROJECT / "Containerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_exists_and_is_all_that_is_sent(instructions):
    sources = {source for stage in copied(instructions) for source in stage}
    assert sources == {line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    assert all((PROJECT / source).exists() for source in sources)


def test_the_first_stage_copies_all_that_the_wheel_needs(instructions, tmp_path):
    first, _ = copied(instructions)
    for source in first:
        copy = shutil.copytree if (PROJECT / source).is_dir() else shutil.copyfile
        copy(PROJECT / source, tmp_path / source)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"alignrec_assets/dagster-postgres.yaml", "alignrec_assets/sql/raw/items.sql"} <= set(names)
    (scripts,) = (name for name in names if name.endswith("entry_points.txt"))
    assert b"alignrec = " in zipfile.ZipFile(wheel).read(scripts)


def test_the_container_runs_as_nobody_in_particular_outside_the_sources(instructions):
    last = {step["instruction"]: step["value"] for step in instructions}
    assert last["USER"] not in ("root", "0")
    assert last["ENTRYPOINT"] == '["alignrec"]'
    assert last["WORKDIR"] == last["VOLUME"]
    assert f"ALIGNREC_HOME={last['VOLUME']} " in last["ENV"]


def test_the_compose_file_follows_its_specification():
    check = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", PROJECT / "compose.yaml"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_compose_file_publishes_on_the_loopback_alone_and_holds_no_secret(compose):
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:3000:3000"]
    given = [pair for service in compose["services"].values() for pair in service["environment"].items()]
    secrets = {(name, value) for name, value in given if any(word in name for word in ("PASSWORD", "KEY", "TOKEN"))}
    assert len(secrets) == 5
    assert {value for _, value in secrets} == {None, "${POSTGRES_PASSWORD:?set it}"}


def test_every_service_and_volume_that_is_named_exists(compose):
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])
        assert {volume.split(":")[0] for volume in service["volumes"]} <= set(compose["volumes"])
    assert compose["services"]["code"]["build"]["dockerfile"] == "Containerfile"
