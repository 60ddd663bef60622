"""The landing zone: its folder, the days that count, and the rules by which rows are read."""

import math
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from alignrec_assets.partitions import last_day_of, partition_of
from alignrec_assets.settings.sections import Partition


@dataclass(frozen=True)
class Calendar:
    """The days that count.

    Attributes:
        first_day: the first of them.
        end: the last of them: that of a closed log, or today in UTC, because nothing has happened after it.
        closed: whether no more rows of the last day will come.
        partition: what is read at once, and what ``day`` of a raw row is the first day of.
    """

    first_day: date
    end: date
    closed: bool
    partition: Partition = "day"

    def holds(self, day: date) -> bool:
        """Whether a day counts."""
        return self.first_day <= day <= self.end

    @property
    def first_partition(self) -> date:
        """The partition of its first day."""
        return partition_of(self.first_day, self.partition)

    @property
    def parameters(self) -> dict[str, Any]:
        """Its first and last day as parameters of the queries in ``sql/landing``."""
        return {"first_day": self.first_day, "end": self.end}

    @property
    def partition_parameters(self) -> dict[str, Any]:
        """The same, for queries that tell the partition of a row."""
        return {**self.parameters, "partition": self.partition}

    def around(self, first: date, before: int, after: int) -> tuple[date, date]:
        """The first and the last day of a partition and of so many days before and after it."""
        return first - timedelta(days=before), last_day_of(first, self.partition) + timedelta(days=after)


EVERY_DAY = Calendar(date.min, date.max, closed=True)


@dataclass(frozen=True)
class AttributionWindow:
    """When an outcome counts for an impression.

    Attributes:
        hours: it follows within this time,
        tolerance_s: or comes at most this many seconds before, because the clocks of two machines differ.
    """

    hours: float = 0.0
    tolerance_s: float = 0.0

    @property
    def days_after(self) -> int:
        """How many days after the day of an impression its outcomes may lie on."""
        return math.ceil(self.hours / 24)

    @property
    def days_before(self) -> int:
        """How many days before the day of an impression its outcomes may lie on."""
        return 1 if self.tolerance_s else 0


@dataclass(frozen=True)
class LandingZone:
    """Where landing files are, and how they are read.

    Attributes:
        folder: the landing folder of the home.
        calendar: rows of other days are out of scope.
        missing_values: spellings of nothing.
    """

    folder: Path
    calendar: Calendar
    missing_values: tuple[str, ...] = ()
