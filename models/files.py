"""Files that appear whole or not at all, and the hashes that name their content.

A killed process may leave a ``*.partial`` neighbour behind, never a half-written file under the final name.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MODEL_FOLDER = "model"  # of a checkpoint: the model itself
MANIFEST_FILE = "manifest.json"  # of a checkpoint or a published version: what it is and what made it

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""Of a published version, a checkpoint or a taxonomy."""


def checked_name(name: str, meaning: str) -> str:
    """A name of something that is a folder or a file: never a path, whoever gave it.

    Args:
        name: as a user typed it, or as it was read from a file.
        meaning: what it names and where it was given, for the message.

    Raises:
        ValueError: it is no name.
    """
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{meaning} {name!r} is no name: a name has letters, digits, '.', '_' and '-', begins with a letter or a "
            "digit, and is never a path"
        )
    return name


def content_hash(*paths: Path) -> str:
    """Hex SHA-256 over the bytes of the files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def fingerprint(value: Any) -> str:
    """16 hex digits that identify a JSON-like value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary neighbour of ``path``; on success it becomes ``path`` by one atomic rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def partial_folder(path: Path) -> Iterator[Path]:
    """Yield an empty neighbour of ``path`` for this process alone; it is deleted afterwards, unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it becomes ``path``, replacing a folder of that name.

    Another process may have made that folder in the meantime: the last one stays.
    """
    with partial_folder(path) as partial:
        yield partial
        while not move_into_place(partial, path):
            with suppress(FileNotFoundError):
                remove_folder(path)


def move_into_place(partial: Path, path: Path) -> bool:
    """Rename a folder to ``path``, unless it is a folder with files already; returns whether it was renamed."""
    try:
        partial.rename(path)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return False
    return True


def remove_folder(path: Path) -> None:
    """Delete a folder in such a way that it is never seen half deleted: a kill leaves a ``*.partial`` neighbour."""
    doomed = path.with_name(f".{path.name.lstrip('.')}-removed.{os.getpid()}.partial")
    path.rename(doomed)
    shutil.rmtree(doomed)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=2, default=str) + "\n", encoding="utf-8")
