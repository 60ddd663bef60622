"""Feedback assets: who was shown what after which history, counted by day, and scored over a window."""

from datetime import date, timedelta

import dagster as dg
import duckdb
import polars as pl

from alignrec_assets.assets.past_interests import bring_to_day_before
from alignrec_assets.assets.raw import bring_back_pruned_days
from alignrec_assets.partitions import partition_of
from alignrec_assets.refresh.asset_factory import makes
from alignrec_assets.refresh.days import DailyTable, declared_fingerprints, refresh_days, refresh_query_days
from alignrec_assets.refresh.fingerprints import SeenDays
from alignrec_assets.refresh.tables import Facts, Result
from alignrec_assets.refresh.taxonomies import required_taxonomy
from alignrec_assets.refresh.windows import first_feedback_day
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.settings.sections import FeedbackSettings
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.records import read_records
from alignrec_assets.warehouse.rows import append_rows, read_frame, replace_days, set_wanted_days
from models.feedback.score_changes import score_changes
from models.progress import Progress

SIGNALS = ("positive", "liked", "shared", "completed", "not_skipped")


@makes("feedback.transition_users")
def transition_users(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Logged impressions, or first interactions replayed as if they were."""
    name, taxonomy, settings = "feedback.transition_users", required_taxonomy(home.home), home.settings
    parameters = transition_users_parameters(settings, taxonomy)

    def build(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, tuple[int, Facts]]:
        snapshot = {"snapshot_day": bring_to_day_before(connection, min(days), taxonomy)}
        rows = replace_days(connection, name, days, parameters | snapshot)
        facts = uncounted_impressions(connection, parameters)
        waiting = sum(facts[day]["waiting_impressions"] for day in days)
        if waiting:
            context.log.info(
                f"{waiting:,} impressions wait for the end of their window (landing.attribution_hours = "
                f"{settings.landing.attribution_hours:g}), then their days are counted again"
            )
        return {day: (count, facts[day]) for day, count in rows.items()}

    bring_back = bring_back_pruned_days(home, name, context.log.info)
    table = DailyTable(name, declared_fingerprints(name, settings), build, bring_back)
    return refresh_days(context, home, table)


def uncounted_impressions(connection: duckdb.DuckDBPyConnection, parameters: Facts) -> dict[date, Facts]:
    """Of each of ``wanted_days`` the impressions that wait, and those that can never be counted."""
    asked = {name: parameters[name] for name in ("taxonomy_version", "history_clusters", "source")}
    found = connection.execute(query("feedback.uncounted_impressions"), asked).fetchall()
    return {
        day: {"waiting_impressions": int(waiting), "left_out_impressions": int(left_out)}
        for day, waiting, left_out in found
    }


def transition_users_parameters(settings: Settings, taxonomy: str) -> Facts:
    """Parameters of the query ``feedback.transition_users``, without ``snapshot_day``."""
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
    """As of each day, over the window that ends with it; of each day what changed since the day before."""
    name, taxonomy, settings = "feedback.transition_scores", required_taxonomy(home.home), home.settings

    def build(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, tuple[int, Facts]]:
        scores = ScoresByDay(connection, taxonomy, settings)
        set_wanted_days(connection, days)
        connection.execute("DELETE FROM feedback.transition_scores WHERE day IN (FROM wanted_days)")
        progress = Progress(len(days), "days", context.log.info)
        made = {}
        for day in days:
            made[day] = scores.write(day)
            progress.advance()
        return made

    table = DailyTable(name, declared_fingerprints(name, settings), build)
    return refresh_days(context, home, table)


class ScoresByDay:
    """Writes the changes of the scores day by day; a day whose window holds what the day before's held costs no query.

    Args:
        connection: to the warehouse, in the transaction that writes.
        taxonomy: the one that stands.
        settings: of the home.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, taxonomy: str, settings: Settings) -> None:
        self.connection, self.taxonomy, self.settings = connection, taxonomy, settings
        self.counted = SeenDays(read_records(connection, "feedback.transition_users"))
        self.made = {date.fromisoformat(key) for key in read_records(connection, "feedback.transition_scores")}
        self.latest: tuple[date, pl.DataFrame, Facts] | None = None

    def write(self, day: date) -> tuple[int, Facts]:
        """Write the rows of a day that has none; returns how many, and facts. Earlier days are written first."""
        before = partition_of(day - timedelta(days=1), self.settings.calendar.partition)
        standing, facts = self._as_of(before)
        self.made.add(day)
        if facts is not None and self._window(day) == self._window(before):
            self.latest = (day, standing, facts)
            return 0, facts
        scores, facts = score_day(self.connection, day, self.taxonomy, self.settings)
        self.latest = (day, scores, facts)
        changes = score_changes(standing, scores)
        append_rows(self.connection, "feedback.transition_scores", changes.with_columns(pl.lit(day).alias("day")))
        return changes.height, facts

    def _as_of(self, day: date) -> tuple[pl.DataFrame, Facts | None]:
        """The scores that a day's changes start from: those of the day before it, or of the last one that was made."""
        if self.latest is not None and self.latest[0] == day:
            return self.latest[1], self.latest[2]
        if day in self.made:
            return score_day(self.connection, day, self.taxonomy, self.settings)
        parameters = {"as_of": day, "taxonomy_version": self.taxonomy}
        return read_frame(self.connection, query("feedback.standing_scores"), parameters), None

    def _window(self, day: date) -> str | None:
        return self.counted.version(first_feedback_day(day, self.settings), day)


def filter_options(settings: FeedbackSettings) -> Facts:
    """The settings as the limits of ``models.feedback.transition_scores.filter_cells``."""
    return {
        "minimum_impressions": settings.minimum_impressions,
        "minimum_share_of_mean": settings.minimum_share_of_mean,
        "minimum_users": settings.minimum_users,
    }


def score_options(settings: FeedbackSettings) -> Facts:
    """The settings as arguments of ``models.feedback.transition_scores.ScoreOptions``."""
    return {
        **filter_options(settings),
        "normalisation": settings.normalisation,
        "interval": None if settings.interval == "auto" else settings.interval,
    }


def counted_cells(
    connection: duckdb.DuckDBPyConnection, span: Facts, settings: Settings, user_share: float = 1.0
) -> pl.DataFrame:
    """The cells of a window (see :func:`feedback_span`), of a share of the users, with counts for each signal.

    ``positives`` are those of the signal that is learned.
    """
    chosen = {"exposures": settings.feedback.exposures, "share": user_share}
    cells = read_frame(connection, query("feedback.transition_scores"), span | chosen)
    return cells.with_columns(pl.col(settings.feedback.signal).alias("positives"))


def feedback_span(as_of: date, taxonomy: str, settings: Settings) -> Facts:
    """The window that ends with a day, as parameters of the queries of feedback."""
    return {"first_day": first_feedback_day(as_of, settings), "as_of": as_of, "taxonomy_version": taxonomy}


def novel_impression_ratio(connection: duckdb.DuckDBPyConnection, span: Facts) -> float | None:
    """Share of the impressions of a window whose cluster was novel to the user; None where there are none."""
    ((impressions, novel),) = connection.execute(query("evaluation.novel_impressions"), span).fetchall()
    return novel / impressions if impressions else None


def exposures_by_policy(connection: duckdb.DuckDBPyConnection, settings: Settings, taxonomy: str) -> pl.DataFrame:
    """Exposures of each policy and the positive ones, novel and known apart, on all days that were counted."""
    days = [date.fromisoformat(day) for day in read_records(connection, "feedback.transition_users")]
    set_wanted_days(connection, days)
    parameters = transition_users_parameters(settings, taxonomy) | {"snapshot_day": None}
    return read_frame(connection, query("evaluation.exposures_by_policy"), parameters)


def is_absent(counted: pl.DataFrame, signal: str) -> bool:
    """Whether cells show nothing of a signal, as where a log has no such column: no like, or nothing skipped."""
    absent = counted["impressions"].sum() if signal == "not_skipped" else 0
    return bool(counted[signal].sum() == absent)


def score_day(
    connection: duckdb.DuckDBPyConnection, day: date, taxonomy: str, settings: Settings
) -> tuple[pl.DataFrame, Facts]:
    """Score the cells as of a day, for each signal that the window shows; returns rows without their day, and facts."""
    from models.feedback.transition_scores import ScoreOptions, scores_of_signal

    span = feedback_span(day, taxonomy, settings)
    counted = counted_cells(connection, span, settings)
    options = ScoreOptions(prior="cluster", **score_options(settings.feedback))
    ratio = novel_impression_ratio(connection, span)
    facts: Facts = {"cells": counted.height, "novel_impression_ratio": ratio, "notes": []}
    frames = []
    for signal in SIGNALS:
        absent = is_absent(counted, signal)
        if absent and counted.height:
            facts["notes"].append(f"{signal}: no impression of the window tells it, so it is not scored")
        if absent and signal != settings.feedback.signal:
            continue
        scored = scores_of_signal(counted, signal, options)
        if signal == settings.feedback.signal:
            facts |= {
                "surviving_cell_share": scored.filtered.cell_share,
                "surviving_impression_share": scored.filtered.impression_share,
                "minimum_impressions": scored.filtered.minimum_impressions,
                "interval": scored.interval,
            }
        if not absent or not counted.height:
            facts["notes"] += [f"{signal}: {note}" for note in scored.notes]
        rows = scored.scores.clear() if absent else scored.scores
        frames.append(rows.with_columns(pl.lit(signal).alias("signal")))
    return pl.concat(frames).with_columns(pl.lit(taxonomy).alias("taxonomy_version")), facts
