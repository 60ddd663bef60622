"""Inference scaling in figures: what n and the temperature buy, an asset beside the line that `alignrec scaling` runs.

On a simulated world the true rates of what is selected are shown too. They are read for this report alone.
"""

from datetime import UTC, datetime

import dagster as dg
import polars as pl

from alignrec_assets.assets.pictures import picture
from alignrec_assets.assets.planned_histories import planned_histories
from alignrec_assets.refresh.asset_factory import makes
from alignrec_assets.refresh.checkpoints import required_checkpoint
from alignrec_assets.refresh.tables import Result
from alignrec_assets.refresh.taxonomies import cluster_labels
from alignrec_assets.resources import HomeResource
from alignrec_assets.warehouse.connection import Warehouse
from models.files import MODEL_FOLDER, fingerprint, write_json

ASSET = "inference_scaling"


@makes("inference_scaling")
def inference_scaling(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Histories are spread evenly over the planned ones; of the simulated world those that somebody holds."""
    from models.candidates.inference_scaling import (
        draw_scaling,
        scaling_figures,
        scaling_inputs,
        scaling_points,
        truth_figures,
    )

    settings, warehouse = home.settings, home.warehouse(context.log.info)
    k = settings.candidates.k
    inputs = scaling_inputs(
        required_checkpoint(warehouse, "novelty_model").folder / MODEL_FOLDER,
        required_checkpoint(warehouse, "alignment_model").folder / MODEL_FOLDER,
        cluster_labels(warehouse),
        planned_histories(warehouse),
        settings.candidates.temperature,
        _true_rates(warehouse),
        context.log.info,
    )
    points = scaling_points(inputs, k)
    image = home.home.reports / f"{ASSET}.png"
    draw_scaling(points, k, image)
    figures = scaling_figures(points, settings.candidates.temperature) | truth_figures(inputs, k)
    report = {
        "name": ASSET,
        "figures": figures,
        "points": points,
        "settings": settings.candidates.model_dump(),
        "seed": settings.candidates.seed,
        "command": "alignrec scaling",
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(home.home.reports / f"{ASSET}.json", report)
    context.log.info(f"{len(inputs.scores)} histories: {image}")
    return dg.MaterializeResult(
        metadata={**figures, "curves": picture(image)}, data_version=dg.DataVersion(fingerprint(points))
    )


def _true_rates(warehouse: Warehouse) -> pl.DataFrame | None:
    """Of the simulated world, where its days are over; nobody knows them elsewhere."""
    path = warehouse.home.reports / "simulation_truth.parquet"
    return pl.read_parquet(path) if path.exists() else None
