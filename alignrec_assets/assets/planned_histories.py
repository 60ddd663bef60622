"""The histories that the table is planned for: all combinations of two clusters; of three or more those users hold."""

from functools import cache

import dagster as dg
import polars as pl

from alignrec_assets.partitions import last_day_of, partition_of
from alignrec_assets.refresh.asset_factory import makes
from alignrec_assets.refresh.tables import Facts, Result, refresh_table
from alignrec_assets.refresh.taxonomies import cluster_labels, required_taxonomy
from alignrec_assets.resources import HomeResource
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.records import latest_day
from alignrec_assets.warehouse.rows import read_frame, table_frame
from models.candidates.histories import LONGEST_IN_ALL_COMBINATIONS, all_histories, unplanned_share


@makes("candidates.histories")
def histories(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Planning all triples of hundreds of clusters would cost days, and most triples have no user."""
    settings, warehouse = home.settings, home.warehouse(context.log.info)
    length, taxonomy = settings.history.clusters, required_taxonomy(home.home)
    latest = latest_day(warehouse, "interests.user_cluster_days")
    as_of = last_day_of(partition_of(latest, settings.calendar.partition), settings.calendar.partition)

    @cache
    def held() -> pl.DataFrame:
        return _held_histories(warehouse, taxonomy, length)

    def build() -> tuple[pl.DataFrame, Facts]:
        if length <= LONGEST_IN_ALL_COMBINATIONS:
            planned = all_histories(len(cluster_labels(warehouse)), length)
            return pl.DataFrame({"history": planned}, schema={"history": pl.List(pl.Int32)}), {}
        return held().select("history"), {"users": int(held()["users"].sum())}

    def little_new(_: Facts, __: Facts) -> str | None:  # of long histories alone: all combinations do not change
        with warehouse.reading() as connection:
            planned = table_frame(connection, "candidates.histories")
        share = unplanned_share(held(), planned)
        if share > settings.candidates.unplanned_share:
            return None
        return (
            f"{share:.1%} of the users hold a history that is not planned: histories are chosen anew above "
            f"{settings.candidates.unplanned_share:.0%} (candidates.unplanned_share)"
        )

    return refresh_table(context, home, "candidates.histories", as_of, build, little_new)


def planned_histories(warehouse: Warehouse) -> list[tuple[int, ...]]:
    """Of ``candidates.histories``, in its order."""
    with warehouse.reading() as connection:
        return [tuple(history) for history in table_frame(connection, "candidates.histories")["history"].to_list()]


def _held_histories(warehouse: Warehouse, taxonomy: str, length: int) -> pl.DataFrame:
    """``history`` and ``users``: who holds which history at the end of all days.

    Raises:
        ValueError: nobody holds one.
    """
    asked = {"taxonomy_version": taxonomy, "history_clusters": length}
    with warehouse.reading() as connection:
        held = read_frame(connection, query("candidates.held_histories"), asked)
    if held.is_empty():
        raise ValueError(
            f"no user has had positive events in {length} clusters (history.clusters), so there is no history to "
            "plan: lower history.clusters, or ingest more days"
        )
    return held
