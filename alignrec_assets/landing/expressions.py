"""DuckDB expressions that all readers share, and the errors that mean that the file is at fault.

The macros that they call are those of ``sql/macros/landed_values.sql``.
"""

import duckdb
from duckdb import ConstantExpression, Expression, FunctionExpression

from alignrec_assets.landing.data_contract import FREE_TEXT, IDS
from alignrec_assets.landing.ids import BLANKS

READING_FAULTS = (duckdb.InvalidInputException, duckdb.IOException, duckdb.ConversionException)


def null(type_: str) -> Expression:
    """A null of the type."""
    return ConstantExpression(None).cast(type_)


def clean_text(expression: Expression) -> Expression:
    """The value as text in the normal form C without blanks at its ends; blank is null."""
    return FunctionExpression("landed_text", expression.cast("VARCHAR"), ConstantExpression(BLANKS))


def number_as_id(number: Expression, exact_below: float) -> Expression:
    """The id that a floating-point number stands for; from ``exact_below`` on it may be a rounded one."""
    return FunctionExpression("number_as_id", number, ConstantExpression(exact_below))


def present(name: str, text: Expression, missing_values: tuple[str, ...]) -> Expression:
    """A clean text of a column: null where it is a spelling of nothing, and ids as the text of their integer."""
    if name in FREE_TEXT:
        return text
    macro = "landed_id" if name in IDS else "present_text"
    return FunctionExpression(macro, text, ConstantExpression(list(missing_values)).cast("VARCHAR[]"))
