"""Work in a process of its own, so that its time and memory are its own too."""

import multiprocessing
import os
import sys
import time
from typing import Any, NamedTuple
from unittest.mock import patch


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


def in_a_process(work, *arguments, environment=None):
    """Run ``work`` in a new process that does nothing else; it starts with these variables beside its parent's."""
    started = time.perf_counter()
    process, connection = start_process(_work, work, arguments, environment=environment)
    try:
        found, seconds, peak = connection.recv()
    except EOFError:
        sys.exit(f"{work.__name__} failed, see above")
    process.join(timeout=30)
    process.kill()  # vLLM's own processes may outlive their work
    return Measured(found, seconds, time.perf_counter() - started, peak)


def start_process(work, *arguments, environment=None):
    """Start ``work(*arguments, connection)`` in a new process; returns it and the parent's end of the connection."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=work, args=(*arguments, theirs))
    with patch.dict(os.environ, environment or {}):  # libraries of LD_PRELOAD are read when a process starts
        process.start()
    theirs.close()
    return process, mine


def _work(work, arguments, connection):
    from models.progress import peak_gigabytes

    started = time.perf_counter()
    found = work(*arguments)
    connection.send((found, time.perf_counter() - started, peak_gigabytes()))


def use_home(folder):
    """The home of a folder, which the settings of this process are then read from."""
    from alignrec_assets.home import HOME_VARIABLE, Home

    os.environ[HOME_VARIABLE] = str(folder)
    return Home(folder)
