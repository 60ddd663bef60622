"""Candidates: what the novelty model proposes for every history, and how the alignment model rates it."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl

from alignrec_assets.assets.checkpoints import LANGUAGE_MODEL, MODEL_FOLDER, SCORING, alignment_model, novelty_model
from alignrec_assets.assets.interests import clusters
from alignrec_assets.refresh.checkpoints import current_checkpoint, refresh_checkpoint, required_checkpoint
from alignrec_assets.refresh.fingerprints import code_version, origin_of
from alignrec_assets.refresh.tables import Facts, Result, origin_metadata, table_asset, table_result
from alignrec_assets.refresh.taxonomies import cluster_labels
from alignrec_assets.resources import HomeResource
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import Record, write_records
from alignrec_assets.warehouse.rows import replace_table, table_frame
from models.files import fingerprint

POOLS_CODE = code_version(
    *LANGUAGE_MODEL,
    "models/novelty/label_distribution.py",
    "models/language/cached_pass.py",
    "models/novelty/label_expansion.py",
    "models/candidates/best_of_n.py",
    "models/candidates/pool_engines.py",
    "models/language/vllm_engine.py",
    "models/candidates/vllm_sampler.py",
    "models/candidates/candidate_pools.py",
)
SCORED_CODE = code_version(
    *LANGUAGE_MODEL, *SCORING, "models/language/vllm_engine.py", "models/alignment/vllm_scorer.py"
)
SHARDS = "shards"
POOLS_FILE = "pools.parquet"
LAWS_FILE = "laws.parquet"
SCORES_FILE = "scored.parquet"
GATE_HISTORIES = 128  # whose format validity at T = 1 is computed where the engine does not tell it


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
def pools(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """n = 5k seeded draws at high temperature from the label distribution, duplicates merged."""
    warehouse = home.warehouse(context.log.info)
    inputs = ["novelty_model", "interests.clusters"]
    with warehouse.reading() as connection:
        made_from = origin_of(connection, "candidates.pools", POOLS_CODE, inputs, home.settings)
    version = fingerprint(made_from)

    def build(folder: Path) -> Facts:
        return {"figures": _draw_pools(context, home, warehouse, version, folder)}

    checkpoint = refresh_checkpoint(context, home.home, "pools", version, build, made_from)
    rows = read_shards(checkpoint.folder, POOLS_FILE)
    context.log.info(f"{checkpoint.figures['distinct_per_history']:.1f} distinct clusters in a pool")
    record = Record(version, rows.height, {**checkpoint.figures, "folder": _relative(home, checkpoint.folder)})
    with warehouse.writing() as connection:
        replace_table(connection, "candidates.pools", rows)
        write_records(connection, "candidates.pools", {"": record})
    return table_result(record, **origin_metadata(checkpoint.manifest))


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
def scored(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Scores are null as long as there is no alignment model."""
    warehouse = home.warehouse(context.log.info)
    engine = home.settings.candidates.scoring_engine
    with warehouse.reading() as connection:
        inputs = ["candidates.pools", "alignment_model", "interests.clusters"]
        made_from = origin_of(connection, "candidates.scored", SCORED_CODE, inputs, home.settings)
        drawn = table_frame(connection, "candidates.pools").drop("draws")
    version = fingerprint(made_from)
    alignment = current_checkpoint(warehouse, "alignment_model")
    if alignment is None:
        context.log.info("no alignment model yet: the scores stay empty, and the table is planned by novelty alone")
        rows = drawn.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in PREDICTIONS)
        record, origin = Record(version, rows.height), {}
    else:

        def build(folder: Path) -> Facts:
            from models.alignment.candidate_reader import HISTORIES_PER_PASS
            from models.alignment.scoring import CandidateScorer

            grouped = drawn.group_by("history", maintain_order=True).agg("cluster_id")
            scorer = CandidateScorer(alignment.folder / MODEL_FOLDER, cluster_labels(warehouse), engine)

            def score(part: range, shard: Path) -> None:
                some = grouped[part.start : part.stop]
                histories, candidates = some["history"].to_list(), some["cluster_id"].to_list()
                found = scorer.predict(histories, candidates)
                values = (found.ranking, found.rates, found.lower, found.upper)
                columns = [
                    pl.Series(name, np.concatenate(arrays)) for name, arrays in zip(PREDICTIONS, values, strict=True)
                ]
                some.explode("cluster_id").with_columns(columns).write_parquet(shard / SCORES_FILE)

            _in_shards(context, home, version, folder, grouped.height, HISTORIES_PER_PASS, score)
            return {"alignment_model": alignment.version}

        checkpoint = refresh_checkpoint(context, home.home, "scored", version, build, made_from)
        found = read_shards(checkpoint.folder, SCORES_FILE)
        rows = drawn.join(found, on=["history", "cluster_id"], how="left", maintain_order="left")
        record = Record(version, rows.height, {"folder": _relative(home, checkpoint.folder)})
        origin = origin_metadata(checkpoint.manifest)
        context.log.info(
            f"{rows.height:,} candidates, mean score {float(np.mean(rows['alignment_score'].to_numpy())):.2f}"
        )
    with warehouse.writing() as connection:
        replace_table(connection, "candidates.scored", rows)
        write_records(connection, "candidates.scored", {"": record})
    return table_result(record, **origin)


def read_shards(folder: Path, file: str) -> pl.DataFrame:
    """The rows of all shards of a checkpoint, in order."""
    return pl.concat([pl.read_parquet(shard / file) for shard in sorted((folder / SHARDS).iterdir())])


def _draw_pools(
    context: dg.AssetExecutionContext, home: HomeResource, warehouse: Warehouse, version: str, folder: Path
) -> dict[str, float | None]:
    from models.candidates.candidate_pools import PoolSampler, pool_figures
    from models.candidates.pool_engines import PoolOptions
    from models.novelty.label_distribution import label_distributions

    labels = cluster_labels(warehouse)
    options = home.settings.candidates
    histories = list(combinations(range(len(labels)), home.settings.history.clusters))
    draws = options.draws_per_cluster * options.k
    context.log.info(
        f"{len(histories):,} histories x {len(labels)} labels, {draws} draws each at temperature "
        f"{options.temperature:g}, {options.engine} engine"
    )
    novelty = required_checkpoint(warehouse, "novelty_model").folder / MODEL_FOLDER
    how = PoolOptions(options.engine, draws, options.k, options.temperature, options.most_left_out, options.seed)
    sampler = PoolSampler(novelty, labels, how)

    def draw(part: range, shard: Path) -> None:
        drawn = sampler.draw(histories[part.start : part.stop], context.log.info)
        drawn.candidates.write_parquet(shard / POOLS_FILE)
        drawn.laws.write_parquet(shard / LAWS_FILE)

    _in_shards(context, home, version, folder, len(histories), sampler.micro_batch, draw)
    candidates = read_shards(folder, POOLS_FILE)
    figures = pool_figures(candidates, read_shards(folder, LAWS_FILE), len(labels))
    if figures["format_validity"] is None:
        some = histories[:: -(-len(histories) // GATE_HISTORIES)]
        context.log.info(f"format validity at T = 1 of {len(some)} histories")
        found = label_distributions(novelty, labels, some, [1.0], context.log.info)
        figures["format_validity"] = float(found.format_validity[0].mean())
    return figures | {"memorisation": _memorisation(warehouse, candidates)}


def _in_shards(
    context: dg.AssetExecutionContext,
    home: HomeResource,
    version: str,
    folder: Path,
    total: int,
    micro_batch: int,
    work: Callable[[range, Path], None],
) -> None:
    """Fill ``folder / SHARDS``; the shards lie aside until all are done, so that a kill costs one of them."""
    from models.shards import work_in_shards

    aside = home.home.checkpoints / SHARDS / version
    size = max(1, home.settings.candidates.histories_per_shard // micro_batch) * micro_batch
    work_in_shards(aside, total, size, work, "histories", context.log.info)
    aside.rename(folder / SHARDS)


def _memorisation(warehouse: Warehouse, candidates: pl.DataFrame) -> float | None:
    from models.evaluation.memorisation import memorisation

    with warehouse.reading() as connection:
        examples = table_frame(connection, "training.novelty_examples").filter(pl.col("split") == "train")
    learned = examples.select(pl.col("history").cast(pl.List(pl.Int64))).unique()
    repeated = candidates.join(learned, on="history", how="semi").with_columns(pl.col("cluster_id").repeat_by("draws"))
    draws = repeated.group_by("history", maintain_order=True).agg(pl.col("cluster_id").explode())
    pairs = examples.select("history", "cluster_id").iter_rows()
    return memorisation(draws["history"].to_list(), draws["cluster_id"].to_list(), pairs)


def _relative(home: HomeResource, folder: Path) -> str:
    return str(folder.relative_to(home.home.path))
