"""Long steps tell how far they are, at what rate and what time is left: in the terminal and in the log of the run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.line import DAYS, environment

from alignrec_assets.instance.dagster_home import open_instance

SUPPORT = Path(__file__).parents[1] / "support"
UNITS = {
    "raw__events": "days",
    "raw__feedback_logs": "days",
    "feedback__transition_scores": "days",
    "novelty_model": "examples",
    "alignment_model": "steps",
    "candidates__pools": "histories",
    "candidates__scored": "histories",
}
LINE = re.compile(r"([\d,]+)/([\d,]+) ([\w ]+), [\d,.]+/s, ([\d,]+) s left")


def told(home):
    """What the steps of the last three runs logged as progress: (unit, done, total, seconds left) by step."""
    found = {}
    with open_instance(home) as instance:
        for run in instance.get_runs(limit=3):
            for entry in instance.all_logs(run.run_id):
                matched = LINE.match(entry.user_message or "") if entry.dagster_event is None else None
                if matched:
                    done, total, left = (int(matched.group(number).replace(",", "")) for number in (1, 2, 4))
                    found.setdefault(entry.step_key, []).append((matched.group(3), done, total, left))
    return found


@pytest.mark.full
def test_every_long_step_tells_its_progress_with_rate_and_time_left(copied_home):
    copied_home.warehouse.unlink()
    seeds = {"ALIGNREC_NOVELTY__SEED": "7", "ALIGNREC_ALIGNMENT__SEED": "7"}
    arguments = [sys.executable, str(SUPPORT / "eager_progress.py"), "run"]
    variables = environment(copied_home.path, **seeds)
    printed = subprocess.run(arguments, env=variables, capture_output=True, text=True, timeout=500, check=True).stdout
    logged = told(copied_home)
    for step, unit in UNITS.items():
        lines = [line for line in logged[step] if line[0] == unit]
        _, done, totals, left = zip(*lines, strict=True)
        assert done[-1] == totals[-1], step
        assert left[-1] == 0, step
        assert all(0 < part <= total for part, total in zip(done, totals, strict=True)), step
        assert f"{done[0]:,}/{totals[0]:,} {unit}, " in printed
    assert [done for _, done, total, _ in logged["feedback__transition_scores"]] == list(range(1, DAYS + 1))
