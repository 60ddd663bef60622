"""How a run ends that does not end well: by Ctrl-C, by a closed output, by an error that nobody expected."""

import os
import signal
import subprocess

import pytest
from support.line import BIN, environment
from support.older_home import unpack

FAULT = """
import sys, threading
from datetime import date, timedelta
import alignrec_assets.landing.loading as loading
def load_items(*arguments):
    return date.max + timedelta(days=1)
loading.load_items = load_items
"""


@pytest.fixture
def home(tmp_path):
    return unpack(tmp_path / "home")


def start(home, *words, **variables):
    known = environment(home.path, PYTHONUNBUFFERED="1", **variables)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([str(BIN / "alignrec"), "run", *words], env=known, cwd=home.path, **pipes)


@pytest.mark.parametrize("where", ["days ", "raw/items", "reading the base model"])
def test_ctrl_c_in_a_step_ends_the_run_with_130(home, where, comes_out):
    run = start(home)
    for line in run.stdout:
        if where in line:
            run.send_signal(signal.SIGINT)
            break
    _, said = run.communicate(timeout=120)
    assert (run.returncode, said) == (
        130,
        "interrupted: what was finished stays, and the same command goes on from there\n",
    )
    comes_out(
        "interrupted",
        f"Ctrl-C in `alignrec run`, after the line with {where.strip()!r}",
        f"exit code 130: {said.strip()}",
    )


def test_a_run_whose_output_is_closed_ends_with_141(home, comes_out):
    run = start(home)
    run.stdout.readline()
    run.stdout.close()
    run.wait(timeout=120)
    assert run.returncode == 141
    assert "Traceback" not in run.stderr.read()
    comes_out("interrupted", "`alignrec run | head -1`", "exit code 141, no traceback")


def test_an_error_that_nobody_expected_names_its_step_and_the_file_with_the_traceback(home, tmp_path, comes_out):
    (tmp_path / "fault").mkdir()
    (tmp_path / "fault" / "sitecustomize.py").write_text(FAULT)
    path = os.pathsep.join([str(tmp_path / "fault"), os.environ.get("PYTHONPATH", "")])
    run = start(home, PYTHONPATH=path)
    _, said = run.communicate(timeout=120)
    assert run.returncode == 1
    assert said.startswith(
        "error raw/items: unexpected OverflowError: date value out of range. This is a fault of alignrec"
    )
    (kept,) = home.failures.iterdir()
    assert str(kept) in said
    assert "sitecustomize.py" in kept.read_text()
    comes_out(
        "unexpected", "a step computes a day after 9999-12-31", said.replace(str(kept), "a file of the home").strip()
    )
