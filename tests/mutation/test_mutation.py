"""The tool that puts faults into the code: which it makes, whose tests it asks, and what it remembers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mutation.covered import COVERED, covered_files, covering_tests
from mutation.mutants import Mutant, mutants_of
from mutation.results import Told, keep, page
from mutation.sql_mutants import sql_mutants

ROOT = Path(__file__).resolve().parents[2]
AIMED = ("models/feedback/", "models/novelty/", "models/alignment/", "models/evaluation/", "sql/")


def faults(path, text):
    return {mutant.change for mutant in mutants_of(path, text)}


@pytest.mark.parametrize(
    ("query", "others"),
    [
        ("SELECT a FROM t WHERE b < 3", ["b <= 3", "b < 4", "WHERE NOT b < 3"]),
        ("SELECT min(a) FROM t LEFT JOIN u ON t.a = u.a", ["MAX(a)", "INNER JOIN", "t.a <> u.a"]),
        ("SELECT * FROM t HAVING a BETWEEN 1 AND 2 AND b", ["BETWEEN 2 AND 2", "BETWEEN 1 AND 3", "2 OR b"]),
        ("SELECT f(x) OVER (PARTITION BY a ORDER BY b, c DESC) FROM t", ["BY b DESC, c DESC", "BY b, c ASC"]),
        ("SELECT 1.5 * a, sum(DISTINCT b) FROM t -- a < b", ["2.5 * a", "1.5 / a", "sum( b)"]),
        ("SELECT NOT a FROM t UNION ALL SELECT 'a < b' FROM u ORDER BY a LIMIT 5", [
            "SELECT  a", "UNION  SELECT", "ORDER BY a DESC LIMIT 5", "LIMIT 6"]),
    ],
)  # fmt: skip
def test_the_faults_of_a_query(query, others):
    found = list(sql_mutants(query))
    assert len(found) == len(set(found)) == len(others)
    assert all(any(other in text for text in found) for other in others)


def test_the_faults_of_a_function():
    pytest.importorskip("mutmut")
    source = "SIZE = 3\ndef f(a, b):\n  if a < b:\n    raise ValueError(1)\n  return g(a, least=2) if ~b else None\n"
    source += "def h(a, b):\n  return zip(a, b, strict=True), array(a, dtype=float)\n"
    assert faults("models/a.py", source) == {
        "if a < b: -> if a <= b:",
        "return g(a, least=2) if ~b else None -> return g(a, ) if ~b else None",
        "return g(a, least=2) if ~b else None -> return g(a, least=3) if ~b else None",
        "return g(a, least=2) if ~b else None -> return g(a, least=2) if b else None",
        "return g(a, least=2) if ~b else None -> return g(a, least=2) if (~b) and False else None",
        "return g(a, least=2) if ~b else None -> return g(a, least=2) if (~b) or True else None",
    }


def test_a_fault_is_known_again_where_other_lines_move():
    query = "SELECT a\nFROM t\nWHERE b < 3\n"
    before, after = (list(mutants_of("sql/x/y.sql", text)) for text in (query, f"-- What it is.\n{query}"))
    assert [mutant.key for mutant in before] == [mutant.key for mutant in after]
    assert {mutant.line for mutant in before} == {3}
    assert {mutant.line for mutant in after} == {4}


def test_every_file_that_is_aimed_at_has_tests_and_they_exist():
    files = covered_files(ROOT)
    aimed = [
        path for folder in ("models", "sql") for path in ROOT.glob(f"{folder}/*/*.*") if path.suffix in (".py", ".sql")
    ]
    aimed = {path.relative_to(ROOT).as_posix() for path in aimed if not path.stem.endswith(("__init__", "pictures"))}
    assert {path for path in aimed if path.startswith(AIMED)} <= set(files)
    assert [test for path in files for test in covering_tests(path, ROOT) if not (ROOT / test).is_file()] == []
    assert [name for name in COVERED if not (ROOT / name).exists()] == []


def test_verdicts_stay_where_the_fault_survives_still(tmp_path):
    record = tmp_path / "mutants.toml"
    mutants = [Mutant("sql/a/b.sql", line, f"a < {line} -> a <= {line}", f"key{line}", "") for line in (1, 2)]
    known = ["sql/a/b.sql", "sql/a/c.sql"]
    keep(record, "c1", {"sql/a/b.sql": Told(4, mutants), "sql/a/c.sql": Told(3, [])}, known)
    record.write_text(record.read_text().replace("open", "equivalent", 1))
    assert "| sql/a/b.sql | 1 | `a < 1 -> a <= 1` | equivalent |" in page(record)
    keep(record, "c2", {"sql/a/b.sql": Told(5, mutants)}, known)
    told = page(record)
    assert "| sql/a | 8 | 2 | 25% | 1 |" in told
    assert "| sql/a/b.sql | 5 | 2 | 40% | 1 | c2 |" in told
    assert "| sql/a/c.sql | 3 | 0 | 0% | 0 | c1 |" in told
    keep(record, "c3", {"sql/a/b.sql": Told(5, mutants[1:])}, known[:1])
    assert "equivalent" not in record.read_text()
    assert "sql/a/c.sql" not in page(record)  # the file is gone


QUERY = "SELECT a FROM t WHERE a < 3 ORDER BY a"
TEST = """
import duckdb
from pathlib import Path

def test_what_is_below_three():
    connection = duckdb.connect()
    connection.execute("CREATE TABLE t AS SELECT unnest([{values}]) AS a")
    assert connection.execute(Path("sql/x/y.sql").read_text()).fetchall() == [(1,)]
"""

RUN = """
from pathlib import Path
from mutation import runner
from mutation.__main__ import main

runner.LIBRARIES = ()
raise SystemExit(main(Path.cwd(), ["sql"]))
"""


def test_a_run_tells_what_survives_goes_on_where_it_was_and_leaves_the_project_alone(tmp_path):
    for folder in ("sql/x", "tests/sql/x", "docs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['full', 'vllm']\n")
    (tmp_path / "sql/x/y.sql").write_text(QUERY)

    def run(values):
        (tmp_path / "tests/sql/x/test_y.py").write_text(TEST.format(values=values))
        path = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        command = [sys.executable, "-c", RUN]
        made = subprocess.run(command, cwd=tmp_path, env=path, text=True, capture_output=True, check=False)
        assert made.returncode == 0, made.stdout + made.stderr
        return made.stdout.splitlines()[-1], (tmp_path / ".mutants/outcomes.jsonl").read_text().splitlines()

    for command in ("init -q", "-c user.name=a -c user.email=a commit -q --allow-empty -m a"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    told, outcomes = run("1, 4")  # 3 is missing, and so is a second row
    assert told == "sql/x/y.sql: 3 of 4 survive"
    assert (tmp_path / "docs/mutants.md").read_text().count("| open |") == 3
    again, same = run("1, 4")
    assert (again, same) == (told, outcomes)
    better, more = run("1, 3")  # another test: what survived is run again, and what was killed is not
    assert better == "sql/x/y.sql: 1 of 4 survive"
    assert len(more) == len(outcomes) + 3
    assert (tmp_path / "sql/x/y.sql").read_text() == QUERY


REACHED = """
def small(a):
    return a + 1


def large(a):
    return a + 2
"""
TESTS = """
import time

from models.x.y import large, small


def test_slow():
    time.sleep(0.2)
    assert large(1) == 3


def test_quick():
    assert large(2) == 4


def test_else():
    assert small(1) == 2
"""
ORDERED = """
import json
from pathlib import Path
from mutation.runner import Copy

copy, tests = Copy(Path.cwd(), Path.cwd() / "copy"), ["tests/models/x/test_y.py"]
order, asked = copy.order("models/x/y.py", tests), []
text = Path("models/x/y.py").read_text()
faults = [(7, "a + 2", "a + 4"), (7, "a + 2", "a * 2"), (3, "a + 1", "a"), (3, "a + 1", "1 + a")]
for order.line, sound, fault in faults:
    with copy.holding("models/x/y.py", text.replace(sound, fault)):
        before = order.found.copy()
        asked.append([copy.finds(tests, order, 20), *(order.found - before)])
print(json.dumps([order.reached, asked]))
"""


def test_tests_that_reach_the_line_are_asked_first_the_quickest_before_the_others(tmp_path):
    for folder in ("models/x", "tests/models/x"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['full', 'vllm']\n")
    (tmp_path / "models/x/y.py").write_text(REACHED)
    (tmp_path / "tests/models/x/test_y.py").write_text(TESTS)
    path = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    told = subprocess.run(
        [sys.executable, "-c", ORDERED], cwd=tmp_path, env=path, text=True, capture_output=True, check=True
    )
    reached, asked = json.loads(told.stdout)
    slow, quick, other = (f"tests/models/x/test_y.py::test_{name}" for name in ("slow", "quick", "else"))
    assert reached == {slow: [7], quick: [7], other: [3]}
    assert asked == [[True, quick], [True, slow], [True, other], [False]]


LIMITED = """
from pathlib import Path
from mutation.order import Order
from mutation.runner import Copy

copy = Copy(Path.cwd(), Path.cwd() / "copy")
print(*(copy.finds([f"tests/test_{name}.py"], Order({}, {}), 2) for name in ("waiting", "looping")))
"""


@pytest.mark.full
def test_the_limit_is_of_processor_seconds_so_a_busy_machine_kills_nothing(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['full', 'vllm']\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_waiting.py").write_text("import time\n\ndef test_waiting():\n    time.sleep(3)\n")
    (tmp_path / "tests/test_looping.py").write_text("def test_looping():\n    while True:\n        pass\n")
    path = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    told = subprocess.run(
        [sys.executable, "-c", LIMITED], cwd=tmp_path, env=path, text=True, capture_output=True, check=True
    )
    assert told.stdout.split() == ["False", "True"]
