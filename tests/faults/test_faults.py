"""The failure drill: each asset meets each fault, and the same command afterwards gives what it gives undisturbed.

A drill begins with a home on which the line has run, where one asset is older than its inputs. Its command meets the
fault; what readers see must then be that state, whole; the command is given again, without the fault; and the home must
equal the undisturbed one, table by table, checkpoint by checkpoint and in what is published.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from copy import deepcopy
from datetime import timedelta
from functools import cache

import pytest
from support.drill import disturbed, finish, launch_arguments, selections, start, start_daemon
from support.line import LAST_DAY, command
from support.state import REPORTS, assert_same, make_older, state

from alignrec_assets.home import Home
from alignrec_assets.instance.dagster_home import open_instance
from alignrec_assets.settings.sources import update_settings_file

SELECTIONS = selections()
KINDS = ("kill", "error", "full", "corrupt", "second", "daemon")
IN_EVERY_TEST = {
    "publication.transition_table": "kill",
    "feedback.transition_scores": "error",
    "interests.item_clusters": "full",
    "raw.events": "corrupt",
    "training.novelty_examples": "second",
}
"""The drills of `daemon` take 45 s and run in the full tests alone."""
# What each asset reads; those that are not named read the warehouse alone.
INPUTS = {
    "raw.items": "landing/items/*.parquet",
    "raw.events": f"landing/events/day={LAST_DAY}/*.parquet",
    "raw.feedback_logs": f"landing/feedback/day={LAST_DAY}/*.parquet",
    "interests.item_clusters": "checkpoints/taxonomy/*/taxonomy/arrays.npz",
    "novelty_model": "checkpoints/base_model/*/model/*.safetensors",
    "alignment_model": "checkpoints/base_model/*/model/*.safetensors",
    "registry.checkpoints": "checkpoints/novelty_model/*/manifest.json",
    "candidates.pools": "checkpoints/novelty_model/*/model/*.safetensors",
    "candidates.scored": "checkpoints/alignment_model/*/model/*.safetensors",
    "publication.versions": "published/*/manifest.json",
    "alignment_search": "checkpoints/base_model/*/model/*.safetensors",
    "inference_scaling": "checkpoints/novelty_model/*/model/*.safetensors",
}
# What the exception tells where an asset has no rows of its own to insert.
UNCOUNTED = {
    "base_model": "the weights are written, the manifest is not",
    "raw.rejected_rows": "the rows of raw.rejected_rows are written, its record is not",
    # The loss of the small home is pointwise: there are no pairs.
    "training.pairwise_examples": "the rows of training.pairwise_examples are written, its record is not",
}
# Days that the damaged file holds back: its own, and of impressions the one before it, whose outcomes it may hold.
HELD_BACK = {"raw.events": 1, "raw.feedback_logs": 2}
STOPPED_SECONDS = 8.0  # a second writer gets so long to do its work beside the first, or to wait for it


@pytest.fixture(scope="session")
def reported_home(line_home, tmp_path_factory):
    """A copy of the line's home on which the search and the scaling have run too; the registry lists the trials."""
    home = Home(tmp_path_factory.mktemp("reported") / "home")
    shutil.copytree(line_home.path, home.path)
    update_settings_file(home, {"search": {"trials": 2}})
    for asset in (*REPORTS, "registry.checkpoints"):
        code, output = finish(start(home, asset))
        assert code == 0, output
    return home


@pytest.fixture
def undisturbed_home(request, asset):
    return request.getfixturevalue("reported_home" if asset in REPORTS else "line_home")


@pytest.fixture
def undisturbed(undisturbed_home):
    return deepcopy(cached_state(undisturbed_home))


@pytest.fixture
def home(undisturbed_home, tmp_path):
    shutil.copytree(undisturbed_home.path, tmp_path / "home")
    return Home(tmp_path / "home")


@cache
def cached_state(home):
    return state(home)


def drill(asset, kind):
    marks = () if IN_EVERY_TEST.get(asset) == kind else pytest.mark.full
    return pytest.param(asset, kind, marks=marks, id=f"{asset}-{kind}")


@pytest.mark.parametrize(("asset", "kind"), [drill(asset, kind) for asset in SELECTIONS for kind in KINDS])
def test_after_a_fault_the_same_command_gives_the_undisturbed_result(
    home, tiny_model_folder, undisturbed, asset, kind, record_property
):
    record_property("drill", (asset, kind))
    make_older(home, asset)
    before = state(home)
    match kind:
        case "kill" | "error":
            code, output = finish(start(home, asset, **disturbed(kind, asset)))
            assert code == -signal.SIGKILL if kind == "kill" else is_half_way(asset, output), output
            assert_same(seen(home, before), before)
        case "full":
            record_property("disk", full_disk(home, asset, before))
        case "corrupt":
            with truncated(tiny_model_folder if asset == "base_model" else home.path, asset):
                code, output = finish(start(home, asset))
                assert code != 0, output
            if asset in HELD_BACK:
                assert_days_beside_are_done(home, asset, before, undisturbed)
            else:
                assert_same(seen(home, before), before)
        case "second":
            second_writer(home, asset)
        case "daemon":
            crashed_daemon(home, asset, before)
    if kind == "daemon":
        materialize_by_daemon(home, asset)
    else:
        code, output = finish(start(home, asset))
        assert code == 0, output
    assert_same(state(home), undisturbed)


def is_half_way(asset, output):
    """Whether the exception came where half of the work was done, and none of it stood yet."""
    told = re.search(r"DrillError: (.*)", output).group(1)
    counted = re.match(r"(\d+) of (\d+) ", told)
    if counted:
        done, total = map(int, counted.groups())
        return total <= 2 * done <= 2 * total
    return told == UNCOUNTED.get(asset, f"half of the rows of {asset} are written")


def seen(home, before):
    """The state as readers see it: without whole checkpoints and versions that nothing points to yet."""
    now = state(home)
    current, versions = now["published"]
    return {
        "tables": now["tables"],
        "checkpoints": {name: now["checkpoints"].get(name) for name in before["checkpoints"]},
        "published": (current, {name: versions.get(name) for name in before["published"][1]}),
        "reports": now["reports"],
    }


def assert_days_beside_are_done(home, asset, before, undisturbed):
    """A landing file that cannot be read holds back its own days, and no others.

    The small home has impressions of the two days alone that theirs holds back.
    """
    now, fingerprints = state(home), "registry.fingerprints"
    held = tuple(f"'day': {LAST_DAY - timedelta(days=back)!r}" for back in range(HELD_BACK[asset]))
    for stands, days_held in ((before, True), (undisturbed, False)):
        expected, found = (
            [row for row in home_state["tables"][asset] if row.startswith(held, 1) == days_held]
            for home_state in (stands, now)
        )
        assert found == expected
        assert expected or not (days_held or asset == "raw.events")
    for home_state in (now, before):
        del home_state["tables"][asset], home_state["tables"][fingerprints]
    assert_same(now, before)


def full_disk(home, asset, before):
    """The home on a small disk without a free byte; the log of the runs lies elsewhere, so that they begin.

    Returns what the disk was: a machine may forbid to mount one.
    """
    disk, elsewhere = home.path.parent / "disk", home.path.parent / "dagster"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        code, output = finish(start(home, asset, **disturbed("full", asset)))
        assert code != 0, output
        assert_same(seen(home, before), before)
        return "emulated"
    try:
        small = Home(disk / "home")
        shutil.copytree(home.path, small.path, ignore=shutil.ignore_patterns("dagster"))
        shutil.copytree(home.dagster, elsewhere)
        small.dagster.symlink_to(elsewhere)
        with (disk / "filler").open("wb", buffering=0) as filler:
            fill(filler)
        code, output = finish(start(small, asset))
        assert code != 0, output
        assert_same(seen(small, before), before)
        (disk / "filler").unlink()
        shutil.copytree(small.path, home.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("dagster"))
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
    return "tmpfs"


def fill(file):
    for size in (2**20, 2**12):
        try:
            while file.write(bytes(size)) == size:
                pass
        except OSError:
            continue


@contextmanager
def truncated(folder, asset):
    """Half of what the asset reads."""
    path = sorted(folder.glob("*.safetensors" if asset == "base_model" else INPUTS.get(asset, "warehouse.duckdb")))[-1]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    try:
        yield
    finally:
        path.write_bytes(content)


def second_writer(home, asset):
    """One process stops in the middle of its write, another one does the same work, and then the first goes on."""
    sign = home.path.parent / "sign"
    first = start(home, asset, **disturbed("stop", asset, sign))
    number = signed(sign)
    second = start(home, asset)
    with suppress(subprocess.TimeoutExpired):
        second.wait(STOPPED_SECONDS)
    os.kill(number, signal.SIGCONT)
    for process in (second, first):
        code, output = finish(process)
        assert code == 0, output


def crashed_daemon(home, asset, before):
    """The daemon, its code server and the run that it launched all die while the run writes."""
    sign = home.path.parent / "sign"
    daemon = start_daemon(home, **disturbed("stop", asset, sign))
    try:
        command(home.path, *launch_arguments(SELECTIONS[asset]))
        number = signed(sign)
        assert os.getpgid(number) == daemon.pid
    finally:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()
    assert_same(seen(home, before), before)


def materialize_by_daemon(home, asset):
    daemon = start_daemon(home)
    try:
        command(home.path, *launch_arguments(SELECTIONS[asset]))
        with open_instance(home) as instance:
            wait_until(lambda: instance.get_runs(limit=1)[0].is_finished, home)
            assert instance.get_runs(limit=1)[0].is_success
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait()


def signed(sign):
    """The number of the process that has stopped in its write."""
    wait_until(lambda: sign.exists() and sign.read_text(), sign.parent)
    return int(sign.read_text())


def wait_until(reached, told, seconds=180):
    started = time.monotonic()
    while not reached():
        assert time.monotonic() - started < seconds, f"not reached in {seconds} s: {told}"
        time.sleep(0.1)
