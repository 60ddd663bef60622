"""A synthetic landing zone of feedback: a small catalogue, and as many impressions as asked for, written by DuckDB."""

from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl

FIRST_DAY = date(2026, 1, 5)
DAYS = 30
LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)
ITEMS = 2_000
ROWS_PER_USER = 25
COPIES = 100  # every so many rows one is sent again as it was
CONFLICTS = 1_000  # and every so many one is sent again with another watch
FAULTS = 200  # and every so many one breaks the contract, in one of five ways

WORDS = """
owl marsh reef wolf|bread oven dough yeast|goal striker pitch league|chess opening rook endgame|piano jazz sax solo
comet planet orbit lens|yarn knit merino needle|clay kiln glaze wheel|climb crag rope summit|robot servo motor gear
garden prune seed compost|yoga breath pose stretch|opera aria tenor stage|drone camera shutter film|bike saddle fork hub
coffee roast espresso crema|violin bow string quartet|sail harbour knot tide|poem verse rhyme sonnet|tax fund loan bank
fossil dinosaur bone dig|puppy leash kennel treat|guitar riff amplifier chord|judo mat throw belt
"""


def write_catalogue(landing: Path) -> None:
    """Items of 24 topics, each by words of its own."""
    topics = [topic.split() for topic in WORDS.strip().replace("\n", "|").split("|")]
    rows = [(f"item{number:05}", topics[number % len(topics)], number) for number in range(ITEMS)]
    frame = pl.DataFrame(
        {
            "item_id": [item for item, _, _ in rows],
            "title": [f"{words[n % 4]} {words[n // 4 % 4]} {words[n // 16 % 4]}" for _, words, n in rows],
            "tags": [[words[n // 24 % 4], words[n // 96 % 4]] for _, words, n in rows],
            "duration_s": [30.0 + n % 300 for _, _, n in rows],
        }
    )
    (landing / "items").mkdir(parents=True)
    frame.write_parquet(landing / "items" / "items.parquet")


def write_feedback(landing: Path, rows: int, clusters: int, taxonomy: str) -> None:
    """Impressions with their outcomes in files by day, rows that are sent again in a second file of their day."""
    with duckdb.connect(config={"memory_limit": "2GB"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for day in range(DAYS):
            first, end = rows * day // DAYS, rows * (day + 1) // DAYS
            folder = landing / "feedback" / f"day={FIRST_DAY + timedelta(days=day)}"
            folder.mkdir(parents=True)
            parameters = {"first": first, "end": end, "users": rows // ROWS_PER_USER, "day": day, "clusters": clusters}
            impressions = _IMPRESSIONS.format(taxonomy=taxonomy)
            for part, wanted in (("0", impressions), ("1", _AGAIN.format(impressions=impressions))):
                connection.sql(wanted, params=parameters).write_parquet(str(folder / f"part-{part}.parquet"))


_IMPRESSIONS = f"""
    WITH drawn AS (
        SELECT
            number,
            hash(number) AS request,
            hash(number, 1) % $users AS user_number,
            hash(number, 2) % 1000 / 1000.0 AS luck,
            CASE WHEN number % {FAULTS} = 0 THEN number // {FAULTS} % 5 END AS fault
        FROM range($first, $end) AS numbers(number)
    ),
    planned AS (
        SELECT *, hash(user_number) % $clusters AS one, (hash(user_number) // 1000) % ($clusters - 1) AS other
        FROM drawn
    )
    SELECT
        printf('%016x', request) AS request_id,
        CASE WHEN fault = 0 THEN 'unknown' ELSE printf('item%05d', request % {ITEMS}) END AS item_id,
        CASE WHEN fault IS DISTINCT FROM 1 THEN 'user' || user_number END AS user_id,
        TIMESTAMPTZ '{FIRST_DAY}' + to_seconds($day * 86400 + (number * 7919) % 86400) AS ts,
        CASE WHEN fault = 2 THEN [one, one] ELSE [(one + 1 + other) % $clusters, one] END::INTEGER[] AS history,
        ((one + 1 + (other + 1 + request % ($clusters - 2)) % ($clusters - 1)) % $clusters)::INTEGER AS cluster_id,
        CASE WHEN luck < 0.1 THEN 'slice' ELSE 'table' END AS policy,
        'published' AS table_version,
        '{{taxonomy}}' AS taxonomy_version,
        (request % 5)::INTEGER AS position,
        CASE WHEN fault = 3 THEN 0.0 ELSE 0.2 END::DOUBLE AS propensity,
        CASE WHEN fault = 4 THEN -1.0 WHEN luck < 0.8 THEN floor(luck * 300) END::DOUBLE AS watch_s,
        luck > 0.6 AND luck < 0.8 AS completed,
        CASE WHEN luck < 0.8 THEN luck > 0.75 END AS liked,
        CASE WHEN luck < 0.8 THEN luck > 0.79 END AS shared,
        luck < 0.2 AS skipped
    FROM planned
"""
_AGAIN = f"""
    SELECT * REPLACE (
        CASE WHEN hash(request_id) % {CONFLICTS} = 0 THEN coalesce(watch_s, 0) + 1 ELSE watch_s END::DOUBLE AS watch_s
    )
    FROM ({{impressions}})
    WHERE hash(request_id) % {COPIES} = 1 OR hash(request_id) % {CONFLICTS} = 0
"""
