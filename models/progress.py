"""Progress of long loops, as plain log lines with rate and time left.

Lines, not bars: a bar writes thousands of updates into a step's log, and the Dagster UI froze on one in a long
training.
"""

import resource
import time
from collections.abc import Callable
from pathlib import Path

Log = Callable[[str], None]


def silent(message: str) -> None:
    """Discard a log line: the default where nobody listens."""


class Progress:
    """Counts finished units of work and logs a line every few seconds.

    Args:
        total: units of work in all.
        unit: the plural noun of one unit, such as ``histories``.
        log: receives each finished line.
        every_seconds: least time between two lines.
    """

    def __init__(self, total: int, unit: str, log: Log = silent, every_seconds: float = 5.0) -> None:
        self.total = total
        self.unit = unit
        self.log = log
        self.every_seconds = every_seconds
        self.done = 0
        self.started = time.monotonic()
        self.last_line = self.started

    def advance(self, units: int = 1, note: str = "") -> None:
        """Count ``units`` more as done; ``note`` (a loss, say) ends the line when one is due."""
        self.done += units
        now = time.monotonic()
        if now - self.last_line < self.every_seconds:
            return
        self.last_line = now
        rate = self.done / max(now - self.started, 1e-9)
        left = (self.total - self.done) / max(rate, 1e-9)
        line = f"{self.done:,}/{self.total:,} {self.unit}, {rate:,.1f}/s, {left:,.0f} s left"
        self.log(f"{line}, {note}" if note else line)


def peak_gigabytes() -> float:
    """Largest resident memory of this process so far.

    On Linux it is the kernel's own record: what ``getrusage`` returns begins at the size of the process that started
    this one (4.6 GB for a reader of 1.5 GB whose parent had trained a model).
    """
    status = Path("/proc/self/status")
    if status.exists():
        (mark,) = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(mark.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
