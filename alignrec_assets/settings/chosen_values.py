"""Settings that `alignrec ingest` chose from the data: each stands in ``settings.toml`` with its reason beside it.

A line reads ``clusters = 40 # ingest chose 40: ...``. The comment repeats the value, so that one which the user has
changed since is told from one that still stands.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tomlkit
from tomlkit.items import Item, Table

from alignrec_assets.home import Home
from alignrec_assets.settings.sources import describe_settings, settings_document, update_settings_file

_MARK = re.compile(r"#\s*ingest chose (?P<value>.+?): ")


@dataclass(frozen=True)
class Chosen:
    """A value for a setting.

    Attributes:
        name: section and key, such as ``interests.clusters``.
        value: what TOML can hold.
        reason: why this value, in words that fit one line.
    """

    name: str
    value: Any
    reason: str


def fixed_settings(home: Home) -> set[str]:
    """Names of the settings that are not to be chosen: set by hand, by a variable of the environment or by the profile.

    Raises:
        SettingsError: the settings of the home cannot be used.
    """
    chosen = chosen_before(home)
    return {name for name, _, origin in describe_settings(home) if origin != "default" and name not in chosen}


def write_chosen(home: Home, chosen: Sequence[Chosen]) -> None:
    """Write values with their reasons to ``settings.toml``; everything else in it stays."""
    values: dict[str, dict[str, Any]] = {}
    for each in chosen:
        section, _, key = each.name.partition(".")
        values.setdefault(section, {})[key] = _with_reason(each)
    update_settings_file(home, values)


def _with_reason(chosen: Chosen) -> Item:
    item: Item = tomlkit.item(chosen.value)
    item.comment(f"ingest chose {item.as_string()}: {chosen.reason}")
    return item


def chosen_before(home: Home) -> set[str]:
    """Names of the settings in the file that an earlier ingest chose and nobody has changed since."""
    return {
        f"{section}.{key}"
        for section, table in settings_document(home).items()
        if isinstance(table, Table)
        for key in table
        if _is_chosen(table.value.item(key))  # a flag loses its comment on every other way
    }


def _is_chosen(item: object) -> bool:
    if not isinstance(item, Item):
        return False
    mark = _MARK.match(item.trivia.comment)
    return mark is not None and mark["value"] == item.as_string()
