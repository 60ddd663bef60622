"""Code versions, derived: a hash of the step that makes an asset, of the modules that it computes with, and of queries.

Nobody types which files count. A change at the far end of the imports makes the asset stale; words do not: docstrings,
comments, layout and what is logged are left out of the hash, so that they cost no training.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from alignrec_assets.warehouse.queries import query, relations
from models.files import fingerprint

PACKAGES = Path(__file__).resolve().parents[2]
STEPS = "alignrec_assets.assets"
"""Where steps stand: functions under ``@makes("the.asset")``."""
COMPUTING = ("models.", "alignrec_assets.landing.")
"""Rooms whose modules count whole, with all that they import of these rooms. The others move rows and decide when."""
TELLING = ("progress", "drawing", "pictures", "quality_checks", "gates")
"""Modules with these names print, draw and judge: what they make is in no table and no checkpoint that is read."""
OF_OTHERS = frozenset({"bring_back_pruned_days"})
"""Functions that make rows of another asset, whose own version counts."""


@dataclass
class Reached:
    """What a step is made of: statements of ``STEPS``, by module and name, and the modules that it computes with."""

    statements: dict[tuple[str, str], ast.stmt] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)


@cache
def version_of(asset: str) -> str:
    """Version of the code that makes an asset."""
    step = reached_by(asset)
    own = [ast.unparse(step.statements[name]) for name in sorted(step.statements)]
    modules = [statements_of(module) for module in sorted(step.modules)]
    return fingerprint([own, modules, [words_of_query(name) for name in queries_of(asset)]])


def queries_of(asset: str) -> list[str]:
    """The relations of ``sql/`` that make an asset: the one of its name, and those that its code asks for by name."""
    step = reached_by(asset)
    named = named_queries(node for statement in step.statements.values() for node in ast.walk(statement))
    inner = {name for module in step.modules for name in _queries_in(module)}
    return sorted(named | inner | ({asset} & set(relations())))


@cache
def reached_by(asset: str) -> Reached:
    """The statements of the step of an asset that it reaches, near and far, and the modules that these compute with.

    Raises:
        LookupError: no step makes the asset.
    """
    found = Reached()
    waiting = [_step(asset)]
    while waiting:
        module, name = waiting.pop()
        statement = _bindings(module).get(name)
        if (module, name) in found.statements or statement is None:
            continue
        found.statements[module, name] = statement
        nodes = list(ast.walk(statement))
        imported = _imported_at_the_top(module) | _imported_names(nodes)
        for used in {node.id for node in nodes if isinstance(node, ast.Name)} - OF_OTHERS:
            source, inner = imported.get(used, (module, used))
            if source.startswith(STEPS) and not source.endswith(TELLING):
                waiting.append((source, inner))
            elif _counts(source):
                found.modules |= import_closure([source])
    return found


def import_closure(modules: Iterable[str]) -> set[str]:
    """Modules and everything of ``COMPUTING`` that they import, near and far, inside functions too."""
    waiting, found = list(modules), set[str]()
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += _imports_that_count(module)
    return found


def named_queries(nodes: Iterable[ast.AST]) -> set[str]:
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
def statements_of(module: str) -> str:
    """The statements of a module as Python would write them: nothing is left that is words alone."""
    return ast.unparse(_tree(module))


@cache
def words_of_query(name: str) -> tuple[str, ...]:
    """The tokens of a query: no comment or layout is left."""
    from sqlglot import tokenize

    return tuple(token.text for token in tokenize(query(name), read="duckdb"))


def _step(asset: str) -> tuple[str, str]:
    """Module and name of the function under ``@makes(asset)``."""
    for path in sorted(PACKAGES.joinpath(*STEPS.split(".")).glob("*.py")):
        module = f"{STEPS}.{path.stem}"
        for name, statement in _bindings(module).items():
            if isinstance(statement, ast.FunctionDef) and f"makes('{asset}')" in map(
                ast.unparse, statement.decorator_list
            ):
                return module, name
    raise LookupError(f'no function of {STEPS} is marked @makes("{asset}")')


@cache
def _bindings(module: str) -> dict[str, ast.stmt]:
    """The functions, classes and constants at the top of a module."""
    found: dict[str, ast.stmt] = {}
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id: node for each in targets for name in ast.walk(each) if isinstance(name, ast.Name)}
    return found


@cache
def _imported_at_the_top(module: str) -> dict[str, tuple[str, str]]:
    return _imported_names(_tree(module).body)


@cache
def _imports_that_count(module: str) -> frozenset[str]:
    return frozenset(source for source, _ in _imported_names(ast.walk(_tree(module))).values() if _counts(source))


@cache
def _queries_in(module: str) -> frozenset[str]:
    return frozenset(named_queries(ast.walk(_tree(module))))


def _imported_names(nodes: Iterable[ast.AST]) -> dict[str, tuple[str, str]]:
    """What import statements of this project's modules bind: by name the module, and the name in it."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                source = (inner, "") if _file(inner).is_file() else (node.module, alias.name)
                found[alias.asname or alias.name] = source
        elif isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: (alias.name, "") for alias in node.names}
    return found


def _counts(module: str) -> bool:
    return module.startswith(COMPUTING) and _file(module).is_file() and not module.endswith(TELLING)


def _beginning(argument: ast.AST) -> str:
    """A literal, or what an f-string begins with."""
    first = argument.values[0] if isinstance(argument, ast.JoinedStr) else argument
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


@cache
def _tree(module: str) -> ast.Module:
    """A module without docstrings, statements that only log, and what is imported for the type checker alone."""
    tree = ast.parse(_file(module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _is_words(each)] or [ast.Pass()]  # type: ignore[attr-defined]
    return tree


def _is_words(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return _is_log(node.value.func)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_log(function: ast.expr) -> bool:
    """Whether this is ``log`` or ``context.log.info``."""
    parts = ast.unparse(function).split(".")
    return parts == ["log"] or parts[:2] == ["context", "log"]


def _file(module: str) -> Path:
    return PACKAGES.joinpath(*module.split(".")).with_suffix(".py")
