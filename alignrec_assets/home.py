"""The home: one folder per data source that holds everything a run makes, and where each thing lies in it."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from models.files import checked_name, write_json

HOME_VARIABLE = "ALIGNREC_HOME"
HOMES = Path(".alignrec")
"""Default folder of homes, in the working folder: one home for each data source."""
FORMAT_VERSION = 1
"""Version of landing layout, warehouse schema and manifests; a home with a newer one is refused by name."""

UNUSABLE = re.compile(r"[?*\[\\\x00-\x1f\x7f\ud800-\udfff]|%[0-9A-Fa-f]{2}")
"""What the path of a home must not hold: SQLite's addresses, DuckDB's log and Dagster's search for its configuration
read these as signs, so that files would be written elsewhere or not be found."""


class HomeError(ValueError):
    """The home cannot be used as it is; the message names the file and the fix."""


@dataclass(frozen=True)
class Home:
    """Paths inside one home (design: data contract)."""

    path: Path

    @classmethod
    def from_environment(cls, source: str = "simulated") -> "Home":
        """The home named by ``ALIGNREC_HOME``, else that of the data source in the working folder."""
        named = os.environ.get(HOME_VARIABLE) or HOMES / checked_name(source, "the data source")
        return cls(Path(named).expanduser().resolve())

    @property
    def landing(self) -> Path:
        """Files as they arrived."""
        return self.path / "landing"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file."""
        return self.path / "warehouse.duckdb"

    @property
    def lock(self) -> Path:
        """The file whose lock every open of the warehouse takes first."""
        return self.path / "warehouse.lock"

    @property
    def checkpoints(self) -> Path:
        """``<model>/<version>/`` of everything that a model step made."""
        return self.path / "checkpoints"

    @property
    def published(self) -> Path:
        """Published versions and the pointer ``CURRENT``."""
        return self.path / "published"

    @property
    def reports(self) -> Path:
        """Reports as JSON and pictures as PNG."""
        return self.path / "reports"

    @property
    def failures(self) -> Path:
        """Tracebacks of unexpected errors, and messages too long for a terminal: the newest few."""
        return self.path / "failures"

    @property
    def settings(self) -> Path:
        """The settings file."""
        return self.path / "settings.toml"

    @property
    def dagster(self) -> Path:
        """The Dagster instance."""
        return self.path / "dagster"

    @property
    def format_file(self) -> Path:
        """Where the home records the format it was written in."""
        return self.path / "format.json"

    def create(self) -> None:
        """Make the folders and record the format.

        Raises:
            HomeError: the home was written by a newer alignrec, or the path is not a folder.
        """
        self.check()
        for folder in (self.landing, self.checkpoints, self.published, self.reports, self.dagster):
            folder.mkdir(parents=True, exist_ok=True)
        if not self.format_file.exists():
            write_json(self.format_file, {"format_version": FORMAT_VERSION})

    def check(self) -> None:
        """Refuse a home that cannot be used: its path is unusable, or a newer alignrec wrote it.

        Raises:
            HomeError: naming the path or the file, and the fix.
        """
        sign = UNUSABLE.search(str(self.path))
        if sign:
            raise HomeError(
                f"the path {str(self.path)!r} holds {sign[0]!r}, which the databases in a home read as a sign of their "
                f"own: rename that folder, or name another home with --home or {HOME_VARIABLE}"
            )
        if self.path.exists() and not self.path.is_dir():
            raise HomeError(f"{self.path} is not a folder: point {HOME_VARIABLE} at a folder for this data source")
        self._check_format()

    def _check_format(self) -> None:
        if not self.format_file.exists():
            return
        try:
            found = int(json.loads(self.format_file.read_text(encoding="utf-8"))["format_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise HomeError(
                f'{self.format_file} is damaged: it should read {{"format_version": {FORMAT_VERSION}}}'
            ) from error
        if found > FORMAT_VERSION:
            raise HomeError(
                f"{self.format_file} says format {found}, this alignrec knows formats up to {FORMAT_VERSION}: "
                "upgrade alignrec, or use another home"
            )
