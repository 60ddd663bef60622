"""Mutants of SQL: operators, bounds, sides of joins, AND and OR, ends of ranges, directions of an order, numbers."""

from collections.abc import Iterator

import sqlglot
from sqlglot.tokens import Token, TokenType

SWAPS = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "=": "<>", "<>": "=",
    "+": "-", "-": "+", "*": "/", "/": "*",
    "AND": "OR", "OR": "AND", "INNER": "LEFT", "LEFT": "INNER", "ANTI": "SEMI",
    "MIN": "MAX", "MAX": "MIN", "LEAST": "GREATEST", "GREATEST": "LEAST", "BOOL_OR": "BOOL_AND",
    "TRUE": "FALSE", "FALSE": "TRUE", "NOT": "", "DISTINCT": "", "ALL": "", "WHERE": "WHERE NOT",
}  # fmt: skip
ENDS_OF_TERMS = {TokenType.COMMA, TokenType.R_PAREN, TokenType.LIMIT, TokenType.ALIAS, TokenType.ROWS}
DIRECTIONS = {"ASC": "DESC", "DESC": "ASC"}


def sql_mutants(text: str) -> Iterator[str]:
    """The text with one fault each. Comments, and what is no operator, word or number of :data:`SWAPS`, stay."""
    tokens = sqlglot.tokenize(text, read="duckdb")
    for at, token in enumerate(tokens):
        if token.token_type == TokenType.NUMBER:
            yield _with(text, token.start, token.end, _one_more(token.text))
        elif token.token_type == TokenType.ORDER_BY:
            yield from _other_directions(text, tokens, at)
        elif token.text.upper() in SWAPS and token.token_type != TokenType.STRING and _is_fault(tokens, at):
            yield _with(text, token.start, token.end, SWAPS[token.text.upper()])


def _is_fault(tokens: list[Token], at: int) -> bool:
    """Whether the swap changes a query and leaves it one."""
    word = tokens[at].text.upper()
    before, after = ([token.text.upper() for token in part] for part in (tokens[:at], tokens[at + 1 :]))
    if word == "AND":  # that of BETWEEN is no conjunction
        return "BETWEEN" not in before[-12:] or "AND" in before[-12:][before[-12:].index("BETWEEN") :]
    if word == "*":  # all columns are no product
        return bool(before) and before[-1] not in ("SELECT", ".", "(", ",", "EXCLUDE") and after[:1] != ["REPLACE"]
    if word in ("LEFT", "INNER", "ANTI"):
        return after[:1] == ["JOIN"]
    return not (word == "ALL" and before[-1:] != ["UNION"])


def _other_directions(text: str, tokens: list[Token], order: int) -> Iterator[str]:
    """The order with the direction of one of its terms turned."""
    depth, last = 0, order
    for at in range(order + 1, len(tokens) + 1):
        ends = at == len(tokens) or (depth == 0 and tokens[at].token_type in ENDS_OF_TERMS)
        if ends and last > order:
            token = tokens[last]
            turned = DIRECTIONS.get(token.text.upper())
            yield (
                _with(text, token.start, token.end, turned)
                if turned
                else _with(text, token.end + 1, token.end, " DESC")
            )
        if at == len(tokens) or (ends and tokens[at].token_type != TokenType.COMMA):
            return
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(tokens[at].token_type, 0)
        last = at


def _one_more(number: str) -> str:
    return str(float(number) + 1) if "." in number else str(int(number) + 1)


def _with(text: str, start: int, end: int, replacement: str) -> str:
    return text[:start] + replacement + text[end + 1 :]
