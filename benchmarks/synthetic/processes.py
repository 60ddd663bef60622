"""Work in a process of its own, so that its time and memory are its own too."""

import multiprocessing
import os
import time
from typing import Any, NamedTuple


class Measured(NamedTuple):
    """What a process returned, and what it took.

    Attributes:
        found: what the work returned.
        work_seconds: seconds of the work alone.
        process_seconds: seconds of the whole process, with its start and imports.
        peak_gb: its peak of memory.
    """

    found: Any
    work_seconds: float
    process_seconds: float
    peak_gb: float


def in_a_process(work, *arguments):
    """Run ``work`` in a new process that does nothing else."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    started = time.perf_counter()
    process = context.Process(target=_work, args=(theirs, work, arguments))
    process.start()
    theirs.close()
    found, seconds, peak = mine.recv()
    process.join()
    return Measured(found, seconds, time.perf_counter() - started, peak)


def _work(connection, work, arguments):
    from models.progress import peak_gigabytes

    started = time.perf_counter()
    found = work(*arguments)
    connection.send((found, time.perf_counter() - started, peak_gigabytes()))


def use_home(folder):
    """The home of a folder, which the settings of this process are then read from."""
    from alignrec_assets.home import HOME_VARIABLE, Home

    os.environ[HOME_VARIABLE] = str(folder)
    return Home(folder)
