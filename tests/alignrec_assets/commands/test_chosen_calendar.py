"""The calendar that a log tells, and the partition that suits its density."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignrec_assets.commands.chosen_calendar import CalendarError, Span, told_calendar, told_partition

FIRST = date(2015, 1, 1)


def daily(days, rows=10, first=FIRST):
    return {first + timedelta(days=day): rows for day in range(days)}


def test_one_row_of_1970_does_not_make_a_calendar_of_seventeen_thousand_days(comes_out):
    rows = daily(731) | {date(1970, 1, 1): 1}
    with pytest.raises(CalendarError) as told:
        told_calendar(rows)
    assert str(told.value) == (
        "1 of 7,311 rows (0.01%; 1970-01-01) makes a calendar of 17,167 days, 1970-01-01 to 2016-12-31; without it the "
        "log has 731 days, 2015-01-01 to 2016-12-31. Correct the times, or name the days that count"
    )
    comes_out("calendar", "one row of 1970 in a log of 2015 and 2016", str(told.value))


def test_handfuls_on_both_sides_are_named_together():
    early = {date(1970, 1, 1): 2, date(1980, 1, 1): 1, date(1999, 12, 31): 1}
    with pytest.raises(CalendarError, match=r"^5 of 1,005 rows \(0.50%; 1970-01-01, 1980-01-01, 1999-12-31 and 1 more"):
        told_calendar(daily(100) | early | {date(2038, 1, 19): 1})


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param({FIRST: 1}, id="one row"),
        pytest.param({FIRST: 1, FIRST + timedelta(days=900): 1}, id="two rows"),
        pytest.param({FIRST + timedelta(days=day * day): 1 for day in range(25)}, id="few rows, ever farther apart"),
        pytest.param(daily(30) | daily(30, first=FIRST + timedelta(days=400)), id="two seasons"),
        pytest.param(daily(20, 1) | daily(5, 10_000, FIRST + timedelta(days=20)), id="a platform that began small"),
        pytest.param(daily(100) | {FIRST - timedelta(days=40): 1}, id="a stray row that is near"),
    ],
)
def test_the_days_of_an_ordinary_log_are_its_first_and_last(rows):
    assert told_calendar(rows) == Span(min(rows), max(rows))


@given(st.dictionaries(st.dates(date(2000, 1, 1), date(2004, 1, 1)), st.integers(1, 5), min_size=1, max_size=60))
def test_a_log_is_taken_whole_or_refused_for_a_hundredth_of_its_rows_or_one_on_either_side(rows):
    try:
        assert told_calendar(rows) == Span(min(rows), max(rows))
    except CalendarError as error:
        few, total = int(str(error).split()[0]), sum(rows.values())
        assert few <= 2 * max(1, total // 100)


@pytest.mark.parametrize(
    ("rows", "days", "unit", "reason"),
    [
        (2_000, 20, "day", "2,000 rows in 20 days are 100 a day, and 100 suffice"),
        (1_999, 20, "week", "1,999 rows in 20 days are 700 a week, and 100 suffice"),
        (500, 731, "month", "500 rows in 731 days are only 5 a week, and 100 are wanted"),
        (99, 1, "month", "99 rows in 1 days are only 99 a week, and 100 are wanted"),
    ],
)
def test_a_partition_holds_a_hundred_rows_in_the_mean_where_it_can(rows, days, unit, reason):
    assert told_partition(rows, days) == (unit, reason)
