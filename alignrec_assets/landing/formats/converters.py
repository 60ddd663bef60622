"""The converters of public data sets into landing files, chosen by the name of the format."""

from collections.abc import Callable
from pathlib import Path

from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.formats.kuairand import convert_kuairand
from alignrec_assets.landing.formats.landing_files import copy_landing
from alignrec_assets.landing.formats.ratings import convert_movielens, convert_movietweetings
from alignrec_assets.landing.formats.writing import Ingested
from alignrec_assets.landing.survey import check_format
from models.progress import Log, silent

FORMATS: dict[str, Callable[[Path, Path, Path | None, Log], Ingested]] = {
    "movietweetings": convert_movietweetings,
    "movielens": convert_movielens,
    "kuairand": convert_kuairand,
    "landing": copy_landing,
}
"""Converters by format: from source folder, landing folder, file of tag names or none, and log to what was written."""


def convert(
    format: str,
    source: Path,
    landing: Path,
    *,
    tag_names: Path | None = None,
    log: Log = silent,
) -> Ingested:
    """Turn a data set into landing files; running it twice writes the same bytes.

    Args:
        format: a key of ``FORMATS``.
        source: folder of the data set.
        landing: landing folder of the home.
        tag_names: CSV file of tag id and name, for data sets whose tags are ids (kuairand).
        log: told of each long step.

    Raises:
        LandingError: an unknown format, or a file or column of the source that is missing or unreadable; the landing
            folder is unchanged.
    """
    if format not in FORMATS:
        raise LandingError(f"unknown format {format!r}: one of {', '.join(FORMATS)} is needed")
    if not source.is_dir():
        raise LandingError(f"{source} is not a folder: name the folder that holds the {format} files")
    if tag_names is not None and format != "kuairand":
        raise LandingError(f"a file of tag names ({tag_names}) is of use for kuairand only: leave it out for {format}")
    check_format(landing)
    return FORMATS[format](source, landing, tag_names, log)
