"""DuckDB expressions that all readers share, and the errors that mean that the file is at fault."""

import duckdb
from duckdb import ConstantExpression, Expression, FunctionExpression

READING_FAULTS = (duckdb.InvalidInputException, duckdb.IOException, duckdb.ConversionException)


def null(type_: str) -> Expression:
    """A null of the type."""
    return ConstantExpression(None).cast(type_)


def trimmed_text(expression: Expression) -> Expression:
    """The value as trimmed text; blank is null."""
    return FunctionExpression("nullif", FunctionExpression("trim", expression.cast("VARCHAR")), ConstantExpression(""))
