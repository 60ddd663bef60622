"""When assets are refreshed without anyone asking, and why; all of it is off until switched on.

The sensor of the landing zone (``landing_sensor``) runs days whose files are new or changed. What follows from that is
requested by the conditions below, and what goes by the calendar by the schedules. A condition on days asks the recorded
fingerprints: a day is requested when it would not be made from the same today, and never otherwise. So a late day D
asks for D alone where only the day counts, and for D to the last day where history counts.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import NamedTuple

import dagster as dg
import polars as pl

from alignrec_assets.assets.feedback import TRANSITION_COUNTS, transition_scores_recipe, transition_users_recipe
from alignrec_assets.assets.interests import USER_CLUSTER_DAYS, first_interactions_recipe
from alignrec_assets.assets.quality_checks import SURE_OF_DRIFT, TAXONOMY_REVIEW
from alignrec_assets.assets.training import NOVEL_TRANSITIONS
from alignrec_assets.home import Home
from alignrec_assets.housekeeping.pruning import housekeeping
from alignrec_assets.instance.check_results import checks_before, failed_checks
from alignrec_assets.partitions import DAYS
from alignrec_assets.refresh.days import Recipe
from alignrec_assets.refresh.fingerprints import Input
from alignrec_assets.refresh.tables import CONTRACT_CHECK
from alignrec_assets.refresh.taxonomies import required_taxonomy
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.connection import Warehouse, WarehouseError
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.records import Record, read_records
from alignrec_assets.warehouse.rows import read_frame

PUBLISHED = dg.AssetKey(["publication", "transition_table"])
PATIENCE_SECONDS = 5.0  # where a step holds the warehouse, the next tick looks again

RECIPES: dict[str, Callable[[HomeResource], Recipe]] = {
    "interests.user_cluster_days": lambda _: USER_CLUSTER_DAYS,
    "interests.first_interactions": first_interactions_recipe,
    "training.novel_transitions": lambda _: NOVEL_TRANSITIONS,
    "feedback.transition_users": transition_users_recipe,
    "feedback.transition_counts": lambda _: TRANSITION_COUNTS,
    "feedback.transition_scores": transition_scores_recipe,
}


Entity = dg.AssetKey | dg.AssetCheckKey  # what Dagster's own conditions are about
Condition = dg.AutomationCondition[Entity]


class StaleDays(dg.AutomationCondition[Entity]):
    """Days whose inputs are complete, and that would be made from something else than they were made from."""

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "stale_days"

    def evaluate(self, context: dg.AutomationContext[Entity]) -> dg.AutomationResult[Entity]:
        """Look at the recorded fingerprints of the table and of what it reads."""
        days = {day.isoformat() for day in stale_days(_home(), context.key.to_user_string().replace("/", "."))}
        wanted = context.candidate_subset.compute_intersection_with_partition_keys(days)
        return dg.AutomationResult(context, wanted)


class EnoughNewFeedback(dg.AutomationCondition[Entity]):
    """The alignment model's feedback has grown by the share that the settings name, or its rates have drifted."""

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "enough_new_feedback"

    def evaluate(self, context: dg.AutomationContext[Entity]) -> dg.AutomationResult[Entity]:
        """Compare the days since the last training set with those that it was made from."""
        wanted = context.candidate_subset if reason_to_learn(_home()) else context.get_empty_subset()
        return dg.AutomationResult(context, wanted)


class NeverMade(dg.AutomationCondition[Entity]):
    """The asset was never made, and every day that was read has come as far as the novelty model's examples."""

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "never_made"

    def evaluate(self, context: dg.AutomationContext[Entity]) -> dg.AutomationResult[Entity]:
        """Look at the records: a first model must not be tuned on the first of many days."""
        due = never_made(_home(), context.key.to_user_string().replace("/", "."))
        return dg.AutomationResult(context, context.candidate_subset if due else context.get_empty_subset())


class NoCheckFailed(dg.AutomationCondition[Entity]):
    """No check before the asset that stops the line failed when it ran last.

    Contracts count for publication alone: rows that break one never reached a table, so other days can go on.
    """

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "no_check_failed"

    def evaluate(self, context: dg.AutomationContext[Entity]) -> dg.AutomationResult[Entity]:
        """Look at the latest results."""
        key = context.key.asset_key if isinstance(context.key, dg.AssetCheckKey) else context.key
        failed = failed_checks(context.asset_graph_view.instance, checks_before(context.asset_graph, key))
        held = [check for check in failed if key == PUBLISHED or not check.endswith(f":{CONTRACT_CHECK}")]
        return dg.AutomationResult(context, context.get_empty_subset() if held else context.candidate_subset)


def never_made(home: HomeResource, asset: str) -> bool:
    """Whether an asset that the novelty model needs has no record, and all days that were read have transitions."""
    try:
        with _warehouse(home).reading() as connection:
            read, ready = (read_records(connection, table) for table in ("raw.events", "training.novel_transitions"))
            return not read_records(connection, asset) and bool(ready) and set(read) <= set(ready)
    except WarehouseError:
        return False


def stale_days(home: HomeResource, table: str) -> list[date]:
    """Days of a daily table that are worth making: all that they read is there, and it is not what they were made from.

    None where the warehouse is busy or nothing was made yet.
    """
    days = [date.fromisoformat(key) for key in DAYS.get_partition_keys()]
    try:
        with _warehouse(home).reading() as connection:
            recipe = RECIPES[table](home)
            records = {entry.asset: read_records(connection, entry.asset) for entry in recipe.inputs}
            complete = [day for day in days if _is_complete(day, days, recipe.inputs, records)]
            wanted = recipe.fingerprints(connection, complete)
            made = read_records(connection, table)
    except (WarehouseError, ValueError):  # busy or not there; no taxonomy yet
        return []
    return [day for day in complete if day.isoformat() not in made or made[day.isoformat()].fingerprint != wanted[day]]


def reason_to_learn(home: HomeResource) -> str | None:
    """Why the alignment model is worth training again, or None."""
    try:
        with _warehouse(home).reading() as connection:
            scored = read_records(connection, "feedback.transition_scores")
            learned = read_records(connection, "training.pointwise_examples").get("")
            if not scored or not read_records(connection, "base_model"):
                return None
            if learned is None:
                return "there are scores, and nothing has learned from them yet"
            settings = home.settings
            span = {
                "as_of": date.fromisoformat(learned.details["as_of"]),
                "until": date.fromisoformat(max(scored)) - timedelta(days=settings.alignment.holdout_days),
                "window_days": settings.feedback.window_days,
                "taxonomy_version": required_taxonomy(home.home),
            }
            counts = read_frame(connection, query("evaluation.feedback_since"), span)
    except (WarehouseError, ValueError):
        return None
    return _growth(counts, home) or _drift(counts, home)


def _growth(counts: pl.DataFrame, home: HomeResource) -> str | None:
    before, after = float(counts["before"].sum()), float(counts["after"].sum())
    if after > 0 and after >= home.settings.automation.new_feedback_share * before:
        return f"{after:,.0f} impressions since the last training set, which was made from {before:,.0f}"
    return None


def _drift(counts: pl.DataFrame, home: HomeResource) -> str | None:
    from models.feedback.drift import feedback_drift

    drift = feedback_drift(counts)
    limit = home.settings.automation.drift_limit
    if drift.p_value < SURE_OF_DRIFT and drift.change > limit:
        return f"rates of clusters changed by {drift.change:.3f} since the last training set, more than {limit:g}"
    return None


def _is_complete(day: date, days: list[date], inputs: Sequence[Input], records: dict[str, dict[str, Record]]) -> bool:
    """Whether everything that a day reads was made: whole tables at all, daily ones on every day that it looks at."""
    return all(
        bool(records[entry.asset])
        if entry.reach == "whole"
        else all(read.isoformat() in records[entry.asset] for read in days if entry.covers(read, day))
        for entry in inputs
    )


def _home() -> HomeResource:
    return HomeResource(database=str(Home.from_environment().warehouse))


def _warehouse(home: HomeResource) -> Warehouse:
    return Warehouse(home.home, patience_seconds=PATIENCE_SECONDS)


class Rule(NamedTuple):
    """When some assets are requested, and why."""

    assets: tuple[str, ...]
    condition: Condition
    reason: str


def _updated(*assets: str) -> Condition:
    """Some of these inputs were made anew since the asset was last requested, or are made in the same run."""
    inputs = dg.AssetSelection.assets(*(dg.AssetKey(asset.split("/")) for asset in assets))
    return dg.AutomationCondition.any_deps_updated().allow(inputs).since_last_handled()


IDLE = ~dg.AutomationCondition.in_progress() & ~dg.AutomationCondition.any_deps_in_progress()
# A step that fails is asked for again once something that it reads was made anew, not at every tick.
WORTH_TRYING = ~dg.AutomationCondition.execution_failed() | (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
)
AUDITED = dg.AutomationCondition.all_deps_blocking_checks_passed()

RULES = (
    Rule(
        tuple(RECIPES),
        StaleDays() & WORTH_TRYING & NoCheckFailed(),
        "a day is complete and would be made from something else today; late days reach as far as history does",
    ),
    Rule(
        ("base_model", "training/novelty_examples", "novelty_model"),
        NeverMade() & WORTH_TRYING & NoCheckFailed(),
        "it was never made, and the days that were read are ready; afterwards the schedule novelty_fine_tune asks",
    ),
    Rule(
        ("training/pointwise_examples",),
        EnoughNewFeedback() & WORTH_TRYING & NoCheckFailed(),
        "feedback has grown by automation.new_feedback_share, or its rates have drifted by automation.drift_limit",
    ),
    Rule(
        ("training/pairwise_examples",),
        _updated("training/pointwise_examples") & NoCheckFailed(),
        "its examples are new",
    ),
    Rule(
        ("alignment_model",),
        _updated("training/pointwise_examples", "training/pairwise_examples") & AUDITED & NoCheckFailed(),
        "its examples are new, and they passed their checks",
    ),
    Rule(
        ("candidates/pools",),
        _updated("novelty_model") & AUDITED & NoCheckFailed(),
        "there is a new novelty model, and it passed its checks",
    ),
    Rule(
        ("candidates/scored",),
        _updated("candidates/pools", "alignment_model") & AUDITED & NoCheckFailed(),
        "the pools or the alignment model are new, and they passed their checks",
    ),
    Rule(
        ("publication/transition_table",),
        _updated("candidates/scored") & AUDITED & NoCheckFailed(),
        "there are new scores, and all blocking checks before it passed; it asks them once more itself",
    ),
    Rule(("publication/versions",), _updated("publication/transition_table"), "something was published"),
    Rule(
        ("registry/checkpoints",),
        _updated("novelty_model", "alignment_model", "alignment_search"),
        "there is a new checkpoint",
    ),
)

CONDITIONS = {
    # A conjunction, and those have labels.
    dg.AssetKey(asset.replace(".", "/").split("/")): (IDLE & rule.condition).with_label(rule.reason)
    for rule in RULES
    for asset in rule.assets
}


def automated(assets: Iterable[object], settings: Settings) -> list[dg.AssetsDefinition]:
    """The assets with their conditions, and with what counts as fresh."""
    fresh = freshness(settings)

    def with_rules(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(
            automation_condition=CONDITIONS.get(spec.key), freshness_policy=fresh.get(spec.key.to_user_string())
        )

    return list(dg.map_asset_specs(with_rules, [asset for asset in assets if isinstance(asset, dg.AssetsDefinition)]))


def freshness(settings: Settings) -> dict[str, dg.FreshnessPolicy]:
    """How old what was made may grow, by asset: in a log that is closed nothing ages."""
    if settings.calendar.last_day is not None:
        return {}
    limits = settings.checks
    return {
        asset: dg.FreshnessPolicy.time_window(fail_window=timedelta(days=days))
        for asset, days in (
            ("raw/events", limits.fresh_days),
            ("feedback/transition_scores", limits.fresh_days),
            ("publication/transition_table", limits.fresh_table_days),
        )
    }


automation_sensor = dg.AutomationConditionSensorDefinition(
    "automation",
    target=dg.AssetSelection.assets(*CONDITIONS),
    # The conditions on days and feedback are Python of this project, so they are evaluated beside it.
    use_user_code_server=True,
    emit_backfills=True,
    default_status=dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds=30,
    run_tags={"alignrec/kind": "automation", "alignrec/reason": "automation"},
    description="Requests what follows from new days: stale days, training, candidates and publication.",
)

fine_tune_schedule = dg.ScheduleDefinition(
    "novelty_fine_tune",
    cron_schedule="0 4 * * 1",
    execution_timezone="UTC",
    target=dg.AssetSelection.assets("base_model", "training/novelty_examples", "novelty_model"),
    tags={"alignrec/kind": "schedule"},
    description="Weekly: the novelty model learns anew where novelty.refresh_days says so; else nothing is computed.",
)

review_schedule = dg.ScheduleDefinition(
    "taxonomy_review",
    cron_schedule="0 5 1 * *",
    execution_timezone="UTC",
    target=dg.AssetSelection.checks(TAXONOMY_REVIEW),
    tags={"alignrec/kind": "schedule"},
    description="Monthly: whether items that are new still fit the clusters that stand (`alignrec recluster`).",
)

housekeeping_schedule = dg.ScheduleDefinition(
    "weekly_housekeeping",
    cron_schedule="0 6 * * 0",
    execution_timezone="UTC",
    job=housekeeping,
    tags={"alignrec/kind": "schedule"},
    description="Weekly: what the settings under housekeeping no longer keep is removed.",
)
