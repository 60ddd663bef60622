"""Turns a failure into a message: what failed, where, why, and what to do.

An error is *explained* if alignrec raised it itself: its own message says all of this. Some errors of the system and of
libraries are known by kind, and an explanation stands here. Every other error is unexpected: the message says so, and
its traceback is kept in a file of the home.
"""

import errno
import os
import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from alignrec_assets.home import Home
from models.files import replacing
from models.messages import is_short, shortened

KEPT_FILES = 20
"""So many files with tracebacks and long messages are kept in a home, the newest."""
PACKAGES = [Path(__file__).resolve().parent, Path(__file__).resolve().parents[1] / "models"]
INTERRUPTIONS = {"DagsterExecutionInterruptedError", "KeyboardInterrupt", "InterruptException"}
INTERRUPTED_QUERY = "Query interrupted"
"""What Ctrl-C becomes: Dagster's, Python's and DuckDB's own error, and what DuckDB says in a plain RuntimeError."""
FULL = "the disk is full: free some space (`alignrec prune` removes what is no longer kept), and run the command again"
FORBIDDEN = "this user may not use it: change its owner or its mode, or name another home with --home"
MEMORY = "the memory does not suffice: end other programs, or choose a smaller size in the settings, and run it again"
LOCKED = "another process writes to it: wait until that has ended, and run the command again"
SYSTEM_ERRORS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EACCES: FORBIDDEN,
    errno.EPERM: FORBIDDEN,
    errno.EROFS: "the file system is read-only: mount it for writing, or name another home with --home",
    errno.ENOTDIR: "a file stands where a folder should be: move it away, or name another path",
    errno.EISDIR: "a folder stands where a file should be: move it away, or name another path",
    errno.EMFILE: "this process may not open more files: raise the limit (`ulimit -n`), and run the command again",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
}
"""What an error number of the system means, and what to do."""
KNOWN_WORDS = {
    r"No space left on device|database or disk is full": FULL,
    r"Permission denied": FORBIDDEN,
    r"database is locked": LOCKED,
    r"^(Memory|OutOfMemory)|Out of Memory|out of memory|std::bad_alloc": MEMORY,
}
"""The same for words in the messages of libraries, which give no number; a pattern begins at the name of the error."""
MISSING = "install alignrec again with all that it needs (`make setup`)"


@dataclass(frozen=True)
class Failure:
    """An error as the user is told of it.

    Attributes:
        message: what, where, why, and what to do where that is known.
        traceback: where in the code it came from, if nobody expected it; otherwise empty.
        interrupted: whether the user ended the command.
    """

    message: str
    traceback: str = ""
    interrupted: bool = False


class UnexpectedError(RuntimeError):
    """An error in a step that nobody expected, with the traceback that the step left."""

    def __init__(self, message: str, traced: str) -> None:
        super().__init__(message)
        self.traced = traced


def explain(error: BaseException) -> Failure:
    """The failure that an exception is."""
    while type(error).__name__.startswith("Dagster") and error.__cause__ is not None:
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    place = (frames[-1].filename, frames[-1].line or "") if frames else ("", "")
    if isinstance(error, UnexpectedError):
        return Failure(str(error), error.traced)
    return explain_by_name(type(error).__name__, str(error), place, "".join(traceback.format_exception(error)))


def explain_by_name(name: str, message: str, place: tuple[str, str], traced: str) -> Failure:
    """The failure that an error is of which only texts are left, such as one of a step.

    Args:
        name: its class, without the module.
        message: its own message.
        place: the file that raised it, and the line of code there.
        traced: its traceback.
    """
    message = message.strip()
    if name in INTERRUPTIONS or message == INTERRUPTED_QUERY:
        return Failure("interrupted", interrupted=True)
    if place[1].startswith("raise ") and any(Path(place[0]).is_relative_to(package) for package in PACKAGES):
        return Failure(message)
    first, *_ = message.splitlines() or [""]  # libraries add advice on themselves; the traceback has all of it
    known = _known(name, first)
    if known:
        return Failure(known)
    return Failure(f"unexpected {name}: {first}" if first else f"unexpected {name}", traced)


def place_of(stack: Sequence[str]) -> tuple[str, str]:
    """The file and the line of code where an error was raised, from the entries of a traceback as text."""
    found = re.search(r'File "(.*)", line \d+, in .*\n *(.*)', stack[-1]) if stack else None
    return (found[1], found[2]) if found else ("", "")


def _known(name: str, message: str) -> str:
    """What an error of the system or of a library means, if that is known."""
    by_system = re.match(r"\[Errno (\d+)\] (.*)", message, flags=re.DOTALL)
    if by_system and int(by_system[1]) in SYSTEM_ERRORS:
        return f"{_file_first(by_system[2])}: {SYSTEM_ERRORS[int(by_system[1])]}"
    if name == "ModuleNotFoundError":
        return f"{message}: {MISSING}"
    for words, told in KNOWN_WORDS.items():
        if re.search(words, f"{name}: {message}"):
            return f"{message or name}: {told}"
    return ""


def _file_first(told: str) -> str:
    """``No space left on device: 'a/b'`` with the file before the reason."""
    reason, _, file = told.partition(": ")
    return f"{file}: {reason}" if file else reason


def tell(failure: Failure, home: Home | None) -> str:
    """The message of a failure, of bounded length; a traceback or a long message is kept in a file of the home."""
    if not failure.traceback:
        return bounded(failure.message, home)
    kept = keep_text(home, failure.traceback)
    where = f"its traceback is in {kept}" if kept else "TRACEBACK=1 shows where it came from"
    first = shortened(failure.message, "")
    return (
        f"{first}. This is a fault of alignrec or of a library that it uses, not of yours: {where}; report it with "
        "that. What was finished stays, and the same command goes on from there."
    )


def bounded(message: str, home: Home | None) -> str:
    """A message of at most ten lines; the whole text of a longer one is in a file of the home."""
    if is_short(message):
        return message
    kept = keep_text(home, message)
    return shortened(message, f"The whole message is in {kept}." if kept else "")


def keep_text(home: Home | None, text: str) -> Path | None:
    """Write a text into the home's folder of failures, and delete the oldest there; None where there is no home."""
    if home is None or not home.path.is_dir():
        return None
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{os.getpid()}.txt"
    try:
        with replacing(home.failures / name) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
        for old in sorted(home.failures.glob("[0-9]*.txt"))[:-KEPT_FILES]:
            old.unlink(missing_ok=True)
    except OSError:  # the disk may be full: the message matters more
        return None
    return home.failures / name
