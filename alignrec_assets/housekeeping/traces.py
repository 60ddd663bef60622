"""Which checkpoints and published versions had seen a user, and how that is known."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from alignrec_assets.home import Home
from alignrec_assets.warehouse.queries import query
from models.files import MANIFEST_FILE

TRAINED_MODELS = ("novelty_model", "alignment_model", "alignment_search")


@dataclass(frozen=True)
class Trace:
    """What the tombstone keeps of a user.

    Attributes:
        first_event: the first day with an event, as ISO text.
        first_impression: the first day with an impression, as ISO text.
        clean_since: when the last rows of the user were removed; what is made later has not seen them. None where a run
            was under way, because it may have read the rows before.
        seen_by: the reason why a checkpoint or version has seen the user, by its name; an empty reason: it has not.
    """

    first_event: str | None = None
    first_impression: str | None = None
    clean_since: str | None = None
    seen_by: dict[str, str] = field(default_factory=dict)


def seen_by_examples(connection: duckdb.DuckDBPyConnection, user: str) -> dict[str, str]:
    """Whether the novelty model that was tuned on the examples as they stand has seen the user, by its folder."""
    rows = connection.execute(query("housekeeping.novelty_models_by_examples"), {"user": user}).fetchall()
    return {folder: "its training examples held rows of the user" if held else "" for folder, held in rows}


def decide(home: Home, trace: Trace, by_examples: dict[str, str]) -> dict[str, str]:
    """The reason why a checkpoint or version has seen the user, by its name; empty where it has not."""
    seen: dict[str, str] = {}
    by_content: dict[str, str] = {}
    for model in TRAINED_MODELS:
        for name, manifest in _manifests(home, home.checkpoints / model, trace.clean_since):
            seen[name] = by_examples.get(name, _by_days(model, manifest, trace))
            by_content[manifest["content_hash"]] = name
    first = min(filter(None, (trace.first_event, trace.first_impression)), default=None)
    for name, manifest in _manifests(home, home.published, trace.clean_since):
        made_from = [manifest[model] for model in ("novelty_model", "alignment_model") if manifest[model] is not None]
        planners = [by_content[content] for content in made_from if seen.get(by_content.get(content, ""))]
        seen[name] = f"planned by {', '.join(planners)}" if planners else ""
        if not planners and not set(made_from) <= set(by_content) and first and first <= manifest["log_until"]:
            seen[name] = f"its log reaches to {manifest['log_until']}, the user's days begin on {first}"
    return seen


def _by_days(model: str, manifest: dict[str, Any], trace: Trace) -> str:
    """The reason by days: novelty learns from events, alignment from impressions or from replayed events."""
    from_events = model == "novelty_model" or manifest.get("feedback_source", "replay") == "replay"
    from_impressions = model != "novelty_model"
    days = [trace.first_event] * from_events + [trace.first_impression] * from_impressions
    first, as_of = min(filter(None, days), default=None), manifest.get("as_of")
    if first is None or (as_of is not None and as_of < first):
        return ""
    return f"it learned from days up to {as_of or 'some day that it does not tell'}, the user's begin on {first}"


def _manifests(home: Home, folder: Path, until: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path in the home and manifest of everything in the folder that was made before a moment."""
    for path in sorted(folder.glob(f"[!.]*/{MANIFEST_FILE}")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if until is None or manifest["made_at"] <= until:
            yield path.parent.relative_to(home.path).as_posix(), manifest
