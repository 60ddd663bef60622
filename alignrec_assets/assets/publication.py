"""Publication: the winners of every history as one immutable version, made current by one rename."""

import json
from datetime import UTC, datetime

import dagster as dg
import polars as pl

from alignrec_assets.assets.checkpoints import told_novelty
from alignrec_assets.assets.gates import missed_gates
from alignrec_assets.assets.quality_checks import checks_before
from alignrec_assets.instance.check_results import failed_checks
from alignrec_assets.partitions import last_day_of
from alignrec_assets.refresh.asset_factory import makes
from alignrec_assets.refresh.checkpoints import Checkpoint, current_checkpoint, required_checkpoint
from alignrec_assets.refresh.fingerprints import origin_of
from alignrec_assets.refresh.tables import Facts, Result, origin_metadata, table_result
from alignrec_assets.refresh.taxonomies import required_taxonomy
from alignrec_assets.remote import publish_current
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.contract import check_table
from alignrec_assets.warehouse.records import Record, latest_day, read_records, write_records
from alignrec_assets.warehouse.rows import replace_table, table_frame
from alignrec_assets.warehouse.tables import TABLES
from models.candidates.best_of_n import plan_transitions
from models.evaluation.proven_ranking import RANKED_BY, Ranking, forced_ranking, proven_ranking
from models.files import MANIFEST_FILE, MODEL_FOLDER
from models.messages import listed
from models.serving.transition_table import CURRENT_FILE, TransitionTable, current_version, make_current, write_version

ASKED_ANEW = {"novelty_model:gates", "candidates/scored:contract", "interests/clusters:contract"}

TOLD = (
    *("version", "ranking", "ranking_reason", "novelty_head", "novelty_contest", "alignment_structure"),
    *("histories", "replaces"),
)
"""Of the manifest, in the metadata of the table."""


class PublicationGateError(RuntimeError):
    """A gate of publication is not met; what was published before stays current."""


@makes("publication.transition_table")
def transition_table(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Selects the best k of every pool, publishes them, and loads what was published."""
    settings = home.settings
    warehouse = home.warehouse(context.log.info)
    alignment = current_checkpoint(warehouse, "alignment_model")
    ranking = _ranking(settings, alignment)
    novelty = required_checkpoint(warehouse, "novelty_model")
    _audit(context, warehouse, home, novelty)
    with warehouse.reading() as connection:
        candidates = table_frame(connection, "candidates.scored")
        named = table_frame(connection, "interests.clusters").select("cluster_id", "label", "readable")
    rows = _planned(candidates, ranking, alignment, settings.candidates.k)
    before = current_version(home.home.published) if (home.home.published / CURRENT_FILE).exists() else None
    manifest = _manifest(home, rows, ranking, before, novelty, None if ranking.by == "novelty" else alignment)
    manifest["made_from"]["run_id"] = context.run.run_id
    version = write_version(home.home.published, rows, named, manifest)
    published = TransitionTable.open(home.home.published, version)
    # What the version replaced when it was made, not what stands before a run that makes it again: that is itself.
    facts = {name: published.manifest[name] for name in TOLD}
    record = Record(version, published.rows.height, facts)
    with warehouse.writing() as connection:
        columns = [column.name for column in TABLES["publication.transition_table"].columns]
        replace_table(
            connection,
            "publication.transition_table",
            published.rows.with_columns(pl.lit(version).alias("version")).select(columns),
        )
        write_records(connection, "publication.transition_table", {"": record})
        make_current(home.home.published, version)  # the last step: an error before it leaves both as they were
    publish_current(home.home.published, settings.remote.published, context.log.info)
    word = "stays current" if version == before else "is current"
    ranked = f"ranked by {RANKED_BY[ranking.by]}: {ranking.reason}"
    context.log.info(f"version {version} {word}: {published.rows.height:,} rows, {ranked}")
    shown = origin_metadata(published.manifest)
    return table_result(record, examples=dg.MetadataValue.md(_examples(published)), **shown)


@makes("publication.versions")
def versions(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Read from the manifests, so that the published folder alone is enough to make it again."""
    warehouse = home.warehouse(context.log.info)
    current = current_version(home.home.published)
    manifests = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(home.home.published.glob(f"[0-9a-f]*/{MANIFEST_FILE}"))
    ]
    rows = pl.DataFrame(
        [
            {
                "version": manifest["version"],
                "current": manifest["version"] == current,
                "published_at": manifest["made_at"],
                "ranking": manifest["ranking"],
                "histories": manifest["histories"],
                "clusters": manifest["clusters"],
                "replaces": manifest["replaces"],
                "manifest": json.dumps(manifest),
            }
            for manifest in manifests
        ],
        schema_overrides={"replaces": pl.String},
    ).with_columns(pl.col("published_at").str.to_datetime(time_zone="UTC").dt.replace_time_zone(None))
    record = Record(current, rows.height)
    with warehouse.writing() as connection:
        replace_table(connection, "publication.versions", rows)
        write_records(connection, "publication.versions", {"": record})
    context.log.info(f"{rows.height} versions")
    return table_result(record)


def _ranking(settings: Settings, alignment: Checkpoint | None) -> Ranking:
    """What ranks, by the settings or by what is proven."""
    wanted = settings.publication.ranking
    if wanted == "alignment" and alignment is None:
        raise PublicationGateError(
            "publication.ranking = alignment, but there is no alignment model: collect feedback and materialize "
            "alignment_model, or set publication.ranking to auto"
        )
    if wanted != "auto":
        return forced_ranking(wanted)
    return proven_ranking(alignment.manifest) if alignment else Ranking("novelty", "there is no alignment model")


def _planned(candidates: pl.DataFrame, ranking: Ranking, alignment: Checkpoint | None, k: int) -> pl.DataFrame:
    """The k clusters of each history that the ranking puts first."""
    if ranking.by == "novelty" or alignment is None:
        return plan_transitions(candidates, None, k)
    if ranking.by == "alignment":
        return plan_transitions(candidates, "alignment_score", k)
    from models.alignment.served_yardsticks import SCORE, load_yardstick, with_yardstick_scores

    yardstick = load_yardstick(alignment.folder / MODEL_FOLDER, ranking.by)
    return plan_transitions(with_yardstick_scores(candidates, yardstick), SCORE, k)


def _audit(context: dg.AssetExecutionContext, warehouse: Warehouse, home: HomeResource, novelty: Checkpoint) -> None:
    """No check before this step may have failed, however it was launched; what is cheap to ask is asked anew."""
    failed = failed_checks(context.instance, checks_before("publication.transition_table", home.settings))
    told = [f"{check}: {words}" for check, words in failed.items() if check not in ASKED_ANEW]
    if told:
        raise PublicationGateError(
            f"checks failed: {listed(told, '; ')}. Fix that, or change the limits under checks in the settings, and "
            "run what they belong to once more. The version published before stays current."
        )
    with warehouse.reading() as connection:
        for table in ("candidates.scored", "interests.clusters"):
            check_table(connection, table)
        validity = read_records(connection, "candidates.pools")[""].details["format_validity"]
    # Over all histories of the table, which the figure of the training is not.
    missed = missed_gates({**novelty.figures, "format_validity_tuned": validity}, home)
    if missed:
        raise PublicationGateError(f"{'; '.join(missed)}. The version published before stays current.")


def _manifest(
    home: HomeResource,
    rows: pl.DataFrame,
    ranking: Ranking,
    replaces: str | None,
    novelty: Checkpoint,
    alignment: Checkpoint | None,
) -> Facts:
    """What made a version; ``alignment`` where it ranks, or a yardstick of its contest does."""
    settings, warehouse = home.settings, home.warehouse()
    log_until = last_day_of(latest_day(warehouse, "feedback.transition_scores"), settings.calendar.partition)
    with warehouse.reading() as connection:
        drawn = read_records(connection, "candidates.pools")[""].details
        rated = read_records(connection, "candidates.scored")[""].details if alignment else {}
        made_from = origin_of(connection, "publication.transition_table", settings)
        scored = read_records(connection, "feedback.transition_scores")
    shown = {"novel_impression_ratio": scored[max(scored)].details["novel_impression_ratio"]}
    metrics = drawn | rated | (alignment.figures if alignment else {}) | shown
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "made_from": made_from,
        "replaces": replaces,
        "ranking": ranking.by,
        "ranking_reason": ranking.reason,
        "novelty_head": novelty.manifest["head"],
        "novelty_contest": told_novelty(novelty.manifest),
        "alignment_structure": alignment.manifest["selected_model"] if alignment else None,
        "taxonomy": required_taxonomy(home.home),
        "log_until": log_until.isoformat(),
        "log_window_days": settings.feedback.window_days,
        "feedback_source": settings.feedback.source,
        "novelty_model": novelty.manifest["content_hash"],
        "alignment_model": alignment.manifest["content_hash"] if alignment else None,
        "history_clusters": settings.history.clusters,
        "decoding": settings.candidates.model_dump(),
        "rows": rows.height,
        "histories": rows["history"].n_unique(),
        "clusters": len(set(rows["cluster_id"].to_list())),
        # How long a training took is no content: the same table, learned anew, is the same version.
        "metrics": {key: value for key, value in metrics.items() if key not in ("folder", "seconds")},
        "intervals": alignment.manifest["intervals"] if alignment else {},
    }


def _examples(table: TransitionTable) -> str:
    lines = ["| history | planned clusters |", "|---|---|"]
    histories = table.rows["history"].unique(maintain_order=True)
    for history in histories.gather_every(max(1, len(histories) // 10)).head(10).to_list():
        planned = ", ".join(f"*{cluster.label}*" for cluster in table.lookup(history))
        lines.append(f"| {' + '.join(table.labels[cluster] for cluster in history)} | {planned} |")
    return "\n".join(lines)
