"""Interest assets: the standing taxonomy, the cluster of every item, users' days and first moments with clusters."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from alignrec_assets.assets.pictures import picture
from alignrec_assets.assets.raw import bring_back_pruned_days, events, feedback_logs, items, rejected_rows
from alignrec_assets.partitions import DAYS
from alignrec_assets.refresh.checkpoints import read_checkpoint, record_checkpoint, refresh_checkpoint
from alignrec_assets.refresh.days import Recipe, daily_asset, refresh_query_days
from alignrec_assets.refresh.fingerprints import Input, code_version, origin_of
from alignrec_assets.refresh.tables import Result, table_asset, table_result
from alignrec_assets.refresh.taxonomies import (
    append_assignments,
    read_assignments,
    required_taxonomy,
    standing_taxonomy,
    taxonomy_folder,
)
from alignrec_assets.resources import HomeResource
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import Record, write_records
from alignrec_assets.warehouse.rows import replace_table, table_frame
from models.files import fingerprint, replacing

CLUSTERS_CODE = code_version(
    "models/interests/item_embeddings.py",
    "models/interests/clusters.py",
    "models/interests/cluster_labels.py",
    "models/interests/taxonomy.py",
)
USER_DAYS_CODE = code_version(queries=["interests.user_cluster_days"])
USER_CLUSTER_DAYS = Recipe(
    "interests.user_cluster_days", USER_DAYS_CODE, (Input("raw.events", "day"), Input("interests.item_clusters"))
)
FIRST_CODE = code_version(queries=["interests.first_interactions"])
MAP_FILE = "clusters.png"
ITEM_TEXT = ["item_id", "title", "tags", "category", "description", "embedding"]


class ClusterConfig(dg.Config):
    """Launch configuration of ``interests/clusters``."""

    recluster: bool = False
    """Make a new taxonomy although one stands; every table that names clusters is then derived again."""


@dg.asset(**table_asset("interests.clusters", code=CLUSTERS_CODE, kinds={"sklearn"}, deps=[items], selection="days"))
def clusters(context: dg.AssetExecutionContext, config: ClusterConfig, home: HomeResource) -> Result:
    """Keeps the taxonomy that stands; fits one where there is none, or where the launch asks for a new one."""
    from models.interests.taxonomy import load_taxonomy

    warehouse = home.warehouse(context.log.info)
    version = standing_taxonomy(home.home)
    if version is None or config.recluster:
        version = _fit(context, home, warehouse)
    else:
        context.log.info(f"skipped: taxonomy {version} stands (`alignrec recluster` makes a new one)")
    checkpoint = read_checkpoint(taxonomy_folder(home.home, version))
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
    record = Record(version, rows.height, {"taxonomy": version, "embedding": taxonomy.embedder.method})
    with warehouse.writing() as connection:
        replace_table(connection, "interests.clusters", rows)
        write_records(connection, "interests.clusters", {"": record})
    record_checkpoint(warehouse, "taxonomy", checkpoint)
    return table_result(record, labels=list(taxonomy.labels), map=picture(image))


@dg.asset(
    **table_asset(
        "interests.item_clusters", code=CLUSTERS_CODE, kinds={"sklearn"}, deps=[items, clusters], selection="days"
    )
)
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


@dg.asset(
    **daily_asset(
        "interests.user_cluster_days",
        code=USER_DAYS_CODE,
        kinds={"sql"},
        deps=[events, item_clusters, rejected_rows],
        partitions=DAYS,
    )
)
def user_cluster_days(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """That day's events only."""
    return _refresh_from_raw_logs(context, home, USER_CLUSTER_DAYS)


@dg.asset(
    **daily_asset(
        "interests.first_interactions",
        code=FIRST_CODE,
        kinds={"sql"},
        deps=[events, feedback_logs, item_clusters, user_cluster_days],
        partitions=DAYS,
    )
)
def first_interactions(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Asks the users' days before the day, plus the day's own events."""
    return _refresh_from_raw_logs(context, home, first_interactions_recipe(home))


def first_interactions_recipe(home: HomeResource) -> Recipe:
    """The day's events, all users' days up to it, and the impressions that may have led to them."""
    settings = home.settings
    hours = settings.landing.attribution_hours
    inputs = (
        Input("raw.events", "day"),
        Input("raw.feedback_logs", "window", days=1 + -int(-hours // 24)),
        Input("interests.item_clusters"),
        Input("interests.user_cluster_days", "past"),
    )
    parameters = {
        "taxonomy_version": required_taxonomy(home.home),
        "history_clusters": settings.history.clusters,
        "attribution_minutes": round(hours * 60),
    }
    return Recipe("interests.first_interactions", FIRST_CODE, inputs, parameters)


def _refresh_from_raw_logs(context: dg.AssetExecutionContext, home: HomeResource, recipe: Recipe) -> Result:
    bring_back = bring_back_pruned_days(home, recipe.inputs, context.log.info)
    return refresh_query_days(context, home.warehouse(context.log.info), recipe, bring_back)


def _fit(context: dg.AssetExecutionContext, home: HomeResource, warehouse: Warehouse) -> str:
    from models.interests.cluster_map import draw_cluster_map
    from models.interests.taxonomy import fit_taxonomy, save_taxonomy

    wanted = home.settings.interests
    with warehouse.reading() as connection:
        catalogue = table_frame(connection, "raw.items").select(ITEM_TEXT)
        made_from = origin_of(connection, "interests.clusters", CLUSTERS_CODE, ["raw.items"], home.settings)
    taxonomy, assignment = fit_taxonomy(catalogue, wanted.clusters, wanted.embedding, wanted.seed, context.log.info)

    def build(folder: Path) -> dict[str, Any]:
        save_taxonomy(taxonomy, folder / "taxonomy")
        title = f"{len(taxonomy.labels)} interest clusters of {catalogue.height:,} items"
        draw_cluster_map(folder / MAP_FILE, taxonomy.centroids, taxonomy.labels, taxonomy.sizes, title)
        return {
            "settings": wanted.model_dump(),
            "figures": {"clusters": len(taxonomy.labels), "items": catalogue.height},
        }

    refresh_checkpoint(context, home.home, "taxonomy", taxonomy.version, build, made_from)
    if read_assignments(home.home, taxonomy.version).is_empty():
        append_assignments(home.home, taxonomy.version, assignment)
    with replacing(home.home.checkpoints / "taxonomy" / "CURRENT") as partial:
        partial.write_text(f"{taxonomy.version}\n", encoding="utf-8")
    context.log.info(f"taxonomy {taxonomy.version}: {len(taxonomy.labels)} clusters of {catalogue.height:,} items")
    return taxonomy.version


def _warn_of_other_settings(context: dg.AssetExecutionContext, home: HomeResource, made_with: dict[str, Any]) -> None:
    wanted = {"clusters": home.settings.interests.clusters, "embedding": home.settings.interests.embedding}
    if wanted != made_with:
        context.log.warning(
            f"the settings ask for {wanted}, the taxonomy that stands was made with {made_with}: "
            "`alignrec recluster` makes a new one"
        )
