"""The page of the settings is made by the command, is the one in docs, and describes every setting."""

from pathlib import Path

import pytest
from support.line import command

from alignrec_assets.commands.settings import settings_page
from alignrec_assets.settings.schema import PROFILES, Settings

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"
SECTIONS = {name: type(values) for name, values in Settings() if name != "profile"}
NAMES = [f"{section}.{key}" for section, kind in SECTIONS.items() for key in kind.model_fields]


def row(name):
    """Default, unit, range and meaning of a setting, from the table of its section."""
    rows = [line for line in settings_page().split("\n") if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in rows[-1].removesuffix("|").split("|")][2:]


def test_the_page_of_settings_is_the_one_in_docs(tmp_path):
    assert command(tmp_path, "alignrec", "settings", "--page").stdout == PAGE.read_text(encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == settings_page()


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_a_range_and_a_meaning_that_is_a_sentence(name):
    _, _, values, meaning = row(name)
    assert values
    assert meaning[0].isupper() or meaning[0] == "`"
    assert meaning.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_unit(name):
    section, _, key = name.partition(".")
    schema = SECTIONS[section].model_json_schema()["properties"][key]
    kinds = schema.get("anyOf", [schema])
    assert all("unit" in kind for kind in kinds if kind["type"] in ("integer", "number"))


def test_units_and_ranges_follow_from_the_types():
    assert row("landing.attribution_hours")[:3] == ["`24.0`", "hours", "above 0, up to 720"]
    assert row("candidates.k")[:3] == ["`3`", "clusters", "whole number, 1 to 100"]
    assert row("feedback.interval")[:3] == ["`auto`", "score", "above 0, up to 0.5; or `auto`"]
    assert row("alignment.layers")[:3] == ["none", "layers", "whole number, 1 or more; or none"]
    assert row("novelty.tune")[:3] == ["`top:8`", "", "`full`, `lora` or `top:<number>`"]


def test_every_value_of_every_profile_is_shown():
    _, _, part = settings_page().partition("## Profiles")
    part, _, _ = part.partition("\n## ")
    assert "| interests.clusters | `24` | `64` | `761` |" in part
    for profile in PROFILES.values():
        for section, values in profile.items():
            assert all(f"| {section}.{key} |" in part for key in values)
