"""Reads the text files of public data sets as lazy frames, and names the file or column that is missing."""

from pathlib import Path

import polars as pl

from alignrec_assets.landing.data_contract import LandingError

_YEARS_1_TO_9999 = (-62_135_596_800, 253_402_300_799)
"""Seconds since 1970 that are a date in Python."""


def require_content(path: Path) -> None:
    """Refuse a file that is missing or empty.

    Raises:
        LandingError: naming it.
    """
    if not path.is_file():
        raise LandingError(f"{path} is missing: the folder of the data set should hold it")
    if path.stat().st_size == 0:
        raise LandingError(f"{path} is empty: fetch it again")


def scan_csv(path: Path, required: list[str]) -> pl.LazyFrame:
    """A CSV file with a header, every column as text.

    Raises:
        LandingError: naming the file that is missing, or its columns that are.
    """
    require_content(path)
    rows = pl.scan_csv(path, infer_schema=False, truncate_ragged_lines=True, glob=False)
    try:
        found = rows.collect_schema().names()
    except pl.exceptions.PolarsError as error:
        raise LandingError(f"{path} is no CSV file: its first line cannot be read") from error
    missing = [name for name in required if name not in found]
    if missing:
        raise LandingError(f"{path} lacks the column {', '.join(missing)}; its columns are: {', '.join(found[:20])}")
    return rows


def moment(column: str, *, per_second: int) -> pl.Expr:
    """A text column of time units since 1970 as a UTC moment without zone; null where it is no such time."""
    units = pl.col(column).str.strip_chars().cast(pl.Int64, strict=False)
    earliest, latest = (second * per_second for second in _YEARS_1_TO_9999)
    readable = pl.when(units.is_between(earliest, latest)).then(units)
    return (readable * (1_000_000 // per_second)).cast(pl.Datetime("us"))


def number(column: str) -> pl.Expr:
    """A text column as finite numbers; null where it is none."""
    value = pl.col(column).str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)
