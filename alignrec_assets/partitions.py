"""The calendar of the home as Dagster partitions: one day of the log each, in UTC."""

from datetime import timedelta

import dagster as dg

from alignrec_assets.settings.sections import CalendarSettings

FIRST_DAY_TAG = "dagster/asset_partition_range_start"
LAST_DAY_TAG = "dagster/asset_partition_range_end"
"""Dagster's own tags of a run over a range of days."""


def days_of(calendar: CalendarSettings) -> dg.DailyPartitionsDefinition:
    """Every day of a closed log; for an open one, every day that is over."""
    end = calendar.last_day + timedelta(days=1) if calendar.last_day else None
    return dg.DailyPartitionsDefinition(
        start_date=calendar.first_day.isoformat(), end_date=end.isoformat() if end else None, timezone="UTC"
    )
