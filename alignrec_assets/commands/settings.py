"""The page of the settings: each with its default, unit, range and meaning, and what the profiles change."""

import json
from collections.abc import Iterator
from typing import Any

from alignrec_assets.settings.schema import PROFILES, RETIRED, Settings

INTRODUCTION = """\
# Settings

Made by `alignrec settings --page` from `alignrec_assets/settings/sections.py`. `alignrec settings` prints the values of
a home, and where each value comes from. A value is taken from the first of these places that has it:

1. an environment variable: `ALIGNREC_CANDIDATES__K=5` for the setting `candidates.k`;
2. the file `settings.toml` of the home: `k = 5` in the table `[candidates]`;
3. the profile, see below;
4. the default.

Settings that depend on the data are [chosen by `alignrec ingest`](data-contract.md#what-ingest-chooses), which writes
them to `settings.toml`, each with its reason.

A share is a number from 0 to 1. An unknown name, or a value outside its range, is an error that names the setting.
"""
Schema = dict[str, Any]
"""The JSON schema of a setting or of a section."""


def settings_page() -> str:
    """``docs/settings.md``: the profiles, and every setting by section."""
    schema = Settings.model_json_schema()
    lines = [INTRODUCTION]
    retired = [(*old.split("."), new) for old, new in RETIRED.items()]
    replaced = ", ".join(f"`{key}` of `[{section}]` (now `{new}`)" for section, key, new in retired)
    lines += [f"Settings of older versions may stay in the file, and are not read: {replaced}.", ""]
    for name, field in schema["properties"].items():
        if "$ref" in field:
            lines += ["", *_section(name, schema["$defs"][field["$ref"].rpartition("/")[2]])]
        else:
            lines += [*_profiles(name, field)]
    return "\n".join(lines) + "\n"


def _profiles(name: str, field: Schema) -> Iterator[str]:
    """The values of each profile, of all settings that some profile changes."""
    defaults = Settings.model_construct().model_dump()
    changed = {(section, key): None for values in PROFILES.values() for section in values for key in values[section]}
    default = _shown(field["default"])
    yield "## Profiles"
    yield ""
    yield f"{_meaning(field)} The setting `{name}` names one of {_range(field)}; the default is {default}."
    yield ""
    yield f"| setting | {' | '.join(PROFILES)} |"
    yield f"|---|{'---|' * len(PROFILES)}"
    for section, key in changed:
        values = [profile.get(section, {}).get(key, defaults[section][key]) for profile in PROFILES.values()]
        yield f"| {section}.{key} | {' | '.join(map(_shown, values))} |"


def _section(name: str, section: Schema) -> Iterator[str]:
    yield f"## {name}"
    yield ""
    yield _meaning(section)
    yield ""
    yield "| setting | default | unit | range | meaning |"
    yield "|---|---|---|---|---|"
    for key, field in section["properties"].items():
        unit = ", ".join(arm["unit"] for arm in _arms(field) if "unit" in arm)
        yield f"| {name}.{key} | {_shown(field['default'])} | {unit} | {_range(field)} | {_meaning(field)} |"


def _arms(field: Schema) -> list[Schema]:
    """The types that a setting may have."""
    return list(field.get("anyOf", [field]))


def _range(field: Schema) -> str:
    return "; or ".join(_range_of_type(arm) for arm in _arms(field))


def _range_of_type(arm: Schema) -> str:
    """The values of one type, in words."""
    if "form" in arm:
        return str(arm["form"])
    if "enum" in arm or "const" in arm:
        return ", ".join(_shown(value) for value in arm.get("enum", [arm.get("const")]))
    if arm["type"] in ("integer", "number"):
        return ", ".join(["whole number"] * (arm["type"] == "integer") + _bounds(arm)) or "any number"
    named = {"null": "none", "boolean": "`true` or `false`", "string": "text", "array": "list of texts"}
    return "a date" if arm.get("format") == "date" else named[arm["type"]]


def _bounds(arm: Schema) -> list[str]:
    if "minimum" in arm and "maximum" in arm:
        return [f"{arm['minimum']:,} to {arm['maximum']:,}"]
    words = {"minimum": "{:,} or more", "exclusiveMinimum": "above {:,}"}
    words |= {"maximum": "up to {:,}", "exclusiveMaximum": "below {:,}"}
    return [text.format(arm[keyword]) for keyword, text in words.items() if keyword in arm]


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _meaning(described: Schema) -> str:
    return " ".join(str(described["description"]).split())
