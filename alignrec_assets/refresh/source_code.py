"""Modules of the project as syntax: statements without words, what they import, and the queries that they name."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alignrec_assets.warehouse.queries import query, relations

PACKAGES = Path(__file__).resolve().parents[2]
Import = tuple[str, str, str]
"""A name that an import binds, the module behind it, and the name in that module (empty: the module itself)."""


@dataclass(frozen=True)
class SourceCode:
    """What counts of a module.

    Attributes:
        bindings: the functions, classes and constants at its top, by name.
        imports_at_the_top: of other modules.
        imports: all of them, inside functions too.
        queries: relations of ``sql/`` that it asks for by name.
        shape: its statements, see ``shape_of``.
    """

    bindings: dict[str, ast.stmt]
    imports_at_the_top: tuple[Import, ...]
    imports: tuple[Import, ...]
    queries: frozenset[str]
    shape: str


@cache
def read_source(module: str) -> SourceCode:
    """Read a module, without docstrings, statements that only log, and what is imported for the type checker alone."""
    tree = ast.parse(file_of(module).read_text(encoding="utf-8"))
    tree.body = list(_without_words(tree.body))
    nodes = list(_walk(tree))
    return SourceCode(
        _bindings(tree),
        tuple(imports_in(tree.body)),
        tuple(imports_in(nodes)),
        frozenset(queries_in(nodes)),
        shape_of(tree),
    )


def file_of(module: str) -> Path:
    """Where a module of the project would stand."""
    return PACKAGES.joinpath(*module.split(".")).with_suffix(".py")


def shape_of(node: object) -> str:
    """A syntax tree as text that is the same in every version of Python: fields that are empty are left out."""
    if isinstance(node, ast.AST):
        fields = ",".join(
            f"{name}={shape_of(value)}" for name, value in ast.iter_fields(node) if value not in (None, [])
        )
        return f"{type(node).__name__}({fields})"
    if isinstance(node, list):
        return f"[{','.join(map(shape_of, node))}]"
    return repr(node)


def imports_in(nodes: Iterable[ast.AST]) -> Iterator[Import]:
    """What the import statements among some nodes bind."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found = (inner, "") if file_of(inner).is_file() else (node.module, alias.name)
                yield (alias.asname or alias.name, *found)
        elif isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name, alias.name, "") for alias in node.names)


def queries_in(nodes: Iterable[ast.AST]) -> set[str]:
    """The relations in calls such as ``query("raw.events")``; of ``query(f"landing.{kind}")`` all of the schema."""
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    beginnings = {_beginning(argument) for call in calls if call.func.id == "query" for argument in call.args}  # type: ignore[attr-defined]
    return {
        name
        for name in relations()
        for known in beginnings - {""}
        if name == known or (known.endswith(".") and name.startswith(known))
    }


@cache
def words_of_query(name: str) -> tuple[tuple[str, str], ...]:
    """Kind and text of the tokens of a query: no comment or layout is left, and ``'a'`` is not ``a``."""
    from sqlglot import tokenize

    return tuple((token.token_type.name, token.text) for token in tokenize(query(name), read="duckdb"))


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node, after the words in its statements were taken out."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if isinstance(statements, list):
                setattr(node, name, list(_without_words(statements)))
        yield node
        waiting += ast.iter_child_nodes(node)


def _without_words(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    for each in statements:
        if isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING":
            yield from each.orelse
        elif not _is_words(each):
            yield each


def _is_words(node: ast.stmt) -> bool:
    """Whether a statement is a docstring, or ``log(...)`` or ``context.log.info(...)``."""
    if not isinstance(node, ast.Expr):
        return False
    if isinstance(node.value, ast.Call):
        parts = ast.unparse(node.value.func).split(".")
        return parts == ["log"] or parts[:2] == ["context", "log"]
    return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _bindings(tree: ast.Module) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id: node for each in targets for name in ast.walk(each) if isinstance(name, ast.Name)}
    return found


def _beginning(argument: ast.AST) -> str:
    """A literal, or what an f-string begins with."""
    first = argument.values[0] if isinstance(argument, ast.JoinedStr) else argument
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
