"""The table of the whole drill, written when every drill of it ran."""

import subprocess
from datetime import UTC, datetime

from support.drill import PROJECT, selections

KINDS = {
    "kill": "killed in the write",
    "error": "exception half-way",
    "full": "full disk",
    "corrupt": "corrupt input",
    "second": "second writer",
    "daemon": "crashed daemon",
}
TABLE = PROJECT / "docs" / "faults.md"
results = {}


def pytest_runtest_logreport(report):
    """Remember outcome and time of each drill."""
    told = dict(report.user_properties)
    if "drill" in told and report.when == "call":
        disk = " (emulated)" if told.get("disk") == "emulated" else ""
        results[tuple(told["drill"])] = f"{'survived' if report.passed else 'FAILED'}, {report.duration:.0f} s{disk}"


def pytest_sessionfinish(session):
    """A part of the drill leaves the table of the last whole one as it is."""
    assets = selections()
    if all((asset, kind) in results for asset in assets for kind in KINDS):
        rows = [_row(asset, *(results[asset, kind] for kind in KINDS)) for asset in assets]
        heading = [_row("asset", *KINDS.values()), "|" + "---|" * (1 + len(KINDS))]
        TABLE.write_text(_opening() + "\n".join([*heading, *rows]) + "\n")


def _opening():
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, text=True).strip()
    return f"""# The failure drill

Each asset meets each fault on a small home; then the same command is given again, and tables, checkpoints, reports and
what is published must equal the undisturbed ones. Seconds are those of the whole drill, with the copy of the home and
the comparison; a full disk is a small tmpfs, or emulated where none may be mounted. `make test-full` runs it and writes
this table; `make test` runs one drill of each kind.

Commit {commit}, {datetime.now(UTC):%Y-%m-%d}: {sum(told.startswith("survived") for told in results.values())} of
{len(results)} drills survived.

"""


def _row(*cells):
    return f"| {' | '.join(cells)} |"
