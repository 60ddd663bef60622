"""Brings a data set into a home: landing files, the calendar, and the rule for positive events."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignrec_assets.home import Home
from alignrec_assets.landing.formats.converters import convert
from alignrec_assets.settings.sources import load_settings, settings_in_file, update_settings_file
from models.progress import Log


def ingest_source(home: Home, data_format: str, path: Path, tag_names: Path | None, write: Log) -> None:
    """Convert a data set and write what the home must know about it to ``settings.toml``.

    The calendar of a home is widened, never narrowed. A rule for positive events that the home has stays.

    Raises:
        ValueError: an unknown format, or a data set that is not of that format; the message names the file.
    """
    home.create()
    known = settings_in_file(home)
    landing = load_settings(home).landing
    ingested = convert(data_format, path, home.landing, landing, tag_names=tag_names, log=write)
    first, last = ingested.first_day, ingested.last_day
    if "calendar" in known:
        calendar = load_settings(home).calendar
        first, last = min(first, calendar.first_day), max(last, calendar.last_day or last)
    values: dict[str, dict[str, Any]] = {"calendar": {"first_day": first, "last_day": last}}
    if ingested.positive is not None and "positive" not in known:
        values["positive"] = {name: value for name, value in asdict(ingested.positive).items() if value is not None}
    update_settings_file(home, values)
    rows = ", ".join(f"{count:,} {kind}" for kind, count in ingested.rows.items())
    write(f"{rows} from {first} to {last} in {home.landing}")
    for note in ingested.notes:
        write(note)
