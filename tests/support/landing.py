"""A small landing zone: rows written in any format, loaded as the assets load them, and read back."""

import csv
import json
from datetime import date
from pathlib import Path

import duckdb
import polars as pl

from alignrec_assets.landing.loading import PositiveRule, load_events, load_feedback, load_items
from alignrec_assets.landing.survey import survey
from alignrec_assets.landing.zone import AttributionWindow, Calendar, LandingZone
from alignrec_assets.settings.sections import LandingSettings
from alignrec_assets.warehouse.connection import create_tables

D1, D2, D3, D4 = (date(2026, 1, day) for day in (1, 2, 3, 4))
CALENDAR = Calendar(D1, D4, closed=True)
OPEN = Calendar(D1, date(2026, 2, 1), closed=False)
DAY_LONG = AttributionWindow(24.0, 5.0)
RULE = PositiveRule(watch_share=0.5, rating_at_least=4.0, liked=True, completed=True, when_unknown=False)
ITEMS = [
    {"item_id": "a", "title": "Owls", "tags": ["bird", "night"], "duration_s": 100.0},
    {"item_id": "b", "title": "Bread", "tags": ["baking"], "duration_s": 0.0},
    {"item_id": "c", "title": "Chess"},
]
EVENT = {"user_id": "u", "item_id": "a", "ts": "2026-01-02T10:00:00Z"}
IMPRESSION = {
    "request_id": "r", "item_id": "a", "user_id": "u", "ts": "2026-01-02T10:00:00Z", "history": [7, 3],
    "cluster_id": 5, "policy": "table", "table_version": "v1", "taxonomy_version": "t1",
}  # fmt: skip


def connect():
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET TimeZone = 'UTC'")
    create_tables(connection)
    return connection


def write(path: Path, rows: list[dict]) -> Path:
    """Write rows in the format of the file's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    elif path.suffix == ".csv":
        names = list(dict.fromkeys(name for row in rows for name in row))
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, names)
            writer.writeheader()
            for row in rows:
                writer.writerow({key: json.dumps(v) if isinstance(v, list) else v for key, v in row.items()})
    else:
        text = "".join(json.dumps(row, default=str) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8")
    return path


def zone_of(landing, calendar=CALENDAR):
    """The landing zone in a folder, read by the default settings."""
    return LandingZone(landing, calendar, LandingSettings().missing_values)


def load(connection, landing, days=(D1, D2, D3, D4), rule=RULE, calendar=CALENDAR, window=DAY_LONG):
    """Run every load, as the assets do; returns the reports of events and of feedback."""
    zone = zone_of(landing, calendar)
    load_items(connection, zone)
    for kind in ("events", "feedback", "outcomes"):
        survey(connection, zone, kind)
    return load_events(connection, zone, list(days), rule), load_feedback(connection, zone, list(days), rule, window)


def rows(connection, table, columns="*"):
    return sorted(connection.execute(f"FROM {table} SELECT {columns}").fetchall(), key=str)


def reasons(connection):
    return [reason for (reason,) in rows(connection, "raw.rejected_rows", "reason")]


def tables(connection):
    names = ("raw.items", "raw.events", "raw.feedback_logs", "raw.rejected_rows", "raw.landing_files")
    return {name: rows(connection, name) for name in names}
