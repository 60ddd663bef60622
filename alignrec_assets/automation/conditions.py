"""Conditions of this project: what a home has recorded decides whether an asset is requested.

A condition on days asks the recorded fingerprints: a day is requested when it would not be made from the same today,
and never otherwise. So a late day D asks for D alone where only the day counts, and for D to the last day where history
counts.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg

from alignrec_assets.assets.quality_checks import checks_before
from alignrec_assets.assets.training import news_of_feedback
from alignrec_assets.home import Home
from alignrec_assets.instance.check_results import failed_checks
from alignrec_assets.partitions import partition_days
from alignrec_assets.refresh.declarations import DECLARED, Read
from alignrec_assets.refresh.fingerprints import day_fingerprints
from alignrec_assets.refresh.tables import CONTRACT_CHECK
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.connection import Warehouse, WarehouseError
from alignrec_assets.warehouse.records import Record, read_records

PUBLISHED = "publication.transition_table"
PATIENCE_SECONDS = 5.0  # where a step holds the warehouse, the next tick looks again


Entity = dg.AssetKey | dg.AssetCheckKey  # what Dagster's own conditions are about
Condition = dg.AutomationCondition[Entity]


class ConditionOfHome(dg.AutomationCondition[Entity]):
    """A condition on what a home has recorded."""

    shown_as = ""

    def __init__(self, home: Home) -> None:
        self.home = HomeResource(database=str(home.warehouse))

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return self.shown_as


class StaleDays(ConditionOfHome):
    """Days whose inputs are complete, and that would be made from something else than they were made from."""

    shown_as = "stale_days"

    def evaluate(self, context: dg.AutomationContext[Entity]) -> dg.AutomationResult[Entity]:
        """Look at the recorded fingerprints of the table and of what it reads."""
        days = {day.isoformat() for day in stale_days(self.home, _name(context.key))}
        wanted = context.candidate_subset.compute_intersection_with_partition_keys(days)
        return dg.AutomationResult(context, wanted)


class EnoughNewFeedback(ConditionOfHome):
    """The alignment model's feedback has grown by the share that the settings name, or its rates have drifted."""

    shown_as = "enough_new_feedback"

    def evaluate(self, context: dg.AutomationContext[Entity]) -> dg.AutomationResult[Entity]:
        """Compare the days since the last training set with those that it was made from."""
        wanted = context.candidate_subset if reason_to_learn(self.home) else context.get_empty_subset()
        return dg.AutomationResult(context, wanted)


class NeverMade(ConditionOfHome):
    """The asset was never made, and every day that was read has come as far as the novelty model's examples."""

    shown_as = "never_made"

    def evaluate(self, context: dg.AutomationContext[Entity]) -> dg.AutomationResult[Entity]:
        """Look at the records: a first model must not be tuned on the first of many days."""
        due = never_made(self.home, _name(context.key))
        return dg.AutomationResult(context, context.candidate_subset if due else context.get_empty_subset())


class NoCheckFailed(ConditionOfHome):
    """No check before the asset that stops the line failed when it ran last.

    Contracts count for publication alone: rows that break one never reached a table, so other days continue.
    """

    shown_as = "no_check_failed"

    def evaluate(self, context: dg.AutomationContext[Entity]) -> dg.AutomationResult[Entity]:
        """Look at the latest results."""
        asset = _name(context.key)
        checks = checks_before(asset, self.home.settings)
        counting = [each for each in checks if asset == PUBLISHED or each.name != CONTRACT_CHECK]
        failed = failed_checks(context.asset_graph_view.instance, counting)
        return dg.AutomationResult(context, context.get_empty_subset() if failed else context.candidate_subset)


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
    settings = home.settings
    days = partition_days(settings.calendar)
    try:
        with _warehouse(home).reading() as connection:
            records = {read.asset: read_records(connection, read.asset) for read in DECLARED[table].reads}
            complete = _complete_days(days, DECLARED[table].reads, records, settings)
            wanted = day_fingerprints(connection, table, complete, settings)
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
            until = date.fromisoformat(max(scored)) - timedelta(days=home.settings.alignment.holdout_days)
            return news_of_feedback(connection, learned.details, until, home.settings)
    except (WarehouseError, ValueError):
        return None


def _complete_days(
    days: list[date], reads: Sequence[Read], records: dict[str, dict[str, Record]], settings: Settings
) -> list[date]:
    """Days for which all that they read was made: whole tables at all, daily ones on every day that is looked at."""
    if not all(records[read.asset] for read in reads if read.reach == "whole"):
        return []
    complete = set(days)
    for read in reads:
        if read.reach != "whole":
            missing = [day for day in days if day.isoformat() not in records[read.asset]]
            complete -= {
                day for day in complete if bisect_right(missing, day) > bisect_left(missing, read.since(day, settings))
            }
    return sorted(complete)


def _warehouse(home: HomeResource) -> Warehouse:
    return Warehouse(home.home, patience_seconds=PATIENCE_SECONDS)


def _name(key: Entity) -> str:
    return ".".join((key.asset_key if isinstance(key, dg.AssetCheckKey) else key).path)
