"""Code versions, derived: a hash of the step that makes an asset, of the modules that it computes with, and of queries.

Nobody types which files count. A change at the far end of the imports makes the asset stale; words do not: docstrings,
comments, layout and what is logged are left out of the hash, so that they cost no training.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from alignrec_assets.refresh.source_code import (
    file_of,
    imports_in,
    queries_in,
    read_source,
    shape_of,
    words_of_query,
)
from alignrec_assets.warehouse.queries import relations
from models.files import fingerprint

STEPS = "alignrec_assets.assets"
"""Where steps stand: functions under ``@makes("the.asset")``."""
COMPUTING = ("models.", "alignrec_assets.landing.")
"""Rooms whose modules count whole, with all that they import of these rooms. The others move rows and decide when."""
COMPUTING_NOTHING = frozenset(
    {"models.files", "models.progress", "models.messages", "models.drawing"}
    | {f"{STEPS}.{name}" for name in ("pictures", "reports", "quality_checks", "gates")}
)
"""These move bytes, print, draw and judge: no content of a table or of a checkpoint that is read again is theirs."""
PICTURES = "pictures"
"""Modules of a room that draw are called so, or end so."""
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
    own = [shape_of(step.statements[name]) for name in sorted(step.statements)]
    modules = [read_source(module).shape for module in sorted(step.modules)]
    return fingerprint([own, modules, [words_of_query(name) for name in queries_of(asset)]])


def queries_of(asset: str) -> list[str]:
    """The relations of ``sql/`` that make an asset: the one of its name, and those that its code asks for by name."""
    step = reached_by(asset)
    named = queries_in(node for statement in step.statements.values() for node in ast.walk(statement))
    inner = {name for module in step.modules for name in read_source(module).queries}
    return sorted(named | inner | ({asset} & set(relations())))


@cache
def reached_by(asset: str) -> Reached:
    """The statements of the step of an asset that it reaches, near and far, and the modules that these compute with.

    Raises:
        LookupError: no step makes the asset, or a step imports a whole module of other steps instead of names of it.
    """
    found = Reached()
    waiting = [_step(asset)]
    while waiting:
        module, name = waiting.pop()
        statement = read_source(module).bindings.get(name)
        if (module, name) in found.statements or statement is None:
            continue
        found.statements[module, name] = statement
        nodes = list(ast.walk(statement))
        used = {node.id for node in nodes if isinstance(node, ast.Name)} - OF_OTHERS
        imported = [*read_source(module).imports_at_the_top, *imports_in(nodes)]
        waiting += [(module, each) for each in used]
        for bound, source, inner in imported:
            if bound in used and source.startswith(f"{STEPS}.") and _counts(source):
                if not inner:
                    raise LookupError(f"{module} imports the module {source}: import the names that it uses")
                waiting.append((source, inner))
            elif bound in used and source.startswith(COMPUTING) and _counts(source):
                found.modules |= import_closure([source])
    return found


def import_closure(modules: Iterable[str]) -> set[str]:
    """Modules and everything of ``COMPUTING`` that they import, near and far, inside functions too."""
    waiting, found = list(modules), set[str]()
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            sources = {source for _, source, _ in read_source(module).imports}
            waiting += [source for source in sources if source.startswith(COMPUTING) and _counts(source)]
    return found


def _step(asset: str) -> tuple[str, str]:
    """Module and name of the function under ``@makes(asset)``."""
    for path in sorted(file_of(STEPS).with_suffix("").glob("*.py")):
        module = f"{STEPS}.{path.stem}"
        for name, statement in read_source(module).bindings.items():
            decorators = statement.decorator_list if isinstance(statement, ast.FunctionDef) else []
            if f"makes('{asset}')" in map(ast.unparse, decorators):
                return module, name
    raise LookupError(f'no function of {STEPS} is marked @makes("{asset}")')


def _counts(module: str) -> bool:
    last = module.rpartition(".")[2]
    draws = last == PICTURES or last.endswith(f"_{PICTURES}")
    return module not in COMPUTING_NOTHING and not draws and file_of(module).is_file()
