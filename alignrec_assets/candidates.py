"""Candidates: what the novelty model proposes for every history, and how the alignment model rates it."""

from itertools import combinations
from math import comb
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl

from alignrec_assets.checkpoints import (
    LANGUAGE_MODEL,
    MODEL_FOLDER,
    SCORING,
    alignment_model,
    cluster_labels,
    novelty_model,
)
from alignrec_assets.fingerprints import code_version, whole_fingerprint
from alignrec_assets.interests import clusters
from alignrec_assets.refresh import (
    Facts,
    current_checkpoint,
    refresh_checkpoint,
    required_checkpoint,
    table_asset,
    table_result,
)
from alignrec_assets.resources import HomeResource
from alignrec_assets.warehouse import Record, Warehouse, replace_table, table_frame, write_records

POOLS_CODE = code_version(*LANGUAGE_MODEL, "models/label_distribution.py", "models/novelty.py", "models/best_of_n.py")
SCORED_CODE = code_version(*LANGUAGE_MODEL, *SCORING)
POOLS_FILE = "pools.parquet"
DISTRIBUTION_FILE = "label_distribution.parquet"
SCORES_FILE = "scored.parquet"


@dg.asset(
    **table_asset(
        "candidates.pools",
        code=POOLS_CODE,
        kinds={"pytorch"},
        deps=[novelty_model, clusters],
        selection="publication",
    ),
    pool="language_model",
)
def pools(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult[None]:
    """n = 5k seeded draws at high temperature from the exact label distribution, duplicates merged."""
    settings = home.settings
    warehouse = home.warehouse(context.log.info)
    made_by = {"code": POOLS_CODE, "settings": settings.candidates.model_dump(), "K": settings.history.clusters}
    with warehouse.reading() as connection:
        version = whole_fingerprint(connection, ["novelty_model", "interests.clusters"], made_by)

    def build(folder: Path) -> Facts:
        return {"figures": _draw_pools(context, home, warehouse, folder)}

    checkpoint = refresh_checkpoint(context, home.home, "pools", version, build)
    rows = pl.read_parquet(checkpoint.folder / POOLS_FILE)
    context.log.info(f"{checkpoint.figures['distinct_per_history']:.1f} distinct clusters in a pool")
    record = Record(version, rows.height, {**checkpoint.figures, "folder": _relative(home, checkpoint.folder)})
    with warehouse.writing() as connection:
        replace_table(connection, "candidates.pools", rows)
        write_records(connection, "candidates.pools", {"": record})
    return table_result(record)


PREDICTIONS = ("alignment_score", "predicted_rate", "rate_lower", "rate_upper")


@dg.asset(
    **table_asset(
        "candidates.scored",
        code=SCORED_CODE,
        kinds={"pytorch"},
        deps=[pools, alignment_model, clusters],
        selection="publication",
    ),
    pool="language_model",
)
def scored(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult[None]:
    """Scores are null as long as there is no alignment model."""
    warehouse = home.warehouse(context.log.info)
    with warehouse.reading() as connection:
        inputs = ["candidates.pools", "alignment_model", "interests.clusters"]
        version = whole_fingerprint(connection, inputs, {"code": SCORED_CODE})
        drawn = table_frame(connection, "candidates.pools").drop("draws")
    alignment = current_checkpoint(warehouse, "alignment_model")
    if alignment is None:
        context.log.info("no alignment model yet: the scores stay empty, and the table is planned by novelty alone")
        rows = drawn.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in PREDICTIONS)
        record = Record(version, rows.height)
    else:

        def build(folder: Path) -> Facts:
            from models.alignment_scoring import predict_candidates

            grouped = drawn.group_by("history", maintain_order=True).agg("cluster_id")
            found = predict_candidates(
                alignment.folder / MODEL_FOLDER,
                cluster_labels(warehouse),
                grouped["history"].to_list(),
                grouped["cluster_id"].to_list(),
                context.log.info,
            )
            values = (found.ranking, found.rates, found.lower, found.upper)
            drawn.with_columns(
                pl.Series(name, np.concatenate(arrays)) for name, arrays in zip(PREDICTIONS, values, strict=True)
            ).write_parquet(folder / SCORES_FILE)
            return {"alignment_model": alignment.version}

        checkpoint = refresh_checkpoint(context, home.home, "scored", version, build)
        rows = pl.read_parquet(checkpoint.folder / SCORES_FILE)
        record = Record(version, rows.height, {"folder": _relative(home, checkpoint.folder)})
        context.log.info(
            f"{rows.height:,} candidates, mean score {float(np.mean(rows['alignment_score'].to_numpy())):.2f}"
        )
    with warehouse.writing() as connection:
        replace_table(connection, "candidates.scored", rows)
        write_records(connection, "candidates.scored", {"": record})
    return table_result(record)


def _draw_pools(
    context: dg.AssetExecutionContext, home: HomeResource, warehouse: Warehouse, folder: Path
) -> dict[str, float | None]:
    from models.best_of_n import draw_pools
    from models.novelty import label_distributions, memorisation

    settings = home.settings
    labels = cluster_labels(warehouse)
    k, options = settings.candidates.k, settings.candidates
    histories = list(combinations(range(len(labels)), settings.history.clusters))
    context.log.info(
        f"{comb(len(labels), settings.history.clusters):,} histories x {len(labels)} labels, "
        f"{options.draws_per_cluster * k} draws each at temperature {options.temperature:g}"
    )
    novelty = required_checkpoint(warehouse, "novelty_model")
    law = label_distributions(
        novelty.folder / MODEL_FOLDER, labels, histories, [1.0, options.temperature], context.log.info
    )
    drawn = draw_pools(law.probabilities[1], histories, options.draws_per_cluster * k, k, seed=options.seed)
    drawn.write_parquet(folder / POOLS_FILE)
    pl.DataFrame(
        {"history": [list(h) for h in histories], "probabilities": law.probabilities[1].tolist()},
        schema={"history": pl.List(pl.Int32), "probabilities": pl.List(pl.Float64)},
    ).write_parquet(folder / DISTRIBUTION_FILE)
    repeated = drawn.with_columns(pl.col("cluster_id").repeat_by("draws")).group_by("history", maintain_order=True)
    draws = repeated.agg(pl.col("cluster_id").explode())
    with warehouse.reading() as connection:
        examples = table_frame(connection, "training.novelty_examples").filter(pl.col("split") == "train")
    pairs = examples.select("history", "cluster_id").iter_rows()
    return {
        "format_validity": float(law.format_validity[0].mean()),
        "format_validity_sampling": float(law.format_validity[1].mean()),
        "memorisation": memorisation(draws["history"].to_list(), draws["cluster_id"].to_list(), pairs),
        "distinct_per_history": drawn.height / len(histories),
        "histories": len(histories),
    }


def _relative(home: HomeResource, folder: Path) -> str:
    return str(folder.relative_to(home.home.path))
