"""A public rating log as they are: few rows, many years, most days empty, users who rate in a few sittings."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

GENRES = (
    *("action", "adventure", "animation", "comedy", "crime", "documentary", "drama", "family", "fantasy", "history"),
    *("horror", "music", "mystery", "romance", "science fiction", "sport", "thriller", "war", "western"),
)
ITEMS, ROWS_PER_USER, SITTING_ROWS = 2_000, 165, 40
LAST_DAY = datetime(2018, 9, 24, tzinfo=UTC)


def write_long_log(folder, rows, years, seed=0):
    """Landing files ``items`` and ``events`` of a rating log over some years; returns its first and last day.

    A user rates in sittings of about 40 rows on neighbouring days and comes back years later or never, so that 100,000
    rows over 22 years lie on fewer than half of the days.
    """
    chance = np.random.default_rng(seed)
    days = round(years * 365.25)
    first = LAST_DAY - timedelta(days=days - 1)
    genres = chance.integers(len(GENRES), size=(ITEMS, 2))
    items = pl.DataFrame(
        {
            "item_id": [str(item) for item in range(ITEMS)],
            "title": [f"Title {item}" for item in range(ITEMS)],
            "tags": [sorted({GENRES[one], GENRES[other]}) for one, other in genres],
        }
    )
    sittings = rows // SITTING_ROWS
    user = chance.integers(max(rows // ROWS_PER_USER, 2), size=sittings)
    start = np.sort(chance.integers(days, size=sittings))
    sitting = np.repeat(np.arange(sittings), SITTING_ROWS)
    seconds = chance.integers(6 * 3600, size=len(sitting)) + 12 * 3600
    moments = [first + timedelta(days=int(start[one]), seconds=int(s)) for one, s in zip(sitting, seconds, strict=True)]
    moments[0], moments[-1] = first, LAST_DAY + timedelta(hours=12)
    liking = np.clip(chance.normal(3.5, 1.0, size=len(sitting)).round(), 1, 5)
    events = pl.DataFrame(
        {
            "user_id": [f"u{user[one]}" for one in sitting],
            "item_id": [str(item) for item in chance.zipf(1.3, size=len(sitting)) % ITEMS],
            "ts": moments,
            "rating": liking,
        }
    )
    for kind, frame in (("items", items), ("events", events)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        frame.write_parquet(folder / kind / "log.parquet")
    return first.date(), LAST_DAY.date()


def write_next_day(folder, day, rows=12):
    """One more day of the same log."""
    moment = datetime.combine(day, datetime.min.time(), tzinfo=UTC) + timedelta(hours=12)
    pl.DataFrame(
        {
            "user_id": [f"u{row}" for row in range(rows)],
            "item_id": [str(row) for row in range(rows)],
            "ts": [moment + timedelta(minutes=row) for row in range(rows)],
            "rating": [4.0] * rows,
        }
    ).write_parquet(folder / "events" / f"{day}.parquet")
