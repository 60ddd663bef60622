"""Feedback assets: who was shown what after which history, counted by day, and scored over a window."""

from datetime import date

import dagster as dg
import duckdb
import polars as pl

from alignrec_assets.assets.raw import bring_back_pruned_days
from alignrec_assets.refresh.asset_factory import makes
from alignrec_assets.refresh.days import DailyTable, declared_fingerprints, refresh_days, refresh_query_days
from alignrec_assets.refresh.tables import Facts, Result
from alignrec_assets.refresh.taxonomies import required_taxonomy
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.settings.sections import FeedbackSettings
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.rows import append_rows, read_frame, replace_days
from models.progress import Progress

SIGNALS = ("positive", "liked", "shared", "completed", "not_skipped")


@makes("feedback.transition_users")
def transition_users(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Logged impressions, or first interactions replayed as if they were."""
    name, settings = "feedback.transition_users", home.settings
    parameters = transition_users_parameters(settings, required_taxonomy(home.home))

    def build(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, tuple[int, Facts]]:
        rows = replace_days(connection, name, days, parameters)
        source = {"source": settings.feedback.source}
        left_out = dict(connection.execute(query("feedback.left_out_impressions"), source).fetchall())
        return {day: (count, {"left_out_impressions": int(left_out[day])}) for day, count in rows.items()}

    bring_back = bring_back_pruned_days(home, name, context.log.info)
    table = DailyTable(name, declared_fingerprints(name, settings), build, bring_back)
    return refresh_days(context, home, table)


def transition_users_parameters(settings: Settings, taxonomy: str) -> Facts:
    """Parameters of the query ``feedback.transition_users``."""
    return {
        "taxonomy_version": taxonomy,
        "history_clusters": settings.history.clusters,
        "source": settings.feedback.source,
        "replay_share": settings.feedback.replay_share,
    }


@makes("feedback.transition_counts")
def transition_counts(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Sums of the day's users."""
    return refresh_query_days(context, home, "feedback.transition_counts")


@makes("feedback.transition_scores")
def transition_scores(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """As of each day, over the window that ends with it."""
    name, taxonomy, settings = "feedback.transition_scores", required_taxonomy(home.home), home.settings

    def build(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, tuple[int, Facts]]:
        progress = Progress(len(days), "days", context.log.info)
        made = {}
        for day in days:
            made[day] = score_day(connection, day, taxonomy, settings)
            progress.advance()
        return made

    table = DailyTable(name, declared_fingerprints(name, settings), build)
    return refresh_days(context, home, table)


def score_options(settings: FeedbackSettings) -> Facts:
    """The settings as arguments of ``models.feedback.transition_scores.ScoreOptions``."""
    return {
        "minimum_impressions": settings.minimum_impressions,
        "minimum_share_of_mean": settings.minimum_share_of_mean,
        "minimum_users": settings.minimum_users,
        "normalisation": settings.normalisation,
        "interval": None if settings.interval == "auto" else settings.interval,
    }


def counted_cells(
    connection: duckdb.DuckDBPyConnection, as_of: date, taxonomy: str, settings: Settings
) -> pl.DataFrame:
    """The cells of the window that ends with a day, with a column of counts for each signal."""
    parameters = {"as_of": as_of, "window_days": settings.feedback.window_days, "taxonomy_version": taxonomy}
    return read_frame(connection, query("feedback.transition_scores"), parameters)


def is_absent(counted: pl.DataFrame, signal: str) -> bool:
    """Whether cells show nothing of a signal, as where a log has no such column: no like, or nothing skipped."""
    absent = counted["impressions"].sum() if signal == "not_skipped" else 0
    return bool(counted[signal].sum() == absent)


def score_day(connection: duckdb.DuckDBPyConnection, day: date, taxonomy: str, settings: Settings) -> tuple[int, Facts]:
    """Score the cells as of a day, for each signal that the window shows; returns rows and facts."""
    from models.feedback.transition_scores import ScoreOptions, scores_of_signal

    counted = counted_cells(connection, day, taxonomy, settings)
    options = ScoreOptions(prior="cluster", **score_options(settings.feedback))
    connection.execute("DELETE FROM feedback.transition_scores WHERE day = $day", {"day": day})
    facts: Facts = {"cells": counted.height, "notes": []}
    rows = 0
    for signal in SIGNALS:
        scored = scores_of_signal(counted, signal, options)
        if signal == settings.feedback.signal:
            facts |= {
                "surviving_cell_share": scored.filtered.cell_share,
                "surviving_impression_share": scored.filtered.impression_share,
                "minimum_impressions": scored.filtered.minimum_impressions,
                "interval": scored.interval,
            }
        if counted.height and is_absent(counted, signal):
            facts["notes"].append(f"{signal}: no impression of the window tells it, so it is not scored")
            continue
        frame = scored.scores.with_columns(
            pl.lit(day).alias("day"), pl.lit(taxonomy).alias("taxonomy_version"), pl.lit(signal).alias("signal")
        )
        append_rows(connection, "feedback.transition_scores", frame)
        rows += frame.height
        facts["notes"] += [f"{signal}: {note}" for note in scored.notes]
    return rows, facts
