"""Training sets: novel transitions by day, and the examples that the two language models learn from."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import duckdb
import polars as pl

from alignrec_assets.assets.feedback import (
    counted_cells,
    feedback_span,
    filter_options,
    novel_impression_ratio,
    score_options,
)
from alignrec_assets.partitions import last_day_of, partition_of
from alignrec_assets.refresh.asset_factory import makes
from alignrec_assets.refresh.days import refresh_query_days
from alignrec_assets.refresh.tables import Facts, Result, refresh_table
from alignrec_assets.refresh.taxonomies import required_taxonomy
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.settings.sections import NoveltySettings
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.records import latest_day, read_records
from alignrec_assets.warehouse.rows import read_frame, table_frame
from models.novelty.examples import last_learning_day

LEAST_USERS = 2
LEAST_IMPRESSIONS = 100
"""Among fewer impressions a positive may be missing by chance, and no model is trained on so few."""

if TYPE_CHECKING:
    from models.alignment.pointwise_examples import PointwiseOptions


@makes("training.novel_transitions")
def novel_transitions(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Positive first interactions that no exploration impression led to."""
    return refresh_query_days(context, home, "training.novel_transitions")


@makes("training.novelty_examples")
def novelty_examples(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Chosen for diversity over target labels; with replayed feedback, from users who are not replayed."""
    settings = home.settings
    warehouse = home.warehouse(context.log.info)
    taxonomy = required_taxonomy(home.home)
    options = settings.novelty
    replay_share = settings.feedback.replay_share if settings.feedback.source == "replay" else 0.0
    latest = latest_day(warehouse, "training.novel_transitions")
    partition = settings.calendar.partition
    learned = last_learning_day(settings.calendar.first_day, latest, options.refresh_days)
    as_of = last_day_of(partition_of(learned, partition), partition)

    def build() -> tuple[pl.DataFrame, Facts]:
        from models.novelty.examples import choose_novelty_examples

        until = last_day_of(partition_of(latest, partition), partition)
        parameters = {"until": until, "taxonomy_version": taxonomy, "replay_share": replay_share}
        with warehouse.reading() as connection:
            found = read_frame(connection, query("training.novelty_examples"), parameters)
        transitions = found.filter(pl.col("day") <= as_of).drop("day")
        require_transitions(transitions, settings, as_of)
        rows = choose_novelty_examples(
            transitions, options.maximum_examples, options.examples_per_label_limit, options.holdout_share, options.seed
        )
        of = {split: rows.filter(pl.col("split") == split) for split in ("train", "counted", "validation", "holdout")}
        facts: Facts = {
            "as_of": as_of.isoformat(),
            "novel_transitions": transitions.height,
            "later_transitions": found.height - transitions.height,
            "training_examples": of["train"].height,
            "counted_examples": of["counted"].height,
            "validation_examples": of["validation"].height,
            "holdout_examples": of["holdout"].height,
            "target_labels": of["train"]["cluster_id"].n_unique(),
        }
        context.log.info(told_examples(facts, options))
        return rows.with_columns(pl.lit(as_of).alias("as_of")), facts

    def little_new(standing: Facts, facts: Facts) -> str | None:
        then, now = int(standing["novel_transitions"]), int(facts["novel_transitions"])
        if abs(now - then) >= options.new_transitions_share * then:
            return None
        return (
            f"{now:,} novel transitions up to {as_of}, {then:,} when the examples were chosen: the model learns again "
            f"when they differ by {options.new_transitions_share:.0%} (novelty.new_transitions_share)"
        )

    return refresh_table(context, home, "training.novelty_examples", as_of, build, little_new)


def require_transitions(transitions: pl.DataFrame, settings: Settings, as_of: date) -> None:
    """Refuse to learn where there is nothing to learn from, or nothing to measure what was learned on.

    Raises:
        ValueError: naming what is there, what is needed, and what to do.
    """
    users, history = transitions["user_id"].n_unique(), settings.history.clusters
    if users >= LEAST_USERS:
        return
    whose = "users who are not replayed" if settings.feedback.source == "replay" else "users"
    raise ValueError(
        f"up to {as_of} there are {transitions.height:,} novel transitions of {users:,} {whose}, and {LEAST_USERS} "
        "such users are needed, one to learn from and one to measure on: a transition is a user's first event in a "
        f"cluster, a positive one, after positive events in {history} others (history.clusters). Ingest more users or "
        "days, or check what counts as positive (`alignrec settings`, positive.*)"
    )


def told_examples(facts: Facts, settings: NoveltySettings) -> str:
    """How many of the novel transitions that were read are examples, and where the others are."""
    told = (
        f"{facts['training_examples']:,} of {facts['novel_transitions']:,} novel transitions up to {facts['as_of']} "
        f"are examples (at most {settings.maximum_examples:,}, novelty.maximum_examples), "
        f"{facts['counted_examples']:,} more are counted, {facts['validation_examples']:,} choose, and "
        f"{facts['holdout_examples']:,} are held out"
    )
    later = facts["later_transitions"]
    waiting = (
        f"; {later:,} later ones wait until novelty.refresh_days = {settings.refresh_days} have passed" if later else ""
    )
    return told + waiting


@makes("training.pointwise_examples")
def pointwise_examples(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """The scores of the latest day, split by history; priors and normalisation see training histories alone."""
    settings = home.settings
    warehouse = home.warehouse(context.log.info)
    taxonomy = required_taxonomy(home.home)
    options = settings.alignment
    as_of = last_day_learned(warehouse, settings)

    def build() -> tuple[pl.DataFrame, Facts]:
        from models.alignment.pointwise_examples import histories_by_split
        from models.alignment.pointwise_examples import pointwise_examples as examples_of

        with warehouse.reading() as connection:
            parameters = {"as_of": as_of, "taxonomy_version": taxonomy, "signal": settings.feedback.signal}
            scored = read_frame(connection, query("training.pointwise_examples"), parameters)
            span = feedback_span(as_of, taxonomy, settings)
            counted, ratio = counted_cells(connection, span, settings), novel_impression_ratio(connection, span)
        require_a_positive(counted, settings, as_of)
        rows = examples_of(scored, pointwise_options(settings))
        if options.training_user_share < 1:
            rows = taught_by_some_users(warehouse, settings, rows, options.training_user_share, as_of)
        rows = with_other_judges(warehouse, settings, rows, counted, span)
        held = {f"{split}_histories": histories for split, histories in histories_by_split(rows).items()}
        facts: Facts = {
            "as_of": as_of.isoformat(),
            "taxonomy_version": taxonomy,
            "impressions": int(counted["impressions"].sum()),
            "novel_impression_ratio": ratio,
            **held,
        }
        return rows.with_columns(pl.lit(as_of).alias("as_of"), pl.lit(taxonomy).alias("taxonomy_version")), facts

    def little_new(standing: Facts, _: Facts) -> str | None:
        with warehouse.reading() as connection:
            if news_of_feedback(connection, standing, as_of, settings):
                return None
        share, limit = settings.automation.new_feedback_share, settings.automation.drift_limit
        return (
            f"the feedback up to {as_of} holds less than {share:.0%} new impressions (automation.new_feedback_share) "
            f"and no drift above {limit:g} (automation.drift_limit) since the training set of {standing['as_of']}"
        )

    return refresh_table(context, home, "training.pointwise_examples", as_of, build, little_new)


def news_of_feedback(
    connection: duckdb.DuckDBPyConnection, learned: Facts, until: date, settings: Settings
) -> str | None:
    """Why the alignment model is worth training again, or None.

    Args:
        connection: reads.
        learned: the facts of the training set that stands.
        until: the last day whose feedback would be learned from.
        settings: the shares of ``automation``.
    """
    if "impressions" not in learned:
        return "the training set was made by an older alignrec"
    span = feedback_span(date.fromisoformat(learned["as_of"]), learned["taxonomy_version"], settings)
    asked = {"until": until, "exposures": settings.feedback.exposures}
    counts = read_frame(connection, query("evaluation.feedback_since"), span | asked)
    return _growth(counts, learned["impressions"], settings) or _drift(counts, settings)


def _growth(counts: pl.DataFrame, learned: int, settings: Settings) -> str | None:
    """Impressions of later days, and those that came late for days that were learned from."""
    after = float(counts["after"].sum()) + abs(float(counts["before"].sum()) - learned)
    if after > 0 and after >= settings.automation.new_feedback_share * learned:
        return f"{after:,.0f} impressions since the last training set, which was made from {learned:,}"
    return None


def _drift(counts: pl.DataFrame, settings: Settings) -> str | None:
    from models.feedback.drift import SURE_OF_DRIFT, feedback_drift

    drift = feedback_drift(counts)
    limit = settings.automation.drift_limit
    if drift.p_value < SURE_OF_DRIFT and drift.change > limit:
        return f"rates of clusters changed by {drift.change:.3f} since the last training set, more than {limit:g}"
    return None


def require_a_positive(counted: pl.DataFrame, settings: Settings, as_of: date) -> None:
    """Refuse feedback in which no impression has the signal: a model that learned it would rank by nothing.

    Args:
        counted: cells of the window, with ``impressions`` and a column for each signal.
        settings: the signal and the window.
        as_of: last day of the window.

    Raises:
        ValueError: naming the signal, the impressions, the days, and what to look at. No impressions at all are no
            error, nor are few: the table is then planned by novelty alone.
    """
    signal, days = settings.feedback.signal, settings.feedback.window_days
    impressions = int(counted["impressions"].sum())
    if impressions < LEAST_IMPRESSIONS or counted[signal].sum():
        return
    raise ValueError(
        f"feedback.signal is {signal!r}, and none of the {impressions:,} impressions of the {days} days up to {as_of} "
        "has it: there is nothing to align with, and the published table stays. Look whether outcomes belong to "
        "impressions (the check outcomes_matched of raw.feedback_logs tells), at the rule under [positive], or choose "
        "another feedback.signal"
    )


@makes("training.pairwise_examples")
def pairwise_examples(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Pairs of the pointwise examples of a history, ties dropped; empty while the loss is pointwise."""
    settings = home.settings
    warehouse = home.warehouse(context.log.info)
    with warehouse.reading() as connection:
        rows = table_frame(connection, "training.pointwise_examples")
        learned = read_records(connection, "training.pointwise_examples").get("")
    if learned is None:
        raise ValueError("training.pointwise_examples is not materialized yet: materialize it first")
    as_of = date.fromisoformat(learned.details["as_of"])

    def build() -> tuple[pl.DataFrame, Facts]:
        from models.alignment.pairs import pairs_for_loss

        options = settings.alignment
        pairs = pairs_for_loss(rows, options.loss, options.pairs_per_history, options.seed)
        stamped = pairs.with_columns(
            pl.lit(as_of).alias("as_of"), pl.lit(required_taxonomy(home.home)).alias("taxonomy_version")
        )
        return stamped, {"as_of": as_of.isoformat()}

    return refresh_table(context, home, "training.pairwise_examples", as_of, build)


def last_day_learned(warehouse: Warehouse, settings: Settings) -> date:
    """The last day whose feedback the alignment model learns from: the partitions of the days held out come after it.

    Raises:
        ValueError: no day was scored yet.
    """
    partition = settings.calendar.partition
    latest = latest_day(warehouse, "feedback.transition_scores")
    return last_day_of(partition_of(latest - timedelta(days=settings.alignment.holdout_days), partition), partition)


def pointwise_options(settings: Settings) -> "PointwiseOptions":
    """The settings by which counted cells become examples."""
    from models.alignment.pointwise_examples import PointwiseOptions

    chosen, scored = settings.alignment, score_options(settings.feedback)
    return PointwiseOptions(
        holdout_share=chosen.holdout_share,
        report_share=chosen.report_share,
        unseen_cluster_share=chosen.unseen_cluster_share,
        prior=settings.feedback.prior,
        normalisation=scored["normalisation"],
        interval=scored["interval"],
        seed=chosen.seed,
    )


def taught_by_some_users(
    warehouse: Warehouse, settings: Settings, examples: pl.DataFrame, share: float, as_of: date
) -> pl.DataFrame:
    """Examples whose training rows come from a share of the users; the held-out rows stay as they are."""
    from models.alignment.pointwise_examples import with_less_feedback

    span = feedback_span(as_of, required_taxonomy(warehouse.home), settings)
    with warehouse.reading() as connection:
        counted = counted_cells(connection, span, settings, share)
    return with_less_feedback(
        examples,
        counted,
        pointwise_options(settings),
        **filter_options(settings.feedback),
    )


def with_other_judges(
    warehouse: Warehouse, settings: Settings, examples: pl.DataFrame, counted: pl.DataFrame, span: Facts
) -> pl.DataFrame:
    """Examples with the columns of the contest with users kept apart: some of the users teach, the others judge.

    Args:
        warehouse: reads.
        settings: which users teach, and the limits of a cell.
        examples: of all users.
        counted: the cells of all users in the window.
        span: the window.
    """
    from models.alignment.apart_examples import TEACHING_SHARE, with_users_apart

    share = min(settings.alignment.training_user_share, TEACHING_SHARE)
    with warehouse.reading() as connection:
        teaching = counted_cells(connection, span, settings, share)
    return with_users_apart(examples, counted, teaching, **filter_options(settings.feedback))
