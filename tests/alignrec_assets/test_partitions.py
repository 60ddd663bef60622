"""Partitions: which one a day belongs to, how far windows reach, and what Dagster is told."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignrec_assets.partitions import (
    days_of,
    last_day_of,
    partition_after,
    partition_days,
    partition_of,
    partitions_back,
    window_start,
)
from alignrec_assets.settings.sections import CalendarSettings

days = st.dates(date(1970, 1, 1), date(2040, 1, 1))
partitions = st.sampled_from(["day", "week", "month"])


@pytest.mark.parametrize(
    ("partition", "day", "first", "last"),
    [
        ("day", "2024-02-29", "2024-02-29", "2024-02-29"),
        ("week", "2024-02-29", "2024-02-26", "2024-03-03"),  # a Thursday
        ("week", "2024-12-30", "2024-12-30", "2025-01-05"),  # a Monday
        ("month", "2024-02-29", "2024-02-01", "2024-02-29"),
        ("month", "2023-12-31", "2023-12-01", "2023-12-31"),
    ],
)
def test_the_partition_of_a_day(partition, day, first, last):
    found = partition_of(date.fromisoformat(day), partition)
    assert (found.isoformat(), last_day_of(found, partition).isoformat()) == (first, last)


@given(day=days, partition=partitions)
def test_partitions_follow_one_another_without_gap(day, partition):
    first = partition_of(day, partition)
    assert first <= day <= last_day_of(first, partition)
    assert partition_of(first, partition) == first
    after = partition_after(first, partition)
    assert after == last_day_of(first, partition) + timedelta(days=1) == partition_of(after, partition)


@given(day=days, partition=partitions, length=st.integers(1, 400))
def test_a_window_holds_its_days_and_is_what_dagster_is_told(day, partition, length):
    start, first = window_start(day, length, partition), partition_of(day, partition)
    assert start <= first - timedelta(days=length - 1) < partition_after(start, partition)
    steps, partition_at = 0, start
    while partition_at < first:
        partition_at, steps = partition_after(partition_at, partition), steps + 1
    assert steps <= partitions_back(length, partition) <= steps + 1 + length // 28


@given(first=st.dates(date(2019, 1, 1), date(2024, 1, 1)), length=st.integers(0, 100), partition=partitions)
def test_the_partitions_of_a_calendar_hold_its_days(first, length, partition):
    last = first + timedelta(days=length)
    found = partition_days(CalendarSettings(first_day=first, last_day=last, partition=partition))
    assert found == sorted({partition_of(first + timedelta(days=day), partition) for day in range(length + 1)})


@pytest.mark.parametrize("partition", ["day", "week", "month"])
def test_an_open_log_ends_with_what_is_under_way(partition):
    today = datetime.now(UTC).date()
    found = days_of(
        CalendarSettings(first_day=today - timedelta(days=70), partition=partition)
    ).get_last_partition_key()
    yesterday = today - timedelta(days=1)
    assert found == (yesterday if partition == "day" else partition_of(today, partition)).isoformat()
