"""What the landing files hold, as plain numbers from which the settings of a home are chosen.

The files are loaded as the line loads them, into a warehouse that is thrown away: only sound rows count, once each.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from alignrec_assets.home import Home
from alignrec_assets.landing.loading import PositiveRule, load_events, load_feedback, load_items
from alignrec_assets.landing.survey import survey
from alignrec_assets.landing.zone import EVERY_DAY, AttributionWindow, LandingZone
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.queries import query
from models.progress import Log


@dataclass(frozen=True)
class LogFacts:
    """What the landing files of a calendar hold.

    Attributes:
        days: of the calendar.
        items: of the catalogue.
        distinct_texts: items that differ in their texts or embeddings.
        events: sound events.
        positives: events that are positive by the rule that they were loaded with.
        judged_events: events that say more than a rating by which a rule could judge them.
        users: who have events.
        users_by_items: how many users met so many distinct items.
        ratings: how many events have each rating.
        impressions: sound exploration impressions.
        random_impressions: those of the policy ``random``.
        placed_impressions: those that name the history that they were served for.
        positive_impressions: those that are positive.
        impressions_by_items_before: how many were shown to users who had met so many distinct items before.
    """

    days: int
    items: int
    distinct_texts: int
    events: int
    positives: int
    judged_events: int
    users: int
    users_by_items: dict[int, int]
    ratings: dict[float, int]
    impressions: int
    random_impressions: int
    placed_impressions: int
    positive_impressions: int
    impressions_by_items_before: dict[int, int]


class SurveyedLog:
    """The landing files of a home whose days are known, in a warehouse of their own.

    Args:
        connection: to that warehouse.
        folder: the landing folder.
        missing_values: spellings of nothing.
        log: told of each long step.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, folder: Path, missing_values: tuple[str, ...], log: Log
    ) -> None:
        self.connection = connection
        self.folder = folder
        self.missing_values = missing_values
        self.log = log
        for kind in ("events", "feedback", "outcomes"):
            survey(connection, LandingZone(folder, EVERY_DAY, missing_values), kind)

    def rows_by_day(self) -> dict[date, int]:
        """Rows of each day that has any, on any day there is."""
        return {day: int(rows) for day, rows in self.connection.execute(query("ingest.rows_by_day")).fetchall()}

    def facts(self, zone: LandingZone, positive: PositiveRule, window: AttributionWindow) -> LogFacts:
        """What the days of the zone's calendar hold, by a rule for positive rows.

        Raises:
            LandingError: naming the file that cannot be read.
        """
        days = [day for day in self.rows_by_day() if zone.calendar.holds(day)]
        load_items(self.connection, zone)
        load_events(self.connection, zone, days, positive, self.log)
        load_feedback(self.connection, zone, days, positive, window, self.log)
        return LogFacts(
            days=(zone.calendar.end - zone.calendar.first_day).days + 1,
            users_by_items={int(items): users for items, users in self._counts("users_by_items").items()},
            ratings=self._counts("ratings"),
            impressions_by_items_before={
                int(items): shown for items, shown in self._counts("impressions_by_items_before").items()
            },
            **self._row("catalogue"),
            **self._row("events"),
            **self._row("impressions"),
        )

    def _row(self, name: str) -> dict[str, int]:
        found = self.connection.execute(query(f"ingest.{name}"))
        (values,) = found.fetchall()
        return dict(zip([column[0] for column in found.description], map(int, values), strict=True))

    def _counts(self, name: str) -> dict[float, int]:
        return {key: int(count) for key, count in self.connection.execute(query(f"ingest.{name}")).fetchall()}


@contextmanager
def surveyed_log(home: Home, missing_values: tuple[str, ...], log: Log) -> Iterator[SurveyedLog]:
    """The landing files of a home, surveyed."""
    with (
        TemporaryDirectory(dir=home.path, prefix=".ingest-") as scratch,
        Warehouse(Home(Path(scratch))).writing() as connection,
    ):
        yield SurveyedLog(connection, home.landing, missing_values, log)
