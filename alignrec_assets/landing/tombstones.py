"""The forgotten users: a file in the landing zone lists keyed hashes of their ids, and their rows are not read again.

A plain hash would reveal an id to anyone who tries ids. The key is drawn once per landing zone and stands in the file.
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
    """The file of forgotten users cannot be used; the message names it and the fix."""


@dataclass(frozen=True)
class Tombstones:
    """The forgotten users of a landing zone.

    Attributes:
        key: is put before an id when it is hashed.
        users: what is known of each user, by hash, see ``housekeeping.traces.Trace``.
    """

    key: str
    users: dict[str, dict[str, Any]] = field(default_factory=dict)

    def hashed(self, user: str) -> str:
        """The hash that stands for a user, by the id as ``clean_id`` writes it."""
        return hashlib.sha256(f"{self.key}{user}".encode()).hexdigest()


def read_tombstones(landing: Path) -> Tombstones:
    """The forgotten users; no users and a new key where there is no file.

    Raises:
        TombstonesError: the file is damaged or of a newer format. Without it forgotten users would be read again.
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
