"""Rules: which assets are requested without anyone asking, and why; all of it is off until switched on.

The sensor of the landing zone (``landing_sensor``) runs days whose files are new or changed. What follows from that is
requested by the rules below, and what goes by the calendar by the schedules.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

import dagster as dg

from alignrec_assets.automation.conditions import Condition, EnoughNewFeedback, NeverMade, NoCheckFailed, StaleDays
from alignrec_assets.home import Home
from alignrec_assets.refresh.asset_factory import asset_key
from alignrec_assets.refresh.declarations import DECLARATIONS, DECLARED
from alignrec_assets.settings.schema import Settings


class Rule(NamedTuple):
    """When some assets are requested, and why.

    Attributes:
        assets: their names.
        reason: as the UI shows it.
        condition: on what the home or Dagster has recorded; none where news of what the assets follow are enough.
    """

    assets: tuple[str, ...]
    reason: str
    condition: Condition | None = None


IDLE = ~dg.AutomationCondition.in_progress() & ~dg.AutomationCondition.any_deps_in_progress()
# A step that fails is asked for again once something that it reads was made anew, not at every tick.
WORTH_TRYING = ~dg.AutomationCondition.execution_failed() | (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
)
AUDITED = dg.AutomationCondition.all_deps_blocking_checks_passed()


def build_rules(home: Home) -> tuple[Rule, ...]:
    """The rules, on what a home has recorded."""
    unfailed = NoCheckFailed(home)
    return (
        Rule(
            tuple(declared.name for declared in DECLARATIONS if declared.daily and not declared.from_landing),
            "a day is complete and would be made from something else today; late days reach as far as history does",
            StaleDays(home) & WORTH_TRYING & unfailed,
        ),
        Rule(
            ("base_model", "training.novelty_examples", "novelty_model", "candidates.histories"),
            "it was never made, and the days that were read are ready; afterwards the schedule novelty_fine_tune asks",
            NeverMade(home) & WORTH_TRYING & unfailed,
        ),
        Rule(
            ("training.pointwise_examples",),
            "feedback has grown by automation.new_feedback_share, or its rates have drifted by automation.drift_limit",
            EnoughNewFeedback(home) & WORTH_TRYING & unfailed,
        ),
        Rule(("training.pairwise_examples",), "its examples are new", unfailed),
        Rule(("alignment_model",), "its examples are new, and they passed their checks", AUDITED & unfailed),
        Rule(
            ("candidates.pools",),
            "the novelty model or the planned histories are new, and they passed their checks",
            AUDITED & unfailed,
        ),
        Rule(
            ("candidates.scored",),
            "the pools or the alignment model are new, and they passed their checks",
            AUDITED & unfailed,
        ),
        Rule(
            ("publication.transition_table",),
            "there are new scores, and all blocking checks before it passed; it asks them once more itself",
            AUDITED & unfailed,
        ),
        Rule(("publication.versions",), "something was published"),
        Rule(("registry.checkpoints",), "there is a new checkpoint"),
    )


def build_conditions(home: Home) -> dict[dg.AssetKey, Condition]:
    """The condition of each asset that automation requests."""
    return {
        # A conjunction, and those have labels.
        asset_key(asset): (IDLE & _whole_condition(asset, rule.condition)).with_label(rule.reason)
        for rule in build_rules(home)
        for asset in rule.assets
    }


def automated(
    assets: Iterable[dg.AssetsDefinition], conditions: dict[dg.AssetKey, Condition], settings: Settings
) -> list[dg.AssetsDefinition]:
    """The assets with their conditions, and with what counts as fresh."""
    fresh = freshness(settings)

    def with_rules(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(
            automation_condition=conditions.get(spec.key), freshness_policy=fresh.get(spec.key)
        )

    return list(dg.map_asset_specs(with_rules, list(assets)))


def freshness(settings: Settings) -> dict[dg.AssetKey, dg.FreshnessPolicy]:
    """How old what was made may grow, by asset: in a log that is closed nothing ages."""
    if settings.calendar.last_day is not None:
        return {}
    limits = settings.checks
    return {
        asset_key(asset): dg.FreshnessPolicy.time_window(fail_window=timedelta(days=days))
        for asset, days in (
            ("raw.events", limits.fresh_days),
            ("feedback.transition_scores", limits.fresh_days),
            ("publication.transition_table", limits.fresh_table_days),
        )
    }


def build_automation_sensor(conditions: dict[dg.AssetKey, Condition]) -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates the conditions."""
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.assets(*conditions),
        # The conditions on days and feedback are Python of this project, so they are evaluated beside it.
        use_user_code_server=True,
        emit_backfills=True,
        default_status=dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=30,
        run_tags={"alignrec/kind": "automation", "alignrec/reason": "automation"},
        description="Requests what follows from new days: stale days, training, candidates and publication.",
    )


def _whole_condition(asset: str, condition: Condition | None) -> Condition:
    """The rule's own condition, and news of what the asset follows: made since it was asked for, or in the same run."""
    if not DECLARED[asset].follows:
        assert condition is not None, f"{asset} follows nothing, and its rule has no condition"
        return condition
    followed = dg.AssetSelection.assets(*map(asset_key, DECLARED[asset].follows))
    news = dg.AutomationCondition.any_deps_updated().allow(followed).since_last_handled()
    return news if condition is None else news & condition
