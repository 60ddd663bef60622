"""The taxonomy that stands: its version, its folder, the cluster of each item, and the labels."""

from pathlib import Path

import polars as pl

from alignrec_assets.home import Home
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.rows import table_frame
from models.files import checked_name, replacing


def taxonomy_folder(home: Home, version: str) -> Path:
    """Where a taxonomy lies."""
    return home.checkpoints / "taxonomy" / version


def standing_taxonomy(home: Home) -> str | None:
    """Version of the taxonomy that stands, or none.

    Raises:
        ValueError: the file that names it is damaged.
    """
    pointer = home.checkpoints / "taxonomy" / "CURRENT"
    if not pointer.is_file():
        return None
    return checked_name(pointer.read_text(encoding="utf-8").strip(), f"the taxonomy in {pointer}")


def required_taxonomy(home: Home) -> str:
    """Version of the taxonomy that stands.

    Raises:
        ValueError: there is none yet.
    """
    version = standing_taxonomy(home)
    if version is None:
        raise ValueError("there is no taxonomy yet: materialize interests/clusters first")
    return version


def read_assignments(home: Home, version: str) -> pl.DataFrame:
    """Every assignment made under a taxonomy: item_id, cluster_id, similarity, and the part that it was made in.

    Part 0 holds the items that the taxonomy was made of.
    """
    parts = sorted((home.checkpoints / "item_clusters" / version).glob("part-*.parquet"))
    empty = pl.DataFrame(
        schema={"item_id": pl.String, "cluster_id": pl.Int32, "similarity": pl.Float32, "part": pl.Int32}
    )
    found = [pl.read_parquet(part).with_columns(pl.lit(number).alias("part")) for number, part in enumerate(parts)]
    return pl.concat([empty, *found]).sort("item_id")


def append_assignments(home: Home, version: str, rows: pl.DataFrame) -> None:
    """Add a part to the assignments of a taxonomy; the parts before stay as they are."""
    folder = home.checkpoints / "item_clusters" / version
    with replacing(folder / f"part-{len(list(folder.glob('part-*.parquet'))):05}.parquet") as partial:
        rows.write_parquet(partial)


def cluster_labels(warehouse: Warehouse) -> list[str]:
    """Label of cluster i at index i."""
    with warehouse.reading() as connection:
        rows = table_frame(connection, "interests.clusters").sort("cluster_id")
    return rows["label"].to_list()
