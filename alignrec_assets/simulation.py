"""The simulated platform as a data source: its days as landing files, and how far it has got.

A platform is a function of its options, so a simulation that was interrupted is taken up by simulating the finished
days again in memory, which takes seconds, and writing the same files.
"""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from alignrec_assets.candidates import DISTRIBUTION_FILE
from alignrec_assets.home import Home
from alignrec_assets.interests import read_assignments
from alignrec_assets.warehouse import Warehouse, read_records
from models.exploration_policy import TablePolicy
from models.files import replacing, write_json
from models.progress import Log, Progress
from models.transition_table import TransitionTable

if TYPE_CHECKING:
    from models.arena.platform import Platform, PlatformOptions
    from models.arena.traffic import Traffic

MARKER = "simulation.json"


class OtherSimulationError(ValueError):
    """The home holds the logs of another simulated platform."""


class Simulation:
    """A simulated platform in the landing zone of a home.

    Args:
        home: the home.
        options: of the platform.
        quiet_days: days without exploration, before the first table is published.
        days: days in all.

    Raises:
        OtherSimulationError: the landing zone holds other options' logs.
    """

    def __init__(self, home: Home, options: "PlatformOptions", quiet_days: int, days: int) -> None:
        self.home = home
        self.options = options
        self.quiet_days = quiet_days
        self.days = days
        self.marker = home.landing / MARKER
        self.identity = json.loads(json.dumps({**vars(options), "quiet": quiet_days, "days": days}, default=str))
        self._check_identity()

    @property
    def progress(self) -> dict[str, Any]:
        """What the marker file says: the days written, and the table that the second part was served from."""
        if not self.marker.exists():
            return {"platform": self.identity, "days_written": 0, "table_version": None}
        return dict(json.loads(self.marker.read_text(encoding="utf-8")))

    @property
    def truth(self) -> Path:
        """True positive rates of every history and cluster at the end: for reports alone, no asset reads them."""
        return self.home.reports / "simulation_truth.parquet"

    @property
    def finished(self) -> bool:
        """Whether every day is in the landing zone."""
        return int(self.progress["days_written"]) >= self.days and self.truth.exists()

    @property
    def quiet_finished(self) -> bool:
        """Whether every day without exploration is in the landing zone."""
        return int(self.progress["days_written"]) >= self.quiet_days

    def last_day(self, days: int) -> date:
        """The last of the first ``days`` days."""
        return self.options.first_day + timedelta(days=days - 1)

    def write_quiet_days(self, log: Log) -> None:
        """Write the catalogue and the days before the first table."""
        from models.arena.platform import Platform

        platform = Platform(self.options)
        _write(platform.items(), self.home.landing / "items" / "part-0.parquet")
        self._write_days(platform, 0, self.quiet_days, None, log)

    def write_explored_days(self, table_version: str, slice_share: float, log: Log) -> None:
        """Write the days whose exploration slot is served from a published table."""
        from models.arena.platform import Platform

        write_json(self.marker, {**self.progress, "table_version": table_version})
        platform = Platform(self.options)
        for number in range(self.quiet_days):
            platform.simulate_day(self.options.first_day + timedelta(days=number))
        policy = self._policy(table_version, slice_share)
        self._write_days(platform, self.quiet_days, self.days, policy, log)
        _write(platform.true_positive_rates(policy.item_clusters, policy.K), self.truth)

    def _write_days(self, platform: "Platform", first: int, end: int, policy: TablePolicy | None, log: Log) -> None:
        progress = Progress(end - first, "days", log)
        counts = {"events": 0, "feedback": 0, "outcomes": 0}
        for number in range(first, end):
            day = self.options.first_day + timedelta(days=number)
            traffic = platform.simulate_day(day, policy)
            for kind, rows in self._write_day(day, traffic).items():
                counts[kind] += rows
            write_json(self.marker, {**self.progress, "days_written": max(number + 1, self.progress["days_written"])})
            progress.advance()
        written = ", ".join(f"{rows:,} {kind}" for kind, rows in counts.items() if rows)
        log(f"simulated days {self.last_day(first + 1)} to {self.last_day(end)}: {written}")

    def _write_day(self, day: date, traffic: "Traffic") -> dict[str, int]:
        frames = {"events": traffic.events, "feedback": traffic.feedback, "outcomes": traffic.outcomes}
        rows = {}
        for kind, frame in frames.items():
            if frame is not None and frame.height:
                _write(frame, self.home.landing / kind / f"day={day}" / "part-0.parquet")
                rows[kind] = frame.height
        return rows

    def _policy(self, table_version: str, slice_share: float) -> TablePolicy:
        table = TransitionTable.open(self.home.published, table_version)
        with Warehouse(self.home).reading() as connection:
            pools = read_records(connection, "candidates.pools")[""].details["folder"]
        distribution = pl.read_parquet(self.home.path / pools / DISTRIBUTION_FILE)
        assigned = read_assignments(self.home, str(table.manifest["taxonomy"]))
        item_clusters = dict(zip(assigned["item_id"].to_list(), assigned["cluster_id"].to_list(), strict=True))
        return TablePolicy(table, distribution, slice_share, item_clusters)

    def _check_identity(self) -> None:
        found = self.progress["platform"]
        if found != self.identity:
            raise OtherSimulationError(
                f"{self.home.landing} holds the logs of another simulated platform ({found}): use another home "
                f"(ALIGNREC_HOME), or delete {self.home.path}"
            )


def _write(frame: pl.DataFrame, path: Path) -> None:
    with replacing(path) as partial:
        frame.write_parquet(partial)
