"""The calendar of a log, told from the days of its rows: a calendar that a handful of rows would set is refused."""

from dataclasses import dataclass
from datetime import date
from itertools import accumulate, pairwise

from alignrec_assets.settings.sections import Partition

HANDFUL = 0.01
"""At most this share of the rows, on either side of the log, may be a handful with wrong times."""
TIMES_LONGER = 2.0
"""A handful sets the calendar when it makes the calendar more than this many times as long."""
GAP = 0.1
"""It is parted from the other rows by days without rows: more of them than this share of the days of the others."""
SPARSE = 0.1
"""And when fewer of the days that it adds have any row: a platform that began small has rows on most days."""
ROWS_PER_PARTITION = 100
DAYS_OF_MONTH = 365.25 / 12
DAYS_OF_PARTITION = {"day": 1.0, "week": 7.0, "month": DAYS_OF_MONTH}


class CalendarError(ValueError):
    """The days of a log that only its owner can name; the message names the rows, and both calendars."""


@dataclass(frozen=True)
class Span:
    """A first and a last day."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many days there are from the first to the last."""
        return (self.last - self.first).days + 1


def told_calendar(rows: dict[date, int]) -> Span:
    """The first and last day of a log.

    Args:
        rows: how many rows each day has; days without rows are absent.

    Raises:
        CalendarError: a handful of rows would make the calendar far longer than the others do.
    """
    whole, core = Span(min(rows), max(rows)), _without_handfuls(rows)
    outside = sorted(day for day in rows if not core.first <= day <= core.last)
    if whole.days <= TIMES_LONGER * core.days or len(outside) >= SPARSE * (whole.days - core.days):
        return whole
    few, total = sum(rows[day] for day in outside), sum(rows.values())
    verb = "makes" if few == 1 else "make"
    raise CalendarError(
        f"{few:,} of {total:,} rows ({few / total:.2%}; {_shown(outside)}) {verb} a calendar of {whole.days:,} days, "
        f"{whole.first} to {whole.last}; without {'it' if few == 1 else 'them'} the log has {core.days:,} days, "
        f"{core.first} to {core.last}. Correct the times, or name the days that count"
    )


def _without_handfuls(rows: dict[date, int]) -> Span:
    """The days that are left without a handful of rows on either side, where a wide gap parts it from the rest."""
    days = sorted(rows)
    most = max(1, int(HANDFUL * sum(rows.values())))
    first, last = _beyond(days, rows, most), _beyond(days[::-1], rows, most)
    if first > last:
        return Span(days[0], days[-1])
    wide = GAP * Span(first, last).days
    return Span(_behind_gap(days, first, wide), _behind_gap(days[::-1], last, wide))


def _beyond(days: list[date], rows: dict[date, int], most: int) -> date:
    """The first of the days up to which there are more rows than a handful."""
    passed = accumulate(rows[day] for day in days)
    return next(day for day, count in zip(days, passed, strict=True) if count > most or day == days[-1])


def _behind_gap(days: list[date], until: date, wide: float) -> date:
    """The day behind the last wide gap between the days up to one of them; without such a gap the first day."""
    found = days[0]
    for before, after in pairwise(days):
        if before == until:
            break
        if abs((after - before).days) > wide:
            found = after
    return found


def _shown(days: list[date]) -> str:
    return ", ".join(map(str, days[:3])) + (f" and {len(days) - 3:,} more days" if len(days) > 3 else "")


def told_partition(rows: int, days: int) -> tuple[Partition, str]:
    """Whether partitions are days, weeks or months, and why: the finest that has enough rows in the mean."""
    finer: list[Partition] = ["day", "week"]
    for unit in finer:
        mean = rows / max(1.0, days / DAYS_OF_PARTITION[unit])
        if mean >= ROWS_PER_PARTITION:
            return unit, f"{rows:,} rows in {days:,} days are {mean:,.0f} a {unit}, and {ROWS_PER_PARTITION} suffice"
    mean = rows / max(1.0, days / DAYS_OF_PARTITION["week"])
    told = f"{rows:,} rows in {days:,} days are only {mean:,.0f} a week, and {ROWS_PER_PARTITION} are wanted"
    return "month", told
