"""The instance file of a home, and which processes are alive."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alignrec_assets.home import Home
from alignrec_assets.instance.dagster_home import _is_alive, prepare_instance

SHIPPED = Path(__file__).parents[3] / "dagster.yaml"


@pytest.fixture
def instance_file(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.delenv("DAGSTER_POSTGRES_HOST", raising=False)
    prepare_instance(Home(tmp_path))
    return tmp_path / "dagster" / "dagster.yaml"


def test_what_an_earlier_alignrec_put_into_a_home_is_brought_up_to_date(instance_file, tmp_path, monkeypatch):
    assert instance_file.read_text() == SHIPPED.read_text()
    later = tmp_path / "later.yaml"
    later.write_text(SHIPPED.read_text() + "retention: {}\n")
    for shipped in (later, SHIPPED):
        monkeypatch.setattr("alignrec_assets.instance.dagster_home._shipped", lambda _, shipped=shipped: shipped)
        prepare_instance(Home(tmp_path))
        assert instance_file.read_text() == shipped.read_text()


def test_so_is_what_homes_were_given_before_they_kept_a_record(instance_file, tmp_path):
    (instance_file.parent / ".shipped").unlink()
    since = r"# Dagster's own SQLite log.*?config: \{\}\n\n|# What sensors and schedules did.*?started: 90\}\n\n"
    without_log = re.sub(since, "", SHIPPED.read_text(), flags=re.DOTALL)
    assert len(without_log) < len(SHIPPED.read_text())
    instance_file.write_text(without_log)
    prepare_instance(Home(tmp_path))
    assert instance_file.read_text() == SHIPPED.read_text()


@pytest.mark.parametrize("recorded", [True, False])
def test_what_somebody_edited_stays(instance_file, tmp_path, recorded):
    if not recorded:
        (instance_file.parent / ".shipped").unlink()
    instance_file.write_text(SHIPPED.read_text() + "# mine\n")
    prepare_instance(Home(tmp_path))
    assert instance_file.read_text().endswith("# mine\n")


@pytest.fixture
def process():
    """A process whose command line tells nothing, like that of a run which the daemon launched."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield sleeper
    sleeper.kill()
    sleeper.wait()


def test_a_process_is_alive_until_it_is_killed(process):
    now = time.time()
    assert _is_alive(process.pid, now)
    process.kill()
    while _is_alive(process.pid, now):  # a dead child that nobody has asked for yet counts as dead
        time.sleep(0.01)


def test_the_number_of_a_dead_process_may_belong_to_a_later_one(process):
    assert not _is_alive(process.pid, time.time() - 3600)


FIRST_RUN = """
import sys
from pathlib import Path
from alignrec_assets.home import Home
from alignrec_assets.instance.dagster_home import open_instance
print("ready", flush=True)
sys.stdin.readline()
with open_instance(Home(Path(sys.argv[1]))) as instance:
    print(instance.get_runs_count(), len(instance.all_asset_keys()), len(instance.all_instigator_state()))
"""


def test_first_runs_at_once_on_a_fresh_home_make_one_instance(tmp_path, comes_out):
    arguments = [sys.executable, "-c", FIRST_RUN, str(tmp_path / "home")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    firsts = [subprocess.Popen(arguments, **pipes) for _ in range(4)]
    for first in firsts:
        assert first.stdout.readline() == "ready\n"
    for first in firsts:
        first.stdin.write("\n")
        first.stdin.flush()
    for first in firsts:
        said, wrong = first.communicate(timeout=120)
        assert (first.returncode, said) == (0, "0 0 0\n"), wrong
    comes_out("homes", "four first runs at once on a fresh home", "each finds the one instance")
