import subprocess
import sys
import time

import pytest

from alignrec_assets.instance import _is_alive


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
