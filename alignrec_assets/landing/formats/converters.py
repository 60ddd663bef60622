"""The converters of public data sets into landing files, chosen by the name of the format."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.formats.kuairand import convert_kuairand
from alignrec_assets.landing.formats.landing_files import copy_landing
from alignrec_assets.landing.formats.ratings import convert_movielens, convert_movietweetings
from alignrec_assets.landing.formats.sources import Source
from alignrec_assets.landing.formats.writing import Ingested
from alignrec_assets.landing.survey import check_format
from alignrec_assets.settings.sections import LandingSettings
from models.progress import Log, silent

FORMATS: dict[str, Callable[[Source, Path, Log], Ingested]] = {
    "movietweetings": convert_movietweetings,
    "movielens": convert_movielens,
    "kuairand": convert_kuairand,
    "landing": copy_landing,
}
"""Converters by format: from source, landing folder and log to what was written."""


def convert(
    format: str,
    source: Path,
    landing: Path,
    settings: LandingSettings,
    *,
    tag_names: Path | None = None,
    log: Log = silent,
) -> Ingested:
    """Turn a data set into landing files; running it twice writes the same bytes.

    Args:
        format: a key of ``FORMATS``.
        source: folder of the data set.
        landing: landing folder of the home.
        settings: what counts as missing, and the share of rows that may be rejected.
        tag_names: CSV file of tag id and name, for data sets whose tags are ids (kuairand).
        log: told of each long step.

    Raises:
        LandingError: an unknown format, or a file or column of the source that is missing or unreadable, or too
            many rows that cannot be read; the landing folder is unchanged.
    """
    if format not in FORMATS:
        raise LandingError(f"unknown format {format!r}: one of {', '.join(FORMATS)} is needed")
    if not source.is_dir():
        raise LandingError(f"{source} is not a folder: name the folder that holds the {format} files")
    if tag_names is not None and format != "kuairand":
        raise LandingError(f"a file of tag names ({tag_names}) is of use for kuairand only: leave it out for {format}")
    check_format(landing)
    landing.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=landing, prefix=".ingest-") as scratch:
        log(f"reading {source}")
        return FORMATS[format](Source(source, Path(scratch), settings, tag_names), landing, log)
