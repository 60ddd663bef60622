"""Which tests of a file are asked first: those that reach the fault, and of them those that found most faults so far.

All tests run until one fails, for a test may see a fault through a fixture that another one has filled.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest


class Order:
    """A plugin of pytest that puts the tests in order, and that tells which one failed.

    Args:
        reached: the lines of the file that each test reaches.
        seconds: that each test takes.
    """

    def __init__(self, reached: dict[str, list[int]], seconds: dict[str, float]) -> None:
        self.reached, self.seconds = reached, seconds
        self.found: Counter[str] = Counter()
        self.line = 0  # of the fault
        self.failed = ""

    @pytest.hookimpl(trylast=True)  # after pytest's own order, which saves fixtures
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Sort the tests; those of one module that are otherwise alike stay together, and with them its fixtures."""
        modules = list(dict.fromkeys(item.path for item in items))
        items.sort(key=lambda item: (*self._rank(item.nodeid), modules.index(item.path), self._seconds(item.nodeid)))

    def _rank(self, test: str) -> tuple[bool, int]:
        return self.line not in self.reached.get(test, ()), -self.found[test]

    def _seconds(self, test: str) -> float:
        return self.seconds.get(test, 0.0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember the test that failed."""
        if report.failed:
            self.failed = report.nodeid

    def told(self) -> str:
        """The test that failed; empty if none did."""
        return self.failed


class Survey:
    """A plugin of pytest that finds what an order goes by, from tests of a file without any fault.

    Args:
        file: whose lines are reached; those of a query are not told.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.coverage = file, None
        self.seconds: Counter[str] = Counter()

    def pytest_sessionstart(self) -> None:
        """Watch the lines from here on."""
        if self.file.suffix == ".py":
            from coverage import Coverage  # slow to import, and queries need none

            self.coverage = Coverage(data_file=None, config_file=False, include=[str(self.file)])
            self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """What is reached from here on belongs to this test."""
        if self.coverage:
            self.coverage.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the seconds of one phase of a test."""
        self.seconds[report.nodeid] += report.duration

    def told(self) -> tuple[dict[str, list[int]], dict[str, float]]:
        """What :class:`Order` takes."""
        reached: dict[str, list[int]] = {test: [] for test in self.seconds}
        if self.coverage:
            self.coverage.stop()
            for line, tests in self.coverage.get_data().contexts_by_lineno(str(self.file)).items():
                for test in filter(None, tests):  # what is reached outside of tests has no name
                    reached[test].append(line)
        return reached, dict(self.seconds)
