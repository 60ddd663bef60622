"""Feedback assets: who was shown what after which history, counted by day, and scored over a window."""

from datetime import date

import dagster as dg
import duckdb
import polars as pl

from alignrec_assets.assets.interests import first_interactions, item_clusters, user_cluster_days
from alignrec_assets.assets.raw import bring_back_pruned_days, feedback_logs, rejected_rows
from alignrec_assets.home import Home
from alignrec_assets.partitions import DAYS
from alignrec_assets.refresh.asset_settings import settings_of
from alignrec_assets.refresh.days import DailyTable, Recipe, daily_asset, refresh_days, refresh_query_days
from alignrec_assets.refresh.fingerprints import Input, code_version
from alignrec_assets.refresh.tables import Facts, Result
from alignrec_assets.refresh.taxonomies import required_taxonomy
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.settings.sections import FeedbackSettings
from alignrec_assets.settings.sources import load_settings
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.rows import append_rows, read_frame, replace_days
from models.progress import Progress

USERS_CODE = code_version(queries=["feedback.transition_users"])
COUNTS_CODE = code_version(queries=["feedback.transition_counts"])
TRANSITION_COUNTS = Recipe("feedback.transition_counts", COUNTS_CODE, (Input("feedback.transition_users", "day"),))
SIGNALS = ("positive", "liked", "shared", "completed", "not_skipped")
WINDOW_DAYS = load_settings(Home.from_environment()).feedback.window_days  # for the UI; the recipe asks the settings
SCORES_CODE = code_version(
    "models/feedback/transition_scores.py",
    "models/feedback/priors.py",
    "models/feedback/normalisation.py",
    queries=["feedback.transition_scores"],
)


@dg.asset(
    **daily_asset(
        "feedback.transition_users",
        code=USERS_CODE,
        kinds={"sql"},
        deps=[feedback_logs, item_clusters, user_cluster_days, first_interactions, rejected_rows],
        partitions=DAYS,
    )
)
def transition_users(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Logged impressions, or first interactions replayed as if they were."""
    recipe = transition_users_recipe(home)

    def build(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, tuple[int, Facts]]:
        rows = replace_days(connection, recipe.table, days, recipe.parameters)
        source = {"source": home.settings.feedback.source}
        left_out = dict(connection.execute(query("feedback.left_out_impressions"), source).fetchall())
        return {day: (count, {"left_out_impressions": int(left_out[day])}) for day, count in rows.items()}

    bring_back = bring_back_pruned_days(home, recipe.inputs, context.log.info)
    table = DailyTable(recipe.table, recipe.fingerprints, build, bring_back)
    return refresh_days(context, home.warehouse(context.log.info), table)


def transition_users_recipe(home: HomeResource) -> Recipe:
    """Impressions of the day and the histories that stood then."""
    settings = home.settings
    parameters = {
        "taxonomy_version": required_taxonomy(home.home),
        "history_clusters": settings.history.clusters,
        "source": settings.feedback.source,
        "replay_share": settings.feedback.replay_share,
    }
    inputs = (
        Input("raw.feedback_logs", "day"),
        Input("interests.item_clusters"),
        Input("interests.user_cluster_days", "past"),
        Input("interests.first_interactions", "day"),
    )
    return Recipe("feedback.transition_users", USERS_CODE, inputs, parameters)


@dg.asset(
    **daily_asset(
        "feedback.transition_counts", code=COUNTS_CODE, kinds={"sql"}, deps=[transition_users], partitions=DAYS
    )
)
def transition_counts(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Sums of the day's users."""
    return refresh_query_days(context, home.warehouse(context.log.info), TRANSITION_COUNTS)


@dg.asset(
    **daily_asset(
        "feedback.transition_scores",
        code=SCORES_CODE,
        kinds={"sql", "scipy"},
        deps=[
            dg.AssetDep(
                transition_users,
                partition_mapping=dg.TimeWindowPartitionMapping(
                    start_offset=1 - WINDOW_DAYS, allow_nonexistent_upstream_partitions=True
                ),
            )
        ],
        partitions=DAYS,
    )
)
def transition_scores(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """As of each day, over the window that ends with it."""
    recipe = transition_scores_recipe(home)
    taxonomy, settings = required_taxonomy(home.home), home.settings

    def build(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, tuple[int, Facts]]:
        progress = Progress(len(days), "days", context.log.info)
        made = {}
        for day in days:
            made[day] = _score_day(connection, day, taxonomy, settings)
            progress.advance()
        return made

    table = DailyTable(recipe.table, recipe.fingerprints, build)
    return refresh_days(context, home.warehouse(context.log.info), table)


def transition_scores_recipe(home: HomeResource) -> Recipe:
    """The users of the days of the window."""
    parameters = {
        "settings": settings_of("feedback.transition_scores", home.settings),
        "taxonomy": required_taxonomy(home.home),
    }
    inputs = (Input("feedback.transition_users", "window", days=home.settings.feedback.window_days),)
    return Recipe("feedback.transition_scores", SCORES_CODE, inputs, parameters)


def score_options(settings: FeedbackSettings) -> Facts:
    """The settings as arguments of ``models.feedback.transition_scores.ScoreOptions``."""
    return {
        "minimum_impressions": settings.minimum_impressions,
        "minimum_share_of_mean": settings.minimum_share_of_mean,
        "minimum_users": settings.minimum_users,
        "normalisation": settings.normalisation,
        "interval": None if settings.interval == "auto" else settings.interval,
    }


def _score_day(
    connection: duckdb.DuckDBPyConnection, day: date, taxonomy: str, settings: Settings
) -> tuple[int, Facts]:
    from models.feedback.transition_scores import ScoreOptions
    from models.feedback.transition_scores import transition_scores as score

    parameters = {"as_of": day, "window_days": settings.feedback.window_days, "taxonomy_version": taxonomy}
    counted = read_frame(connection, query("feedback.transition_scores"), parameters).with_columns(
        pl.col("impressions", "users", *SIGNALS).cast(pl.Int64)
    )
    connection.execute("DELETE FROM feedback.transition_scores WHERE day = $day", {"day": day})
    facts: Facts = {"cells": counted.height, "notes": []}
    rows = 0
    for signal in SIGNALS:
        cells = counted.select("history", "cluster_id", "impressions", "users", pl.col(signal).alias("positives"))
        scored = score(cells, ScoreOptions(prior="cluster", **score_options(settings.feedback)))
        frame = scored.scores.with_columns(
            pl.lit(day).alias("day"), pl.lit(taxonomy).alias("taxonomy_version"), pl.lit(signal).alias("signal")
        )
        append_rows(connection, "feedback.transition_scores", frame)
        rows += frame.height
        facts["notes"] += [f"{signal}: {note}" for note in scored.notes]
        if signal == settings.feedback.signal:
            facts |= {
                "surviving_cell_share": scored.filtered.cell_share,
                "surviving_impression_share": scored.filtered.impression_share,
                "minimum_impressions": scored.filtered.minimum_impressions,
                "interval": scored.interval,
            }
    return rows, facts
