"""Checks beyond the contracts of the tables: volumes, rejected rows, drift, trainings that diverge, gates of models.

Limits are settings. What a figure alone can tell warns by default, or stops the line where ``checks.severity`` says so;
a gate always does.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from typing import Any

import dagster as dg
import duckdb

from alignrec_assets.assets.gates import missed_gates
from alignrec_assets.instance.check_results import last_results
from alignrec_assets.partitions import FIRST_DAY_TAG, LAST_DAY_TAG, window_start
from alignrec_assets.refresh.asset_factory import asset_key
from alignrec_assets.refresh.checkpoints import current_checkpoint
from alignrec_assets.refresh.declarations import DECLARATIONS, DECLARED, ancestors
from alignrec_assets.refresh.tables import CONTRACT_CHECK, Facts
from alignrec_assets.refresh.taxonomies import read_assignments, required_taxonomy
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.records import Record, read_records
from alignrec_assets.warehouse.rows import read_frame, set_wanted_days
from alignrec_assets.warehouse.tables import TABLES
from models.messages import listed

LEAST_TRAILING_DAYS = 3  # with fewer days before it, nothing is said of a day's volume
TAXONOMY_REVIEW = dg.AssetCheckKey(asset_key("interests.item_clusters"), "new_items_fit")

Made = dict[date, Record]
"""The records of all days of a table."""
Faults = dict[date, str]
"""What is wrong with days; those with which nothing is are left out."""


def build_checks(severity: str) -> list[dg.AssetChecksDefinition]:
    """All checks beyond the contracts; ``severity`` is that of the settings."""
    blocking = severity == "error"

    def check(asset: str, *, blocking: bool) -> Callable[[Callable[..., Any]], dg.AssetChecksDefinition]:
        return dg.asset_check(asset=asset_key(asset), blocking=blocking)

    return [
        volume_check("raw.events", blocking=blocking),
        volume_check("raw.feedback_logs", blocking=blocking),
        rejected_check("raw.events", blocking=blocking),
        rejected_check("raw.feedback_logs", blocking=blocking),
        check("raw.feedback_logs", blocking=blocking)(outcomes_matched),
        check("interests.user_cluster_days", blocking=blocking)(clustered_share),
        check("feedback.transition_counts", blocking=blocking)(feedback_rates),
        check("interests.item_clusters", blocking=False)(new_items_fit),
        convergence_check("novelty_model", blocking=blocking),
        convergence_check("alignment_model", blocking=blocking),
        check("novelty_model", blocking=True)(gates),
    ]


def volume_check(table: str, *, blocking: bool) -> dg.AssetChecksDefinition:
    """Rows of a day against the mean of the days before it."""

    @dg.asset_check(asset=asset_key(table), name="volume", blocking=blocking, description=volume_check.__doc__)
    def check(context: dg.AssetCheckExecutionContext, home: HomeResource) -> dg.AssetCheckResult:
        limits = home.settings.checks

        def faults(connection: duckdb.DuckDBPyConnection, made: Made, days: list[date]) -> Faults:  # noqa: ARG001
            order = sorted(made)
            rows = [made[day].rows for day in order]
            found = {}
            for day in days:
                place = bisect_left(order, day)
                before = rows[max(place - limits.trailing_days, 0) : place]
                if len(before) < LEAST_TRAILING_DAYS or not sum(before):
                    continue
                change = rows[place] / (sum(before) / len(before))
                if not 1 / limits.volume_change <= change <= limits.volume_change:
                    found[day] = f"{rows[place]:,} rows, {change:.3g} times the mean of the {len(before)} days before"
            return found

        return _judge_days(context, home, table, faults)

    return check


def rejected_check(table: str, *, blocking: bool) -> dg.AssetChecksDefinition:
    """Share of a day's landing rows that break the data contract."""

    @dg.asset_check(
        asset=asset_key(table), name="rejected_share", blocking=blocking, description=rejected_check.__doc__
    )
    def check(context: dg.AssetCheckExecutionContext, home: HomeResource) -> dg.AssetCheckResult:
        limit = home.settings.checks.rejected_share

        def faults(connection: duckdb.DuckDBPyConnection, made: Made, days: list[date]) -> Faults:  # noqa: ARG001
            found = {}
            for day in days:
                rejected = int(made[day].details.get("rejected", 0))
                read = made[day].rows + rejected + int(made[day].details.get("duplicates", 0))
                if rejected > limit * read:
                    share = f"{rejected:,} of {read:,} rows rejected ({rejected / read:.1%})"
                    found[day] = f"{share}; raw.rejected_rows tells why"
            return found

        return _judge_days(context, home, table, faults)

    return check


def outcomes_matched(context: dg.AssetCheckExecutionContext, home: HomeResource) -> dg.AssetCheckResult:
    """Share of a day's outcomes that belong to no impression."""
    limit = home.settings.checks.unmatched_share

    def faults(connection: duckdb.DuckDBPyConnection, made: Made, days: list[date]) -> Faults:  # noqa: ARG001
        found = {}
        for day in days:
            outcomes = int(made[day].details.get("outcomes", 0))
            reasons: dict[str, int] = made[day].details.get("unmatched_outcomes", {})
            unmatched = sum(reasons.values())
            if unmatched > limit * outcomes:
                told = "; ".join(f"{rows:,} {reason}" for reason, rows in reasons.items())
                share = f"{unmatched:,} of {outcomes:,} outcomes ({unmatched / outcomes:.1%}) count for nothing"
                found[day] = f"{share}: {told}"
        return found

    return _judge_days(context, home, "raw.feedback_logs", faults)


def clustered_share(context: dg.AssetCheckExecutionContext, home: HomeResource) -> dg.AssetCheckResult:
    """Share of a day's events that are of items with a cluster."""
    limit = home.settings.checks.clustered_share

    def faults(connection: duckdb.DuckDBPyConnection, made: Made, days: list[date]) -> Faults:  # noqa: ARG001
        set_wanted_days(connection, days)
        counted = connection.execute(query("evaluation.clustered_events")).fetchall()
        return {
            day: f"{clustered:,} of {total:,} events are of items with a cluster ({clustered / total:.1%})"
            for day, total, clustered in counted
            if clustered < limit * total
        }

    return _judge_days(context, home, "interests.user_cluster_days", faults)


def feedback_rates(context: dg.AssetCheckExecutionContext, home: HomeResource) -> dg.AssetCheckResult:
    """Drift of the clusters' positive rates on a day against the days before it."""
    from models.feedback.drift import SURE_OF_DRIFT, feedback_drift

    limits, partition = home.settings.checks, home.settings.calendar.partition

    def faults(connection: duckdb.DuckDBPyConnection, made: Made, days: list[date]) -> Faults:
        judged = [day for day in days if made[day].rows]
        spans = {
            "days": judged,
            "firsts": [window_start(day, limits.trailing_days + 1, partition) for day in judged],
            "taxonomy_version": required_taxonomy(home.home),
            "exposures": home.settings.feedback.exposures,
        }
        counts = read_frame(connection, query("evaluation.feedback_against_before"), spans)
        found = {}
        for (day,), compared in counts.group_by(["day"], maintain_order=True):
            drift = feedback_drift(compared)
            if drift.p_value < SURE_OF_DRIFT and drift.change > limits.drift_limit:
                found[day] = f"rates of {drift.clusters} clusters differ by {drift.change:.3f} from the days before"
        return found

    return _judge_days(context, home, "feedback.transition_counts", faults)


def new_items_fit(home: HomeResource) -> dg.AssetCheckResult:
    """Whether items that came after the taxonomy was made are as close to their clusters as those that made it."""
    from models.interests.later_items import fit_of_later_items

    later = fit_of_later_items(read_assignments(home.home, required_taxonomy(home.home)))
    if not later.items:
        return dg.AssetCheckResult(passed=True, metadata={"new_items": 0})
    passed = later.similarity_share >= home.settings.checks.similarity_share
    return dg.AssetCheckResult(
        passed=passed,
        severity=_severity(home),
        description=None if passed else "new items fit the clusters badly: `alignrec recluster` makes a new taxonomy",
        metadata={"new_items": later.items, "similarity_of_new_items": later.similarity_share},
    )


def convergence_check(model: str, *, blocking: bool) -> dg.AssetChecksDefinition:
    """The validation loss of a training stays near its least, and is a number."""

    @dg.asset_check(
        asset=asset_key(model), name="training_converged", blocking=blocking, description=convergence_check.__doc__
    )
    def check(home: HomeResource) -> dg.AssetCheckResult:
        checkpoint = current_checkpoint(home.warehouse(), model)
        # Steps behind the weights that were kept only showed that there was nothing more to learn.
        kept = checkpoint.figures.get("steps", math.inf) if checkpoint else 0
        curve = checkpoint.manifest["curve"] if checkpoint else []
        losses = [point["validation_loss"] for point in curve if point["step"] <= kept]
        rise = losses[-1] / min(losses) if losses else 1.0
        passed = math.isfinite(rise) and rise <= home.settings.checks.loss_rise
        told = f"the validation loss ends at {rise:.2f} times its least: lower the learning rate or train for less long"
        return dg.AssetCheckResult(
            passed=passed,
            severity=_severity(home),
            description=None if passed else told,
            metadata={"last_over_least": rise},
        )

    return check


def gates(home: HomeResource) -> dg.AssetCheckResult:
    """Format validity and held-out recall of the novelty model, under which nothing is published."""
    checkpoint = current_checkpoint(home.warehouse(), "novelty_model")
    figures = checkpoint.figures if checkpoint else {}
    missed = missed_gates(figures, home)
    shown: Facts = {name: figures[name] for name in ("format_validity_tuned", "recall_at_3") if name in figures}
    return dg.AssetCheckResult(passed=not missed, description="; ".join(missed) or None, metadata=shown)


@cache
def blocking_checks(severity: str) -> frozenset[dg.AssetCheckKey]:
    """Keys of the checks beyond the contracts that stop the line."""
    specs = [spec for check in build_checks(severity) for spec in check.check_specs]
    return frozenset(spec.key for spec in specs if spec.blocking)


def checks_before(asset: str, settings: Settings) -> set[dg.AssetCheckKey]:
    """Checks that stop the line before an asset: of what it is made from, near and far; of all days for whole ones."""
    upstream = ancestors(asset)
    if not DECLARED[asset].daily:
        upstream |= {declared.name for declared in DECLARATIONS if declared.daily}
    contracts = {dg.AssetCheckKey(asset_key(name), CONTRACT_CHECK) for name in upstream & TABLES.keys()}
    keys = {asset_key(name) for name in upstream}
    return contracts | {key for key in blocking_checks(settings.checks.severity) if key.asset_key in keys}


def _judge_days(
    context: dg.AssetCheckExecutionContext,
    home: HomeResource,
    table: str,
    faults: Callable[[duckdb.DuckDBPyConnection, Made, list[date]], Faults],
) -> dg.AssetCheckResult:
    """The result of a check over the days of the run that were made; those that fail are named.

    One result for all days: Dagster's partitioned checks cannot tell the days of a run apart, see their test.
    Where it stops the line, days that failed before are judged again, whatever the days of the run: until they pass.
    """
    with home.warehouse(context.log.info).reading() as connection:
        made = {date.fromisoformat(key): record for key, record in read_records(connection, table).items()}
        failed = _failed_before(context) if home.settings.checks.severity == "error" else set()
        days = sorted({*_days_of_run(context, made), *(failed & made.keys())})
        found = faults(connection, made, days)
    told = listed([f"{day}: {words}" for day, words in found.items()], "; ", rest="the check's metadata has every day")
    if told:
        context.log.warning(told)
    return dg.AssetCheckResult(
        passed=not found,
        severity=_severity(home),
        description=told or None,
        metadata={"days": len(days), **{day.isoformat(): words for day, words in found.items()}},
    )


def _failed_before(context: dg.AssetCheckExecutionContext) -> set[date]:
    """The days that the last result of the check named, where it stopped the line."""
    (check,) = context.selected_asset_check_keys
    last = last_results(context.instance, {check}).get(check)
    if last is None or last.passed or last.severity != dg.AssetCheckSeverity.ERROR:
        return set()
    return {date.fromisoformat(name) for name in last.metadata if name != "days"}


def _days_of_run(context: dg.AssetCheckExecutionContext, made: dict[date, Record]) -> Iterator[date]:
    """The days that the run asks for; those of a check that runs alone: all."""
    tags = context.run.tags
    one = tags.get("dagster/partition")
    first = one or tags.get(FIRST_DAY_TAG, date.min.isoformat())
    last = one or tags.get(LAST_DAY_TAG, date.max.isoformat())
    return (day for day in sorted(made) if first <= day.isoformat() <= last)


def _severity(home: HomeResource) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity[home.settings.checks.severity.upper()]
