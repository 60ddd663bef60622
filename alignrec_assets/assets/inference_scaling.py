"""Inference scaling in figures: what n and the temperature buy, an asset beside the line that `alignrec scaling` runs.

On a simulated world the true rates of what is selected are shown too. They are read for this report alone.
"""

from datetime import UTC, datetime
from itertools import combinations
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from alignrec_assets.assets.candidates import POOLS_CODE, SCORED_CODE
from alignrec_assets.assets.checkpoints import MODEL_FOLDER, alignment_model, model_asset, novelty_model
from alignrec_assets.assets.interests import clusters
from alignrec_assets.assets.pictures import picture
from alignrec_assets.refresh.checkpoints import required_checkpoint
from alignrec_assets.refresh.fingerprints import code_version
from alignrec_assets.refresh.tables import Result
from alignrec_assets.refresh.taxonomies import cluster_labels
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.connection import Warehouse
from models.files import fingerprint, write_json
from models.progress import Log

if TYPE_CHECKING:
    from models.candidates.inference_scaling import ScalingInputs

ASSET = "inference_scaling"
SCALING_CODE = fingerprint(
    [
        POOLS_CODE,
        SCORED_CODE,
        code_version("models/candidates/inference_scaling.py", "models/candidates/best_of_n_law.py"),
    ]
)
TEMPERATURES = (0.7, 1.0, 1.5, 2.0)
HISTORIES = 96


@dg.asset(
    **model_asset(
        ASSET,
        "What more draws and a higher temperature buy, by the exact law of best-of-n.",
        SCALING_CODE,
        [novelty_model, alignment_model, clusters],
        {"pytorch"},
    )
    | {"group_name": "evaluation", "tags": {"selection": "scaling"}}
)
def inference_scaling(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Histories are spread evenly over all combinations; of the simulated world those that somebody holds."""
    from models.candidates.inference_scaling import draw_scaling, scaling_points

    settings = home.settings
    k = settings.candidates.k
    inputs = _inputs(home.warehouse(context.log.info), settings, context.log.info)
    points = scaling_points(inputs, k)
    image = home.home.reports / f"{ASSET}.png"
    draw_scaling(points, k, image)
    figures = {
        f"{name}_{point['draws_per_cluster']}k_at_{point['temperature']:g}": point[name]
        for point in points
        if point["entropy"] == "all" and point["temperature"] == settings.candidates.temperature
        for name in ("alignment", "top_score", "coverage", "novelty", "true_rate")
        if point[name] is not None
    }
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


def _inputs(warehouse: Warehouse, settings: Settings, log: Log) -> "ScalingInputs":
    import numpy as np

    from models.alignment.scoring import CandidateScorer
    from models.candidates.inference_scaling import ScalingInputs
    from models.novelty.label_distribution import label_distributions

    labels = cluster_labels(warehouse)
    true_rates = _true_rates(warehouse)
    held = None if true_rates is None else {tuple(history) for history in true_rates["history"].to_list()}
    possible = [
        history
        for history in combinations(range(len(labels)), settings.history.clusters)
        if held is None or history in held
    ]
    histories = possible[:: -(-len(possible) // HISTORIES)]
    temperatures = sorted({*TEMPERATURES, settings.candidates.temperature})
    novelty = required_checkpoint(warehouse, "novelty_model").folder / MODEL_FOLDER
    log(f"label distributions of {len(histories)} histories at {len(temperatures)} temperatures")
    laws = label_distributions(novelty, labels, histories, temperatures, log).probabilities
    log("scores of all labels")
    others = [[cluster for cluster in range(len(labels)) if cluster not in history] for history in histories]
    alignment = required_checkpoint(warehouse, "alignment_model").folder / MODEL_FOLDER
    scores, own = np.zeros((len(histories), len(labels))), np.ones((len(histories), len(labels)), dtype=np.bool_)
    found = CandidateScorer(alignment, labels).predict(histories, others, log).ranking
    for row, (clusters_of, values) in enumerate(zip(others, found, strict=True)):
        scores[row, clusters_of], own[row, clusters_of] = values, False
    known = None
    if true_rates is not None:
        ordered = true_rates.sort("history", "cluster_id").group_by("history").agg("positive_rate")
        rates = {tuple(history): values for history, values in ordered.iter_rows()}
        known = np.array([rates[history] for history in histories])
    law = {temperature: laws[row] for row, temperature in enumerate(temperatures)}
    return ScalingInputs(law, scores, law[1.0], own, known)


def _true_rates(warehouse: Warehouse) -> pl.DataFrame | None:
    """Of the simulated world, where its days are over; nobody knows them elsewhere."""
    path = warehouse.home.reports / "simulation_truth.parquet"
    return pl.read_parquet(path) if path.exists() else None
