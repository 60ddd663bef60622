"""The home: one folder per data source that holds everything a run makes, and where each thing lies in it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from models.files import write_json

HOME_VARIABLE = "ALIGNREC_HOME"
HOMES = Path(".alignrec")
"""Default folder of homes, in the working folder: one home for each data source."""
FORMAT_VERSION = 1
"""Version of landing layout, warehouse schema and manifests; a home with a newer one is refused by name."""


class HomeError(ValueError):
    """The home cannot be used as it is; the message names the file and the fix."""


@dataclass(frozen=True)
class Home:
    """Paths inside one home (design: data contract)."""

    path: Path

    @classmethod
    def from_environment(cls, source: str = "simulated") -> "Home":
        """The home named by ``ALIGNREC_HOME``, else that of the data source in the working folder."""
        return cls(Path(os.environ.get(HOME_VARIABLE) or HOMES / source).expanduser().resolve())

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
        if self.path.exists() and not self.path.is_dir():
            raise HomeError(f"{self.path} is not a folder: point {HOME_VARIABLE} at a folder for this data source")
        self.check_format()
        for folder in (self.landing, self.checkpoints, self.published, self.reports, self.dagster):
            folder.mkdir(parents=True, exist_ok=True)
        if not self.format_file.exists():
            write_json(self.format_file, {"format_version": FORMAT_VERSION})

    def check_format(self) -> None:
        """Refuse a home that a newer alignrec wrote.

        Raises:
            HomeError: naming the file and both versions.
        """
        if not self.format_file.exists():
            return
        try:
            found = json.loads(self.format_file.read_text(encoding="utf-8"))["format_version"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise HomeError(
                f'{self.format_file} is damaged: it should read {{"format_version": {FORMAT_VERSION}}}'
            ) from error
        if found > FORMAT_VERSION:
            raise HomeError(
                f"{self.format_file} says format {found}, this alignrec knows formats up to {FORMAT_VERSION}: "
                "upgrade alignrec, or use another home"
            )
