"""The recipes of docs/recipes.md, read from the page and applied to a copy of the project.

A recipe is a heading that begins with "Add". The line before a block of code says where the code goes, in one of five
forms; blocks of ``sh`` are commands that the recipe ends with.
"""

import ast
import io
import re
import textwrap
import tokenize
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "recipes.md"
PATH = r"`(?P<path>[^`]+)`:"
FORMS = {
    "file": rf"As {PATH}",
    "end": rf"At the end of {PATH}",
    "imports": rf"Below the imports of {PATH}",
    "class": rf"Into the class `(?P<name>\w+)` of {PATH}",
    "brackets": rf"Into `(?P<name>[\w.]+)` of {PATH}",
}
BLOCK = re.compile(r"(?P<before>[^\n]*)\n+```(?P<language>\w*)\n(?P<code>.*?)^```$", flags=re.MULTILINE | re.DOTALL)
BRACKETED = (ast.Tuple, ast.List, ast.Dict, ast.Set)


class RecipeError(AssertionError):
    """A block of code that cannot be applied; the message names the line of the page and what is missing."""


@dataclass(frozen=True)
class Block:
    """A block of code of a recipe: its place on the page and in the project, and the code."""

    recipe: str
    line: int
    form: str
    path: str
    name: str
    code: str

    def fail(self, fault):
        raise RecipeError(f"{PAGE.name}, line {self.line}, recipe {self.recipe!r}: {fault}")


@dataclass(frozen=True)
class Recipe:
    """What a recipe adds, and the commands that it ends with."""

    title: str
    blocks: tuple[Block, ...]
    commands: tuple[str, ...]


def read_recipes(page):
    """The recipes of a page, by title."""
    found, line = {}, 1
    for part in re.split(r"^(?=## )", page, flags=re.MULTILINE):
        if part.startswith("## Add "):
            title = part.splitlines()[0].removeprefix("## ")
            found[title] = _recipe(title, part, line)
        line += part.count("\n")
    return found


def _recipe(title, text, first_line):
    blocks, commands = [], []
    for match in BLOCK.finditer(text):
        line = first_line + text[: match.start()].count("\n")
        if match["language"] == "sh":
            commands += match["code"].splitlines()
        else:
            blocks.append(_block(title, line, match["before"], match["code"]))
    return Recipe(title, tuple(blocks), tuple(commands))


def _block(recipe, line, before, code):
    for form, pattern in FORMS.items():
        found = re.fullmatch(pattern, before)
        if found:
            return Block(recipe, line, form, found["path"], found.groupdict().get("name", ""), code)
    raise RecipeError(f"{PAGE.name}, line {line}, recipe {recipe!r}: {before!r} does not say where the code goes")


def apply_block(block, root):
    """Write the code of a block into a copy of the project."""
    path = root / block.path
    if block.form == "file":
        if path.exists():
            block.fail(f"{block.path} exists already")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code, encoding="utf-8")
        return
    if not path.is_file():
        block.fail(f"there is no {block.path}")
    text = path.read_text(encoding="utf-8")
    changed = {"end": _at_the_end, "imports": _below_the_imports, "class": _into_the_class, "brackets": _into_brackets}
    path.write_text(changed[block.form](block, text), encoding="utf-8")


def _at_the_end(block, text):
    return f"{text.rstrip()}\n\n\n{block.code}"


def _below_the_imports(block, text):
    imports = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
    if not imports:
        block.fail(f"{block.path} imports nothing")
    return _after_line(text, imports[-1].end_lineno, block.code)


def _into_the_class(block, text):
    classes = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
    if block.name not in classes:
        block.fail(f"{block.path} has no class {block.name}")
    return _after_line(text, classes[block.name].end_lineno, textwrap.indent(block.code, "    "))


def _after_line(text, line, code):
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:line], code, *lines[line:]])


def _into_brackets(block, text):
    """The code as the last entries of a literal: on lines of its own where the literal has several."""
    found = [node for name, node in _literals(ast.parse(text).body) if f".{name}".endswith(f".{block.name}")]
    if len(found) != 1:
        many = "has no" if not found else f"has {len(found)} of the name"
        block.fail(f"{block.path} {many} {block.name} that is a tuple, list, dict or Literal")
    lines = text.splitlines(keepends=True)
    # The column of a node counts bytes, that of a token counts characters.
    column = len(lines[found[0].end_lineno - 1].encode()[: found[0].end_col_offset].decode()) - 1
    tokens = [each for each in tokenize.generate_tokens(io.StringIO(text).readline)
              if each.type not in (tokenize.COMMENT, tokenize.NL)]  # fmt: skip
    at = next(number for number, token in enumerate(tokens) if token.start == (found[0].end_lineno, column))
    last = tokens[at - 1]
    comma = "" if last.string in "([{," else ","
    place = _offset(lines, last.end)
    if found[0].lineno == found[0].end_lineno:
        code = " ".join(block.code.split()).removesuffix(",")
        return f"{text[:place]}{comma}{' ' if comma else ''}{code}{text[place:]}"
    closing = _offset(lines, (found[0].end_lineno, 0))
    indent = re.match(r" *", lines[found[0].end_lineno - 1])[0] + "    "
    return f"{text[:place]}{comma}{text[place:closing]}{textwrap.indent(block.code, indent)}{text[closing:]}"


def _offset(lines, position):
    line, column = position
    return sum(map(len, lines[: line - 1])) + column


def _literals(body, scope=""):
    """The literals of a module by name; those of a function or class by its name and theirs, or by what it returns."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from _literals(node.body, f"{scope}{node.name}.")
        elif isinstance(node, ast.Return) and isinstance(node.value, BRACKETED):
            yield scope.removesuffix("."), node.value
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names = node.targets if isinstance(node, ast.Assign) else [node.target]
            found = [each for each in (node.value, getattr(node, "annotation", None)) if _is_literal(each)]
            yield from ((f"{scope}{ast.unparse(name)}", literal) for name in names for literal in found[:1])


def _is_literal(node):
    return isinstance(node, BRACKETED) or (isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal")
