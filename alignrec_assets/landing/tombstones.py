"""Who was forgotten: a file in the landing zone names users by keyed hashes, and rows of theirs are not read again.

A plain hash of an id can be found by trying ids; the key is drawn once per landing zone and lies beside the hashes.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignrec_assets.home import FORMAT_VERSION
from models.files import write_json

TOMBSTONES_FILE = "FORGOTTEN"


class TombstonesError(ValueError):
    """The file of the forgotten cannot be used; the message names it and the fix."""


@dataclass(frozen=True)
class Tombstones:
    """The forgotten users of a landing zone.

    Attributes:
        key: precedes an id when it is hashed.
        users: by hash, what is known of each, see ``forgetting.Trace``.
    """

    key: str
    users: dict[str, dict[str, Any]] = field(default_factory=dict)

    def hashed(self, user: str) -> str:
        """The hash that stands for a user."""
        return hashlib.sha256(f"{self.key}{user}".encode()).hexdigest()


def read_tombstones(landing: Path) -> Tombstones:
    """The forgotten users; none, under a new key, where there is no file.

    Raises:
        TombstonesError: the file is damaged or of a newer format: reading landing files without it would bring users
            back.
    """
    path = landing / TOMBSTONES_FILE
    if not path.exists():
        return Tombstones(secrets.token_hex(32))
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        version, tombstones = found["format_version"], Tombstones(found["key"], found["users"])
    except (ValueError, KeyError, TypeError) as error:
        raise TombstonesError(f"{path} is damaged ({error}): restore it, for it keeps forgotten users out") from error
    if version > FORMAT_VERSION:
        raise TombstonesError(f"{path} has format {version}, newer than this alignrec: upgrade it")
    return tombstones


def write_tombstones(landing: Path, tombstones: Tombstones) -> None:
    """Write the file, whole or not at all."""
    landing.mkdir(parents=True, exist_ok=True)
    content = {"format_version": FORMAT_VERSION, "key": tombstones.key, "users": tombstones.users}
    write_json(landing / TOMBSTONES_FILE, content)
