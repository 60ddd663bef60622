"""Interest assets: the standing taxonomy, the cluster of every item, users' days and first moments with clusters."""

from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl

from alignrec_assets.assets.past_interests import bring_to_day_before
from alignrec_assets.assets.pictures import picture
from alignrec_assets.assets.raw import bring_back_pruned_days
from alignrec_assets.refresh.asset_factory import makes
from alignrec_assets.refresh.checkpoints import Checkpoint, read_checkpoint, record_checkpoint, refresh_checkpoint
from alignrec_assets.refresh.days import DailyTable, declared_fingerprints, refresh_days, refresh_query_days
from alignrec_assets.refresh.fingerprints import origin_of
from alignrec_assets.refresh.tables import Facts, Result, table_result
from alignrec_assets.refresh.taxonomies import (
    append_assignments,
    read_assignments,
    required_taxonomy,
    standing_taxonomy,
    taxonomy_folder,
)
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import Record, write_records
from alignrec_assets.warehouse.rows import replace_days, replace_table, table_frame
from models.files import fingerprint, replacing

MAP_FILE = "clusters.png"
ITEM_TEXT = ["item_id", "title", "tags", "category", "description", "embedding"]


class ClusterConfig(dg.Config):
    """Launch configuration of ``interests/clusters``."""

    recluster: bool = False
    """Make a new taxonomy although one stands; every table that names clusters is then derived again."""


@makes("interests.clusters")
def clusters(context: dg.AssetExecutionContext, config: ClusterConfig, home: HomeResource) -> Result:
    """Keeps the taxonomy that stands; fits one where there is none, or where the launch asks for a new one."""
    from models.interests.taxonomy import load_taxonomy

    warehouse = home.warehouse(context.log.info)
    version = standing_taxonomy(home.home)
    if version is None or config.recluster:
        checkpoint = _fit(context, home, warehouse)
    else:
        context.log.info(f"skipped: taxonomy {version} stands (`alignrec recluster` makes a new one)")
        checkpoint = read_checkpoint(taxonomy_folder(home.home, version))
    version = checkpoint.version
    taxonomy = load_taxonomy(checkpoint.folder / "taxonomy")
    _warn_of_other_settings(context, home, taxonomy.settings)
    rows = pl.DataFrame(
        {
            "taxonomy_version": version,
            "cluster_id": range(len(taxonomy.labels)),
            "label": taxonomy.labels,
            "readable": taxonomy.readable,
            "items": taxonomy.sizes,
        }
    )
    image = home.home.reports / MAP_FILE
    image.write_bytes((checkpoint.folder / MAP_FILE).read_bytes())
    facts = {"taxonomy": version, "embedding": taxonomy.embedder.method, **taxonomy.label_figures}
    record = Record(version, rows.height, facts)
    with warehouse.writing() as connection:
        replace_table(connection, "interests.clusters", rows)
        write_records(connection, "interests.clusters", {"": record})
    record_checkpoint(warehouse, "taxonomy", checkpoint)
    return table_result(record, labels=list(taxonomy.labels), map=picture(image))


@makes("interests.item_clusters")
def item_clusters(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Adds items that are new to the clusters that stand; an assignment once made is never changed."""
    from models.interests.taxonomy import assign_items, load_taxonomy

    warehouse = home.warehouse(context.log.info)
    version = required_taxonomy(home.home)
    with warehouse.reading() as connection:
        catalogue = table_frame(connection, "raw.items").select(ITEM_TEXT)
    assigned = read_assignments(home.home, version)
    new = catalogue.join(assigned, on="item_id", how="anti")
    if new.height:
        taxonomy = load_taxonomy(taxonomy_folder(home.home, version) / "taxonomy")
        append_assignments(home.home, version, assign_items(taxonomy, new, context.log.info))
        assigned = read_assignments(home.home, version)
    context.log.info(f"{new.height:,} new of {assigned.height:,} items")
    rows = assigned.drop("part").with_columns(pl.lit(version).alias("taxonomy_version"))
    # What is downstream depends on the taxonomy alone: a new item changes no day that has no event of it.
    record = Record(fingerprint([version, rows.height]), rows.height, {"data_version": version})
    with warehouse.writing() as connection:
        replace_table(connection, "interests.item_clusters", rows)
        write_records(connection, "interests.item_clusters", {"": record})
    return table_result(record)


@makes("interests.user_cluster_days")
def user_cluster_days(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """That day's events only."""
    name = "interests.user_cluster_days"
    return refresh_query_days(context, home, name, before=bring_back_pruned_days(home, name, context.log.info))


@makes("interests.first_interactions")
def first_interactions(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Asks the past of the users before the days, and the events of the days."""
    name, taxonomy, settings = "interests.first_interactions", required_taxonomy(home.home), home.settings

    def build(connection: duckdb.DuckDBPyConnection, days: list[date]) -> dict[date, tuple[int, Facts]]:
        snapshot = {"snapshot_day": bring_to_day_before(connection, min(days), taxonomy)}
        rows = replace_days(connection, name, days, first_interactions_parameters(settings, taxonomy) | snapshot)
        return {day: (count, {}) for day, count in rows.items()}

    bring_back = bring_back_pruned_days(home, name, context.log.info)
    return refresh_days(context, home, DailyTable(name, declared_fingerprints(name, settings), build, bring_back))


def first_interactions_parameters(settings: Settings, taxonomy: str) -> Facts:
    """Parameters of the query ``interests.first_interactions``, without ``snapshot_day``."""
    return {
        "taxonomy_version": taxonomy,
        "history_clusters": settings.history.clusters,
        "explored_minutes": round(settings.novelty.explored_hours * 60),
    }


def _fit(context: dg.AssetExecutionContext, home: HomeResource, warehouse: Warehouse) -> Checkpoint:
    from models.interests.cluster_map import draw_cluster_map
    from models.interests.taxonomy import fit_taxonomy, save_taxonomy

    wanted = home.settings.interests
    with warehouse.reading() as connection:
        catalogue = table_frame(connection, "raw.items").select(ITEM_TEXT)
        made_from = origin_of(connection, "interests.clusters", home.settings)
    taxonomy, assignment = fit_taxonomy(catalogue, wanted.clusters, wanted.embedding, wanted.seed, context.log.info)

    def build(folder: Path) -> dict[str, Any]:
        save_taxonomy(taxonomy, folder / "taxonomy")
        title = f"{len(taxonomy.labels)} interest clusters of {catalogue.height:,} items"
        draw_cluster_map(folder / MAP_FILE, taxonomy.centroids, taxonomy.labels, taxonomy.sizes, title)
        return {
            "settings": wanted.model_dump(),
            "figures": {"clusters": len(taxonomy.labels), "items": catalogue.height, **taxonomy.label_figures},
        }

    checkpoint = refresh_checkpoint(context, home.home, "taxonomy", taxonomy.version, build, made_from)
    if read_assignments(home.home, taxonomy.version).is_empty():
        append_assignments(home.home, taxonomy.version, assignment)
    with replacing(home.home.checkpoints / "taxonomy" / "CURRENT") as partial:
        partial.write_text(f"{taxonomy.version}\n", encoding="utf-8")
    context.log.info(f"taxonomy {taxonomy.version}: {len(taxonomy.labels)} clusters of {catalogue.height:,} items")
    return checkpoint


def _warn_of_other_settings(context: dg.AssetExecutionContext, home: HomeResource, made_with: dict[str, Any]) -> None:
    wanted = {"clusters": home.settings.interests.clusters, "embedding": home.settings.interests.embedding}
    if wanted != made_with:
        context.log.warning(
            f"the settings ask for {wanted}, the taxonomy that stands was made with {made_with}: "
            "`alignrec recluster` makes a new one"
        )
