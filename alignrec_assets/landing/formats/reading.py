"""Fields of source files: how the text of each kind of field becomes values.

A value is null where the text is missing, or where it cannot be read.
"""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from alignrec_assets.landing.ids import BLANKS

_LOG_TIMES = (0, 4_102_444_800)
"""Seconds since 1970 that can be the time of a row: until 2100."""
_ZERO, _WHOLE_NUMBER = r"^[+-]?0+\.0*$", r"^\+?(-?)0*([0-9]+)\.0*$"
_MAYBE_NO_ID = r"(?i)\.|e[+-]|nan|inf"
_ROUNDED = r"^[+-]?(?:[0-9]+\.[0-9]+e\+?[0-9]+|[0-9]+e\+[0-9]+|[0-9]{16,}\.0*)$"
"""Numbers that a floating-point type may have rounded."""
_NO_WHOLE = r"(?i)^[+-]?(?:[0-9]*\.[0-9]+(?:e-[0-9]+)?|[0-9]+e-[0-9]+|nan|inf|infinity)$"
"""Fractions, and what is not a number."""
_FLAGS = {"0": False, "1": True, "false": False, "true": True}


@dataclass(frozen=True)
class Field:
    """A field of a source file.

    Attributes:
        column: its column there.
        parse: from text to values. The text has no blanks around it; it is null where the field is missing.
        wanted: completes the sentence "the text is not ...".
        required: whether a row without it is rejected.
        free_text: whether any words may stand there, such as "None" for a title.
    """

    column: str
    parse: Callable[[pl.Series], pl.Series]
    wanted: str
    required: bool = False
    free_text: bool = False


def identifier(column: str) -> Field:
    """The id of a user, an item or a request; a whole number such as ``5.0`` is its integer's text."""
    return Field(column, _ids, "an id: fractions and rounded numbers cannot be one", required=True)


def words(column: str, *, required: bool = False) -> Field:
    """Text for people."""
    return Field(column, lambda text: text, "text", required=required, free_text=True)


def moment(column: str, *, per_second: int) -> Field:
    """Seconds or milliseconds since 1970, as a UTC moment without zone."""

    def parse(text: pl.Series) -> pl.Series:
        units = _integers(text)
        earliest, latest = (second * per_second for second in _LOG_TIMES)
        return (units.set(~units.is_between(earliest, latest), None) * (1_000_000 // per_second)).cast(
            pl.Datetime("us")
        )

    unit = {1: "seconds", 1000: "milliseconds"}[per_second]
    return Field(column, parse, f"a time in whole {unit} since 1970, before 2100", required=True)


def number(column: str, *, required: bool = False) -> Field:
    """A finite number."""
    return Field(column, _numbers, "a number", required=required)


def amount(column: str) -> Field:
    """A finite number of at least 0."""

    def parse(text: pl.Series) -> pl.Series:
        values = _numbers(text)
        return values.set(values < 0, None)

    return Field(column, parse, "a number of at least 0")


def flag(column: str, *, required: bool = False) -> Field:
    """0 or 1, or false or true."""

    def parse(text: pl.Series) -> pl.Series:
        plain = _without_zero_fraction(text).str.to_lowercase()
        return plain.replace_strict(_FLAGS, default=None, return_dtype=pl.Boolean)

    return Field(column, parse, "0 or 1", required=required)


def calendar_day(column: str) -> Field:
    """A day such as 2022-04-01, with or without a time of day, as its first moment."""

    def parse(text: pl.Series) -> pl.Series:
        day = text.str.extract(r"^(\d{4}-\d{2}-\d{2})(?:[T ][\d:.]+)?$")
        return day.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))

    return Field(column, parse, "a day such as 2022-04-01")


def without_blanks(text: pl.Series, missing: tuple[str, ...]) -> pl.Series:
    """Text without blanks around it, of any script; null where nothing is left, or one of the words for nothing."""
    bare = text.str.strip_chars(BLANKS)
    nothing = bare.is_in(["", *missing])
    return bare.set(nothing, None) if nothing.any() else bare


def _ids(text: pl.Series) -> pl.Series:
    if not text.str.contains(_MAYBE_NO_ID).any():
        return text
    rounded = text.str.contains(_ROUNDED)
    whole = _without_zero_fraction(text)
    return whole.set(rounded | whole.str.contains(_NO_WHOLE), None)


def _without_zero_fraction(text: pl.Series) -> pl.Series:
    """``5`` for ``5.0``: tools whose integers cannot be missing write them as numbers with a point."""
    if not text.str.contains(".", literal=True).any():
        return text
    return text.str.replace(_ZERO, "0").str.replace(_WHOLE_NUMBER, "${1}${2}")


def _integers(text: pl.Series) -> pl.Series:
    return _without_zero_fraction(text).cast(pl.Int64, strict=False)


def _numbers(text: pl.Series) -> pl.Series:
    values = text.cast(pl.Float64, strict=False)
    return values.set(~values.is_finite(), None)
