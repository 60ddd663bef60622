"""Runs the tests of a file on a copy of the project in which it has one fault; the project itself is never changed.

The copy is tested by children of one process that has imported the large libraries once: a child costs the tests alone.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mutation.order import Order, Survey

PARTS = (
    *("alignrec_assets", "models", "sql", "tests", "docs"),
    *("pyproject.toml", "Makefile", "README.md", "CONTRIBUTING.md"),
    *("dagster.yaml", "dagster-postgres.yaml", "workspace.yaml"),
)
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.png", "*.json")
LIBRARIES = (
    *("dagster", "duckdb", "hypothesis", "optuna", "polars", "pytest", "scipy.stats", "sklearn.linear_model", "torch"),
    *("transformers", "transformers.models.llama.modeling_llama"),
)
QUIETLY = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:unraisableexception")
PATIENCE = 5.0  # times the processor seconds of the sound tests, and ten more: then a fault has made an endless loop
WAITING = 10.0  # times these by the clock: a fault that only waits, on however busy a machine


class Copy:
    """A copy of the project to put faults into.

    Args:
        root: of the project.
        folder: of the copy; what it holds is replaced.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        for part in PARTS:
            if (root / part).is_dir():
                shutil.copytree(root / part, folder / part, ignore=LEFT_OUT)
            elif (root / part).is_file():
                shutil.copy2(root / part, folder / part)

    @contextlib.contextmanager
    def holding(self, path: str, text: str):
        """With another text of one file."""
        file = self.folder / path
        sound, moments = file.read_bytes(), file.stat()
        try:
            file.write_text(text, encoding="utf-8")
            yield
        finally:
            file.write_bytes(sound)
            os.utime(file, ns=(moments.st_atime_ns, moments.st_mtime_ns))  # compiled modules are known by it

    def order(self, path: str, tests: Sequence[str]) -> Order | None:
        """The order in which these tests look for faults of a file; None where they fail without any."""
        passed, told = self._run(tests, Survey((self.folder / path).resolve()))
        return Order(*told) if passed else None

    def finds(self, tests: Sequence[str], order: Order, most_seconds: int) -> bool:
        """Whether a test fails, or all take more than these seconds of the processor: being busy is no fault."""
        passed, failed = self._run(tests, order, most_seconds)
        order.found[failed] += not passed
        return not passed

    def _run(self, tests: Sequence[str], plugin: Order | Survey, most_seconds: int | None = None) -> tuple[bool, Any]:
        """Whether all tests pass, and what the plugin tells; None where the tests were ended before it could."""
        sys.stdout.flush()
        told = self.folder.with_suffix(".json")
        told.write_text("null")
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            sys.dont_write_bytecode = most_seconds is not None  # sound modules alone are kept compiled
            if most_seconds is not None:
                resource.setrlimit(resource.RLIMIT_CPU, (most_seconds, most_seconds))
            _test(self.folder, tests, plugin, told)
        deadline = None if most_seconds is None else time.monotonic() + WAITING * most_seconds
        return _ended(child, deadline) == 0, json.loads(told.read_text())


def _ended(child: int, deadline: float | None) -> int:
    """The status of a child once it has ended, by itself or at the deadline, with all that it started."""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if deadline is not None and time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]
        time.sleep(0.02)


def import_libraries() -> None:
    """Import what most tests import and no fault changes."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # or every child walks through all of them at its end


class _Telling:
    """Writes what a plugin tells, before the tests' own hook ends the process."""

    def __init__(self, plugin: Order | Survey, file: Path) -> None:
        self.plugin, self.file = plugin, file

    def pytest_sessionfinish(self) -> None:
        self.file.write_text(json.dumps(self.plugin.told()))


def _test(folder: Path, tests: Sequence[str], plugin: Order | Survey, told: Path) -> None:
    """In the child: the tests, without a word, on modules of the copy alone; ends the process."""
    import pytest
    from hypothesis import Phase, settings

    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    sys.path[:] = [str(folder), *(path for path in sys.path if not (Path(path) / "models").is_dir())]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("models", "mutation")]:
        del sys.modules[name]
    settings.register_profile("mutants", phases=(Phase.explicit, Phase.reuse, Phase.generate))
    settings.load_profile("mutants")  # the first failing example is enough: it need not be the smallest
    code = 1
    try:
        code = int(
            pytest.main([*QUIETLY, "-m", "not full and not vllm", *tests], plugins=[plugin, _Telling(plugin, told)])
        )
    finally:
        os._exit(min(code, 1))
