"""Candidates: what the novelty model proposes for every history, and how the alignment model rates it."""

from pathlib import Path

import dagster as dg
import polars as pl

from alignrec_assets.assets.planned_histories import planned_histories
from alignrec_assets.refresh.asset_factory import makes
from alignrec_assets.refresh.checkpoints import (
    Checkpoint,
    current_checkpoint,
    refresh_checkpoint,
    required_checkpoint,
)
from alignrec_assets.refresh.fingerprints import origin_of
from alignrec_assets.refresh.tables import Facts, Result, origin_metadata, table_result
from alignrec_assets.refresh.taxonomies import cluster_labels
from alignrec_assets.resources import HomeResource
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import Record, write_records
from alignrec_assets.warehouse.rows import replace_table, table_frame
from models.candidates.pool_shards import draw_in_shards, read_candidates, read_distributions
from models.candidates.scored_candidates import score_in_shards, with_scores, without_scores
from models.files import MODEL_FOLDER, fingerprint

SHARDS = "shards"


@makes("candidates.pools")
def pools(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """n = 5k seeded draws at high temperature from the label distribution, duplicates merged."""
    warehouse = home.warehouse(context.log.info)
    with warehouse.reading() as connection:
        made_from = origin_of(connection, "candidates.pools", home.settings)
    version = fingerprint(made_from)

    def build(folder: Path) -> Facts:
        figures = _draw_pools(context, home, warehouse, _aside(home, version))
        _aside(home, version).rename(folder / SHARDS)
        return {"figures": figures}

    checkpoint = refresh_checkpoint(context, home.home, "pools", version, build, made_from)
    rows = read_candidates(checkpoint.folder / SHARDS)
    context.log.info(f"{checkpoint.figures['distinct_per_history']:.1f} distinct clusters in a pool")
    record = Record(version, rows.height, {**checkpoint.figures, "folder": _relative(home, checkpoint.folder)})
    with warehouse.writing() as connection:
        replace_table(connection, "candidates.pools", rows)
        write_records(connection, "candidates.pools", {"": record})
    return table_result(record, **origin_metadata(checkpoint.manifest))


@makes("candidates.scored")
def scored(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Scores are null as long as there is no alignment model."""
    warehouse = home.warehouse(context.log.info)
    with warehouse.reading() as connection:
        made_from = origin_of(connection, "candidates.scored", home.settings)
        drawn = table_frame(connection, "candidates.pools").drop("draws")
    version = fingerprint(made_from)
    alignment = current_checkpoint(warehouse, "alignment_model")
    if alignment is None:
        context.log.info("no alignment model yet: the scores stay empty, and the table is planned by novelty alone")
        rows = without_scores(drawn)
        record, origin = Record(version, rows.height), {}
    else:

        def build(folder: Path) -> Facts:
            figures = _score(context, home, alignment, drawn, _aside(home, version))
            _aside(home, version).rename(folder / SHARDS)
            return {"alignment_model": alignment.version, "figures": figures}

        checkpoint = refresh_checkpoint(context, home.home, "scored", version, build, made_from)
        rows = with_scores(drawn, checkpoint.folder / SHARDS)
        record = Record(version, rows.height, {**checkpoint.figures, "folder": _relative(home, checkpoint.folder)})
        origin = origin_metadata(checkpoint.manifest)
        mean = rows.select(pl.col("alignment_score").mean()).item()
        context.log.info(
            f"{rows.height:,} candidates, {checkpoint.figures['share_read']:.0%} of them read, mean score {mean:.2f}"
        )
    with warehouse.writing() as connection:
        replace_table(connection, "candidates.scored", rows)
        write_records(connection, "candidates.scored", {"": record})
    return table_result(record, **origin)


def _draw_pools(
    context: dg.AssetExecutionContext, home: HomeResource, warehouse: Warehouse, shards: Path
) -> dict[str, float | None]:
    """Fill the folder of shards; returns what the pools are like."""
    from models.candidates.candidate_pools import (
        TOLD_OF_DISTRIBUTIONS,
        PoolSampler,
        format_validity,
        pool_figures,
        pool_memorisation,
    )
    from models.candidates.pool_engines import PoolOptions

    log, options, labels = context.log.info, home.settings.candidates, cluster_labels(warehouse)
    novelty = required_checkpoint(warehouse, "novelty_model").folder / MODEL_FOLDER
    with warehouse.reading() as connection:
        examples = table_frame(connection, "training.novelty_examples")
    histories = planned_histories(warehouse)
    draws = options.draws_per_cluster * options.k
    log(
        f"{len(histories):,} histories x {len(labels)} labels, {draws} draws each at temperature "
        f"{options.temperature:g}, {options.engine} engine"
    )
    how = PoolOptions(options.engine, draws, options.k, options.temperature, options.most_left_out, options.seed)
    draw_in_shards(PoolSampler(novelty, labels, how), histories, shards, options.histories_per_shard, log)
    candidates = read_candidates(shards)
    figures = pool_figures(candidates, read_distributions(shards, TOLD_OF_DISTRIBUTIONS), len(labels))
    if figures["format_validity"] is None:
        figures["format_validity"] = format_validity(novelty, labels, histories, log)
    return figures | {"memorisation": pool_memorisation(candidates, examples)}


def _score(
    context: dg.AssetExecutionContext, home: HomeResource, alignment: Checkpoint, candidates: pl.DataFrame, shards: Path
) -> dict[str, float]:
    """Fill the folder of shards; returns how much the language model read."""
    from models.alignment.scoring import CandidateScorer

    labels, options = cluster_labels(home.warehouse(context.log.info)), home.settings.candidates
    scorer = CandidateScorer(alignment.folder / MODEL_FOLDER, labels, options.scoring_engine)
    return score_in_shards(
        candidates,
        scorer,
        shards,
        options.histories_per_shard,
        options.k,
        options.most_lost,
        context.log.info,
    )


def _aside(home: HomeResource, version: str) -> Path:
    """Where shards lie until all are there, so that a kill costs one of them."""
    return home.home.checkpoints / SHARDS / version


def _relative(home: HomeResource, folder: Path) -> str:
    return str(folder.relative_to(home.home.path))
