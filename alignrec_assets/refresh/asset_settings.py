"""Which settings the content of each asset depends on: said once, for its fingerprint and for what the UI marks.

A setting that is changed makes these assets anew, and no other. Dagster hears of it through the code version: after
"Reload definitions" the UI marks them as stale.
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from alignrec_assets.settings.schema import Settings
from models.files import fingerprint

SCORING = (
    "feedback.signal",
    "feedback.window_days",
    "feedback.minimum_impressions",
    "feedback.minimum_share_of_mean",
    "feedback.minimum_users",
    "feedback.normalisation",
    "feedback.interval",
)
"""How cells become scores; where impressions come from shows in the cells themselves."""
TRAINING = (
    *(f"alignment.{name}" for name in ("loss", "layers", "head_histories", "tune", "learning_rate", "steps", "stack")),
    *(f"alignment.{name}" for name in ("histories_per_batch", "histories_per_pass", "evaluate_every")),
    *(f"alignment.{name}" for name in ("validation_histories", "keep_overtrained", "seed")),
    "candidates.k",
    "feedback.normalisation",
    "feedback.source",
)
"""How the alignment model is trained on its examples, and what its manifest tells of them."""

ASSET_SETTINGS: dict[str, tuple[str, ...]] = {
    "raw.items": ("calendar",),
    "raw.events": ("calendar", "positive"),
    "raw.feedback_logs": ("calendar", "positive", "landing.attribution_hours"),
    "interests.first_interactions": ("history.clusters", "landing.attribution_hours"),
    "feedback.transition_users": ("history.clusters", "feedback.source", "feedback.replay_share"),
    "feedback.transition_scores": SCORING,
    "training.novelty_examples": (
        "novelty.maximum_examples",
        "novelty.examples_per_label_limit",
        "novelty.holdout_share",
        "novelty.refresh_days",
        "novelty.seed",
        "feedback.source",
        "feedback.replay_share",
    ),
    "training.pointwise_examples": (
        *SCORING,
        "feedback.prior",
        "alignment.holdout_share",
        "alignment.report_share",
        "alignment.holdout_days",
        "alignment.unseen_cluster_share",
        "alignment.training_user_share",
        "alignment.seed",
    ),
    "training.pairwise_examples": (
        "alignment.loss",
        "alignment.pairs_per_history",
        "alignment.holdout_days",
        "alignment.seed",
    ),
    "base_model": ("base_model.source",),
    "novelty_model": (
        "novelty.tune",
        "novelty.learning_rate",
        "novelty.batch_size",
        "novelty.epochs",
        "novelty.seed",
    ),
    "alignment_model": (*TRAINING, "alignment.minimum_histories"),
    "alignment_search": (*TRAINING, "alignment.pairs_per_history", "feedback.interval", "search.seed"),
    "inference_scaling": ("history.clusters", "candidates.k", "candidates.temperature"),
    "candidates.pools": (
        "history.clusters",
        "candidates.k",
        "candidates.draws_per_cluster",
        "candidates.temperature",
        "candidates.engine",
        "candidates.most_left_out",
        "candidates.seed",
    ),
    "candidates.scored": ("candidates.scoring_engine",),
    "publication.transition_table": ("candidates.k", "publication.ranking"),
}


def settings_of(asset: str, settings: Settings) -> dict[str, Any]:
    """The values that an asset depends on, by name: of a section such as ``novelty``, or of one of its settings."""
    values = settings.model_dump(mode="json")
    found = {}
    for name in ASSET_SETTINGS.get(asset, ()):
        section, _, key = name.partition(".")
        found[name] = values[section][key] if key else values[section]
    return found


def marked_by_settings(assets: Iterable[object], settings: Settings) -> list[dg.AssetsDefinition]:
    """The assets with code versions that tell their settings too."""

    def with_settings(spec: dg.AssetSpec) -> dg.AssetSpec:
        chosen = settings_of(".".join(spec.key.path), settings)
        return spec.replace_attributes(code_version=fingerprint([spec.code_version, chosen])) if chosen else spec

    return list(dg.map_asset_specs(with_settings, [each for each in assets if isinstance(each, dg.AssetsDefinition)]))
