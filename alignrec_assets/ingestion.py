"""Bringing a public data set into a home: landing files, the calendar, and the rule for what counts as positive."""

from pathlib import Path

from alignrec_assets.formats import convert
from alignrec_assets.home import Home
from alignrec_assets.running import Print
from alignrec_assets.settings import load_settings, update_settings_file


def ingest_source(home: Home, data_format: str, path: Path, tag_names: Path | None, write: Print) -> None:
    """Convert a data set and write what the home must know about it to ``settings.toml``.

    A calendar that the home has already is widened, never narrowed.

    Raises:
        ValueError: an unknown format, or a data set that is not of that format; the message names the file.
    """
    home.create()
    known = load_settings(home).calendar if home.settings.exists() else None
    ingested = convert(data_format, path, home.landing, tag_names=tag_names, log=write)
    first, last = ingested.first_day, ingested.last_day
    if known is not None and known.last_day is not None:
        first, last = min(first, known.first_day), max(last, known.last_day)
    update_settings_file(
        home, {"calendar": {"first_day": first, "last_day": last}, "positive": dict(ingested.positive)}
    )
    rows = ", ".join(f"{count:,} {kind}" for kind, count in ingested.rows.items())
    write(f"{rows} from {first} to {last} in {home.landing}")
    for note in ingested.notes:
        write(note)
