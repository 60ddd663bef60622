"""The simulated world as a data source: its days as landing files, and how many of them are written.

A world is a function of its options, so an interrupted simulation resumes by simulating the finished days again in
memory, which takes seconds, and writing the same files.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from alignrec_assets.assets.candidates import SHARDS
from alignrec_assets.home import Home
from alignrec_assets.refresh.taxonomies import read_assignments
from alignrec_assets.settings.sources import load_settings, update_settings_file
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import read_records
from models.candidates.pool_shards import read_distributions
from models.files import replacing, write_json
from models.progress import Log, Progress, peak_gigabytes
from models.serving.exploration_policy import TablePolicy
from models.serving.transition_table import TransitionTable

if TYPE_CHECKING:
    from models.arena.summary import WorldSummary
    from models.arena.traffic import Traffic
    from models.arena.world import World, WorldOptions

MARKER = "simulation.json"


class OtherSimulationError(ValueError):
    """The home holds the logs of another simulated world."""


class Simulation:
    """A simulated world in the landing zone of a home.

    Args:
        home: the home.
        options: of the world.
        quiet_days: days before the first table is published, without a plan for exploration.
        days: all days.

    Raises:
        OtherSimulationError: the landing zone holds other options' logs.
    """

    def __init__(self, home: Home, options: "WorldOptions", quiet_days: int, days: int) -> None:
        self.home = home
        self.options = options
        self.quiet_days = quiet_days
        self.days = days
        self.marker = home.landing / MARKER
        self.identity = json.loads(json.dumps({**asdict(options), "quiet": quiet_days, "days": days}, default=str))
        self._check_identity()

    @property
    def progress(self) -> dict[str, Any]:
        """What the marker file says: the days written, and the version that the later days were served from."""
        if not self.marker.exists():
            return {"world": self.identity, "days_written": 0, "table_version": None}
        return dict(json.loads(self.marker.read_text(encoding="utf-8")))

    @property
    def truth(self) -> Path:
        """True rates of every history and cluster at the end. Only reports read them, no asset does."""
        return self.home.reports / "simulation_truth.parquet"

    @property
    def finished(self) -> bool:
        """Whether all days are in the landing zone, and the true rates are written where days were explored."""
        complete = int(self.progress["days_written"]) >= self.days
        return complete and (self.truth.exists() or self.quiet_days == self.days)

    @property
    def quiet_finished(self) -> bool:
        """Whether all days without a plan are in the landing zone."""
        return int(self.progress["days_written"]) >= self.quiet_days

    def last_day(self, days: int) -> date:
        """The last of the first ``days`` days."""
        return self.options.first_day + timedelta(days=days - 1)

    def write_quiet_days(self, world: "World", log: Log, watch: "Callable[[Traffic], None] | None" = None) -> None:
        """Write the days of a new world before the first table; ``watch`` receives the traffic of each day."""
        self._write_days(world, 0, self.quiet_days, None, log, watch)

    def write_explored_days(self, table_version: str, slice_share: float, log: Log) -> None:
        """Write the days on which exploration is served from a published table."""
        from models.arena.world import World

        write_json(self.marker, {**self.progress, "table_version": table_version})
        world = World(self.options)
        for _ in range(self.quiet_days):
            world.simulate_day(world.next_day)
        policy = self._policy(table_version, slice_share)
        self._write_days(world, self.quiet_days, self.days, policy, log, None)
        _write(world.truth().history_rates(policy.item_clusters, policy.K), self.truth)

    def _write_days(
        self,
        world: "World",
        first: int,
        end: int,
        policy: TablePolicy | None,
        log: Log,
        watch: "Callable[[Traffic], None] | None",
    ) -> None:
        write_json(self.marker, self.progress)  # before any file: logs without a marker are not ours
        progress = Progress(end - first, "days", log)
        counts = {"items": 0, "events": 0, "feedback": 0, "outcomes": 0}
        for number in range(first, end):
            day = world.next_day
            traffic = world.simulate_day(day, policy)
            for kind, rows in self._write_day(day, traffic).items():
                counts[kind] += rows
            if watch is not None:
                watch(traffic)
            write_json(self.marker, {**self.progress, "days_written": max(number + 1, self.progress["days_written"])})
            progress.advance()
        written = ", ".join(f"{rows:,} {kind}" for kind, rows in counts.items() if rows)
        log(f"simulated days {self.last_day(first + 1)} to {self.last_day(end)}: {written}")

    def _write_day(self, day: date, traffic: "Traffic") -> dict[str, int]:
        """Write one day's files; returns the rows of each kind."""
        files = {
            "items": (traffic.items, f"items/{day}.parquet"),
            "events": (traffic.events, f"events/day={day}/part-0.parquet"),
            "feedback": (traffic.feedback, f"feedback/day={day}/part-0.parquet"),
            "outcomes": (traffic.outcomes, f"outcomes/day={day}/part-0.parquet"),
        }
        for frame, name in files.values():
            if frame.height:
                _write(frame, self.home.landing / name)
        return {kind: frame.height for kind, (frame, _) in files.items()}

    def _policy(self, table_version: str, slice_share: float) -> TablePolicy:
        table = TransitionTable.open(self.home.published, table_version)
        with Warehouse(self.home).reading() as connection:
            pools = read_records(connection, "candidates.pools")[""].details["folder"]
        distributions = read_distributions(self.home.path / pools / SHARDS)
        assigned = read_assignments(self.home, str(table.manifest["taxonomy"]))
        item_clusters = dict(zip(assigned["item_id"].to_list(), assigned["cluster_id"].to_list(), strict=True))
        skip_known = load_settings(self.home).serving.skip_known
        return TablePolicy(table, distributions, slice_share, item_clusters, skip_known=skip_known)

    def _check_identity(self) -> None:
        if not self.marker.exists() and any(self.home.landing.rglob("*.*")):
            raise OtherSimulationError(
                f"{self.home.landing} holds logs that no simulation wrote: use another home (ALIGNREC_HOME)"
            )
        found = self.progress.get("world")
        if found != self.identity:
            raise OtherSimulationError(
                f"{self.home.landing} holds the logs of another simulated world ({found}): use another home "
                f"(ALIGNREC_HOME), or delete {self.home.path}"
            )


def simulate_world(home: Home, options: "WorldOptions", days: int, contest_seeds: int, write: Log) -> None:
    """Fill the landing zone of a home with a world's first ``days`` days, set its calendar, and report on the world.

    Args:
        home: the home; an interrupted simulation of the same options is resumed.
        options: of the world.
        days: how many.
        contest_seeds: also compare predictors in worlds of this many seeds and every mix; 0: do not.
        write: receives the lines.

    Raises:
        OtherSimulationError: the home holds the logs of another world.
    """
    from models.arena.pictures import draw_world

    started = time.monotonic()
    home.create()
    simulation = Simulation(home, options, days, days)
    update_settings_file(home, {"calendar": {"first_day": options.first_day, "last_day": simulation.last_day(days)}})
    k = load_settings(home).candidates.k
    summary = _summarised_days(simulation, k, write)
    draw_world(summary, home.reports / "world.png")
    figures = dict(summary.figures)
    report: dict[str, Any] = {"name": "world", "days": summary.days}
    if contest_seeds:
        contests = _drawn_contests(home, options, days, contest_seeds, k, write)
        figures |= {"contests": contests.height, "contests_in_order": int(contests["in_order"].sum())}
        report["contests"] = contests.to_dicts()
    figures |= {"seconds": round(time.monotonic() - started, 1), "peak_gb": round(peak_gigabytes(), 2)}
    report |= {
        "figures": figures,
        "settings": simulation.identity,
        "seed": options.seed,
        "command": _command(options, days, contest_seeds),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(home.reports / "world.json", report)
    for line in _summary_lines(home, figures):
        write(line)


def _summarised_days(simulation: Simulation, k: int, write: Log) -> "WorldSummary":
    """Write the days of the world, and summarise their traffic."""
    from models.arena.predictors import TopicLog
    from models.arena.summary import summarise
    from models.arena.world import World

    world = World(simulation.options)
    log, items = TopicLog(world), []

    def watch(traffic: "Traffic") -> None:
        log.add(traffic)
        items.append(traffic.items)

    simulation.write_quiet_days(world, write, watch)
    return summarise(world, log, pl.concat(items), k, write)


def _drawn_contests(home: Home, options: "WorldOptions", days: int, seeds: int, k: int, write: Log) -> pl.DataFrame:
    """Compare predictors in worlds of several seeds and mixes, and draw the comparison."""
    from models.arena.pictures import draw_contests
    from models.arena.predictors import MIXES, contests_over_worlds

    write(f"contests in worlds of {seeds} seeds and {len(MIXES)} mixes")
    contests = contests_over_worlds(options, days, seeds, MIXES, k, write)
    draw_contests(contests, home.reports / "world_contests.png")
    return contests


def _command(options: "WorldOptions", days: int, contest_seeds: int) -> str:
    return (
        f"alignrec simulate --users {options.users} --days {days} --items {options.items} "
        f"--topics {options.topics} --mix {options.mix} --correlation {options.correlation} "
        f"--random-exposures {options.random_shelf} --seed {options.seed} --first-day {options.first_day} "
        f"--contest-seeds {contest_seeds}"
    )


def _summary_lines(home: Home, figures: dict[str, float]) -> list[str]:
    from models.arena.predictors import PREDICTORS
    from models.arena.responses import SIGNALS

    rates = ", ".join(f"{signal} {figures[f'{signal}_rate']:.1%}" for signal in SIGNALS)
    contest = [f"  {name.replace('_', ' '):<16}{figures[f'explained_{name}']:>6.2f}" for name in PREDICTORS]
    held = (
        [f"  in the same order (words aside) in {figures['contests_in_order']} of {figures['contests']} worlds"]
        if "contests" in figures
        else []
    )
    return [
        "",
        f"WORLD of {figures['users']:,} users and {figures['items']:,} items: {figures['plays']:,} organic plays, "
        f"{figures['plays_of_top_fifth']:.0%} of all plays by a fifth of the users",
        f"  responses to organic plays: {rates}",
        f"  random exposures: {figures['exposures']:,}, {figures['exposure_positive_rate']:.1%} positive",
        f"  feedback loop: share of plays in a user's three favourite topics {figures['favourite_share_first']:.2f} "
        f"at first, {figures['favourite_share_last']:.2f} at last",
        f"  clusters from the text alone against the topics: adjusted Rand index {figures['adjusted_rand_index']:.2f}",
        "",
        f"WHAT PREDICTORS FIND of the topics a user would like next (random 0: {figures['rate_random']:.3f} positive; "
        f"oracle 1: {figures['rate_oracle']:.3f})",
        *contest,
        *held,
        "",
        f"{figures['seconds']:.0f} s, {figures['peak_gb']:.1f} GB at most. {home.landing} holds the logs, "
        f"{home.reports / 'world.png'} the picture.",
        f"Next: .venv/bin/alignrec run --home {home.path}",
    ]


def _write(frame: pl.DataFrame, path: Path) -> None:
    with replacing(path) as partial:
        frame.write_parquet(partial)
