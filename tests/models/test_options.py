"""Each default stands once, in the settings: what models take under the name of a setting has no default of its own."""

import ast
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import BaseModel

from alignrec_assets.settings.schema import Settings

MODELS = Path(__file__).parents[2] / "models"
SECTIONS = {
    name: section for name in Settings.model_fields if isinstance(section := getattr(Settings(), name), BaseModel)
}
SECTION_OF = {
    "AlignmentOptions": "alignment",
    "NoveltyOptions": "novelty",
    "PointwiseOptions": "alignment",
    "PoolOptions": "candidates",
    "ScoreOptions": "feedback",
    "SearchOptions": "search",
}
BESIDE_THE_LINE = {"FewFeedbackOptions", "WorldOptions"}  # of the simulated world: no section has them


def option_classes():
    found = {}
    for path in MODELS.rglob("*.py"):
        names = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
        module = ".".join(path.relative_to(MODELS.parent).with_suffix("").parts)
        found |= {name: getattr(import_module(module), name) for name in names if name.endswith("Options")}
    return found


def test_every_class_of_options_belongs_to_a_section():
    assert set(option_classes()) == SECTION_OF.keys() | BESIDE_THE_LINE


@pytest.mark.parametrize("name", SECTION_OF)
def test_an_option_that_is_a_setting_has_no_default(name):
    options = option_classes()[name]
    assert is_dataclass(options)
    shared = [field for field in fields(options) if field.name in type(SECTIONS[SECTION_OF[name]]).model_fields]
    assert shared
    for field in shared:
        assert (field.default, field.default_factory) == (MISSING, MISSING), field.name


def arguments_with_defaults(function):
    given = [*function.args.posonlyargs, *function.args.args]
    keyword_only = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return [*given[len(given) - len(function.args.defaults) :], *(name for name, default in keyword_only if default)]


@pytest.mark.parametrize("path", sorted(MODELS.rglob("*.py")), ids=lambda path: str(path.relative_to(MODELS)))
def test_an_argument_that_is_a_setting_has_no_default(path):
    settings = {name for section in SECTIONS.values() for name in type(section).model_fields}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert not settings & {argument.arg for argument in arguments_with_defaults(node)}, node.name
