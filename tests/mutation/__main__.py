"""``python -m mutation [file or folder ...]``, with ``tests`` on the path: all mutants of these files, or of all files.

Outcomes of an unfinished run are in ``.mutants/``; what is kept is in ``docs/mutants.toml``, and told in its page.
"""

import os
import resource
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

from filelock import FileLock

from models.progress import Progress
from mutation.covered import covered_files, covering_tests
from mutation.mutants import mutants_of
from mutation.results import Outcomes, Told, keep, page
from mutation.runner import PATIENCE, Copy, import_libraries


def main(root: Path, asked: list[str]) -> int:
    """Run the mutants of the files that are asked for; returns the exit status."""
    known = covered_files(root)
    files = [file for file in known if not asked or any(lies_in(file, name) for name in asked)]
    if not files:
        print(f"no file of tests/mutation/covered.py is, or lies in, {' '.join(asked)}")
        return 2
    folder, record = root / ".mutants", root / "docs/mutants.toml"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):  # a second run waits: both would put faults into the one copy
        return run_files(root, files, known, folder, record)


def run_files(root: Path, files: list[str], known: list[str], folder: Path, record: Path) -> int:
    """Run the mutants of files one after the other, and write the record and its page after each."""
    copy, outcomes = Copy(root, folder / "project"), Outcomes(folder / "outcomes.jsonl")
    unsound = []
    for place, path in enumerate(files, start=1):
        print(f"{path}, file {place} of {len(files)}", flush=True)
        if told := run_file(root, copy, outcomes, path):
            keep(record, _commit(root), {path: told}, known)
            record.with_suffix(".md").write_text(page(record), encoding="utf-8")
        else:
            unsound.append(path)
    if unsound:
        print(f"left out, because their tests fail without any fault: {', '.join(unsound)}")
    return 1 if unsound else 0


def lies_in(file: str, name: str) -> bool:
    """Whether a file is, or lies in, what was named."""
    return f"{file}/".startswith(f"{name.rstrip('/')}/")


def run_file(root: Path, copy: Copy, outcomes: Outcomes, path: str) -> Told | None:
    """Run all mutants of one file whose outcome is not known yet; None where its tests fail without any.

    A survivor is run again when its tests have changed; one that was killed stays killed.
    """
    tests = covering_tests(path, root)
    mutants = list(mutants_of(path, (root / path).read_text(encoding="utf-8")))
    tested = _hash(*((root / test).read_text(encoding="utf-8") for test in tests))
    unknown = [mutant for mutant in mutants if _outcome(outcomes, mutant.text, tested) is None]
    if unknown:
        import_libraries()
        began = _processor_seconds()
        order = copy.order(path, tests)
        if order is None:
            print(f"the tests of {path} fail without any fault: pytest {' '.join(tests)}", flush=True)
            return None
        patience = round(PATIENCE * (_processor_seconds() - began) + 10)
        progress = Progress(len(unknown), "mutants", print)
        for mutant in unknown:
            order.line = mutant.line
            with copy.holding(path, mutant.text):
                killed = copy.finds(tests, order, patience)
            outcomes.add(_hash(mutant.text) if killed else _hash(mutant.text, tested), killed)
            progress.advance(note="" if killed else f"survives, line {mutant.line}: {mutant.change}")
    survivors = [mutant for mutant in mutants if _outcome(outcomes, mutant.text, tested) is False]
    print(f"{path}: {len(survivors)} of {len(mutants)} survive", flush=True)
    return Told(len(mutants), survivors)


def _outcome(outcomes: Outcomes, text: str, tested: str) -> bool | None:
    return outcomes.known.get(_hash(text), outcomes.known.get(_hash(text, tested)))


def _hash(*texts: str) -> str:
    return blake2b("\0".join(texts).encode(), digest_size=12).hexdigest()


def _processor_seconds() -> float:
    """Of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _commit(root: Path) -> str:
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    code = main(Path(__file__).resolve().parents[2], sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # at a normal exit duckdb's binding prints 40 lines about live objects
