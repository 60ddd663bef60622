"""The calendar of the home as partitions, in UTC: a day, a week or a month of the log each, called by its first day."""

from datetime import date, timedelta

import dagster as dg

from alignrec_assets.settings.sections import CalendarSettings, Partition

FIRST_DAY_TAG = "dagster/asset_partition_range_start"
LAST_DAY_TAG = "dagster/asset_partition_range_end"
"""Dagster's own tags of a run over a range of partitions."""
MIDNIGHTS: dict[Partition, str] = {"day": "0 0 * * *", "week": "0 0 * * 1", "month": "0 0 1 * *"}
"""When a partition begins, as cron writes it."""
SHORTEST: dict[Partition, int] = {"day": 1, "week": 7, "month": 28}
LONGEST: dict[Partition, int] = {"day": 1, "week": 7, "month": 31}
"""Days of a partition."""


def partition_of(day: date, partition: Partition) -> date:
    """The partition that a day belongs to."""
    if partition == "day":
        return day
    return day.replace(day=1) if partition == "month" else day - timedelta(days=day.weekday())


def partition_after(first: date, partition: Partition) -> date:
    """The partition that follows another one."""
    return partition_of(first + timedelta(days=LONGEST[partition]), partition)


def last_day_of(first: date, partition: Partition) -> date:
    """The last day of a partition."""
    return partition_after(first, partition) - timedelta(days=1)


def window_start(day: date, days: int, partition: Partition) -> date:
    """The first partition of a window of so many days that ends with the first day of the partition of a day."""
    return partition_of(partition_of(day, partition) - timedelta(days=days - 1), partition)


def partitions_back(days: int, partition: Partition) -> int:
    """How many partitions lie at most between the beginning of such a window and its end."""
    return -(-(days - 1) // SHORTEST[partition])


def days_of(calendar: CalendarSettings) -> dg.TimeWindowPartitionsDefinition:
    """All partitions of a closed log; of an open one every day that is over, or the weeks or months up to today's."""
    partition, last = calendar.partition, calendar.last_day
    return dg.TimeWindowPartitionsDefinition(
        start=partition_of(calendar.first_day, partition).isoformat(),
        end=partition_after(partition_of(last, partition), partition).isoformat() if last else None,
        fmt="%Y-%m-%d",
        cron_schedule=MIDNIGHTS[partition],
        timezone="UTC",
        end_offset=0 if last or partition == "day" else 1,
    )


def partition_days(calendar: CalendarSettings) -> list[date]:
    """The first day of each partition of the calendar."""
    return [date.fromisoformat(key) for key in days_of(calendar).get_partition_keys()]
