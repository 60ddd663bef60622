"""Where the value of a setting comes from, and what is wrong with one that cannot be used.

A value is taken from the first place that has it: an environment variable (``ALIGNREC_CANDIDATES__K=5``), the home's
``settings.toml``, the profile named there, the default in ``sections``.
"""

import os
import re
import tomllib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from alignrec_assets.home import HOME_VARIABLE, Home
from alignrec_assets.settings.schema import ENV_DELIMITER, ENV_PREFIX, PROFILES, RETIRED, Settings
from alignrec_assets.settings.sections import Section
from models.files import replacing
from models.messages import listed


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it, its place and what would do."""


def load_settings(home: Home) -> Settings:
    """Settings of the home, checked.

    Raises:
        SettingsError: naming each wrong setting and what would do.
    """
    in_file = settings_in_file(home)
    _refuse_unknown_variables()
    profile = os.environ.get(f"{ENV_PREFIX}PROFILE", in_file.get("profile", "demo"))

    class HomeSettings(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Environment over file over profile."""
            return env_settings, InitSettingsSource(settings_cls, in_file), init_settings

    sizes: dict[str, Any] = PROFILES.get(str(profile), {})
    try:
        return HomeSettings(**sizes)
    except ValidationError as error:
        raise SettingsError(_explain(error, home.settings)) from error


def describe_settings(home: Home) -> list[tuple[str, Any, str]]:
    """(name, value, origin) of every setting; the origin is default, profile, ``settings.toml`` or the variable."""
    settings = load_settings(home)
    in_file = settings_in_file(home)
    in_profile = PROFILES[settings.profile]
    rows: list[tuple[str, Any, str]] = []
    for section, value in settings:
        entries = dict(value) if isinstance(value, Section) else {"": value}
        for key, entry in entries.items():
            name = f"{section}.{key}" if key else section
            rows.append((name, entry, _origin(name, in_file, in_profile, settings.profile)))
    return rows


def masked(value: object) -> str:
    """A value as it may be shown: what stands before the host of an address is a secret."""
    return re.sub(r"(?<=://)\S*@", "***@", str(value))


def settings_in_file(home: Home) -> dict[str, Any]:
    """What the home's ``settings.toml`` says, unchecked and without retired settings; empty where there is none.

    Raises:
        SettingsError: it is not valid TOML.
    """
    path = home.settings
    if not path.exists():
        return {}
    try:
        found = tomllib.loads(_read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}. Fix that line, or move the file away.") from error
    for name in RETIRED:
        section, _, key = name.partition(".")
        if isinstance(found.get(section), dict):
            found[section].pop(key, None)
    return found


def update_settings_file(home: Home, values: dict[str, dict[str, Any]]) -> None:
    """Set values in the home's ``settings.toml``; everything else in it, comments included, stays."""
    document = settings_document(home)
    for section, entries in values.items():
        if section not in document:
            document.add(section, tomlkit.table())
        table: Any = document[section]
        for key, value in entries.items():
            table[key] = value
    with replacing(home.settings) as partial:
        partial.write_text(tomlkit.dumps(document), encoding="utf-8")


def settings_document(home: Home) -> tomlkit.TOMLDocument:
    """The home's ``settings.toml`` with its comments; empty where there is none.

    Raises:
        SettingsError: it is not valid TOML.
    """
    settings_in_file(home)  # refuses a file that is not TOML, by its name
    return tomlkit.parse(_read_text(home.settings) if home.settings.exists() else "")


def _read_text(path: Path) -> str:
    """The text of a file that an editor may have begun with a byte order mark."""
    content = path.read_bytes()
    try:
        return content.decode("utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}, line {line}, is not UTF-8: save the file as UTF-8, or move it away") from error


def _variable(name: str) -> str:
    return ENV_PREFIX + name.replace(".", ENV_DELIMITER).upper()


def _refuse_unknown_variables() -> None:
    """A misspelt variable would be ignored without a word, and the run would use a default."""
    known = {HOME_VARIABLE}
    for section, field in Settings.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, Section):
            known.update(_variable(f"{section}.{key}") for key in nested.model_fields)
        known.add(_variable(section))
    unknown = sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name.upper() not in known)
    if unknown:
        raise SettingsError(
            f"unknown environment variable {listed(unknown)}: `alignrec settings` lists every name, "
            "for instance ALIGNREC_CANDIDATES__K for candidates.k"
        )


def _origin(name: str, in_file: dict[str, Any], in_profile: dict[str, dict[str, Any]], profile: str) -> str:
    section, _, key = name.partition(".")
    variables = {_variable(name), _variable(section)}
    for variable in os.environ:
        if variable.upper() in variables:
            return f"environment {variable}"
    if (key in in_file.get(section, {})) if key else section in in_file:
        return "settings.toml"
    if key in in_profile.get(section, {}):
        return f"profile {profile}"
    return "default"


def _explain(error: ValidationError, path: Path) -> str:
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        # Under a name that nobody knows may stand a key that was meant for the environment.
        hidden = isinstance(problem["input"], dict) or problem["type"] == "extra_forbidden"
        shown = "" if hidden else f" (it is {masked(repr(problem['input']))})"
        lines.append(f"setting {name or 'combination'}: {problem['msg']}{shown}")
    place = f"{path} or an environment variable {ENV_PREFIX}<SECTION>__<NAME>"
    return listed(lines, "; ") + f". Fix it in {place}; `alignrec settings` lists all."
