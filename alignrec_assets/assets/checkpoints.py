"""Checkpoints: the base model, the two language models trained from it, and the registry that lists them all."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from alignrec_assets.assets.reports import checkpoint_result, publish_picture, publish_report
from alignrec_assets.refresh.asset_factory import makes
from alignrec_assets.refresh.checkpoints import (
    record_checkpoint,
    refresh_checkpoint,
    required_checkpoint,
)
from alignrec_assets.refresh.fingerprints import made_by, origin_of
from alignrec_assets.refresh.tables import Facts, Result, table_result
from alignrec_assets.refresh.taxonomies import cluster_labels
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import Record, read_records, write_records
from alignrec_assets.warehouse.rows import replace_table, table_frame
from models.evaluation.figures import figure_text, interval_text
from models.evaluation.proven_ranking import proven_ranking
from models.files import MANIFEST_FILE, MODEL_FOLDER, fingerprint
from models.progress import Log

if TYPE_CHECKING:
    from models.alignment.options import AlignmentOptions

ALONE = "_language_model"  # the suffix of its figures
LEAST_CELLS = 2
"""One cell has one label."""
CHECKPOINT_ASSETS = ("taxonomy", "base_model", "novelty_model", "alignment_model", "alignment_search")


@makes("base_model")
def base_model(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Dequantised or copied once."""
    source = home.settings.base_model.source
    made_from = {**made_by("base_model", home.settings), "inputs": {}}

    def build(folder: Path) -> Facts:
        from models.language.base_model import materialize_base_model

        return {"figures": materialize_base_model(folder / MODEL_FOLDER, source, context.log.info)}

    checkpoint = refresh_checkpoint(context, home.home, "base_model", fingerprint(made_from), build, made_from)
    record_checkpoint(home.warehouse(context.log.info), "base_model", checkpoint)
    return checkpoint_result(checkpoint)


@makes("novelty_model")
def novelty_model(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Loss on the label's tokens and its terminator only."""
    options = home.settings.novelty
    warehouse = home.warehouse(context.log.info)
    with warehouse.reading() as connection:
        made_from = origin_of(connection, "novelty_model", home.settings)

    def build(folder: Path) -> Facts:
        from models.novelty.options import NoveltyOptions
        from models.novelty.report import learn_novelty_model

        base, labels = required_checkpoint(warehouse, "base_model"), cluster_labels(warehouse)
        with warehouse.reading() as connection:
            examples = table_frame(connection, "training.novelty_examples")
        chosen = NoveltyOptions(**options.model_dump(include={field.name for field in fields(NoveltyOptions)}))
        rows = examples.select("user_id", "history", "cluster_id", "split")
        return {
            **learn_novelty_model(base.folder / MODEL_FOLDER, folder, labels, rows, chosen, context.log.info),
            "settings": options.model_dump(),
            "base_model": base.version,
            "taxonomy": examples["taxonomy_version"][0],
            "as_of": str(examples["as_of"][0]),
        }

    checkpoint = refresh_checkpoint(context, home.home, "novelty_model", fingerprint(made_from), build, made_from)
    record_checkpoint(warehouse, "novelty_model", checkpoint)
    context.log.info(f"{checkpoint.version}: {told_novelty(checkpoint.manifest)}")
    contest = novelty_contest_table(checkpoint.manifest)
    return checkpoint_result(checkpoint, picture=publish_report(home, checkpoint, "novelty"), contest=contest)


@makes("alignment_model")
def alignment_model(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Without enough feedback there is no model yet, and the table is planned by novelty alone."""
    settings = home.settings
    warehouse = home.warehouse(context.log.info)
    with warehouse.reading() as connection:
        made_from = origin_of(connection, "alignment_model", settings)
        examples = table_frame(connection, "training.pointwise_examples")
    version = fingerprint(made_from)
    reason = thin_feedback(examples, settings)
    if reason:
        context.log.info(reason)
        with warehouse.writing() as connection:
            write_records(connection, "alignment_model", {"": Record(version)})
        return dg.MaterializeResult(metadata={"status": reason}, data_version=dg.DataVersion(version))

    require_levels(examples, settings)
    resume = home.home.checkpoints / "alignment_model" / f".{version}.unfinished"

    def build(folder: Path) -> Facts:
        return _train_alignment_model(folder, resume, warehouse, settings, examples, context.log.info)

    checkpoint = refresh_checkpoint(context, home.home, "alignment_model", version, build, made_from)
    record_checkpoint(warehouse, "alignment_model", checkpoint)
    context.log.info(f"{checkpoint.version}: {told_contest(checkpoint.manifest)}")
    proven = asdict(proven_ranking(checkpoint.manifest))
    curves = publish_report(home, checkpoint, "alignment", proven_ranking=proven)
    contest = publish_picture(home, checkpoint, "alignment_contest")
    return checkpoint_result(checkpoint, curves=curves, contest=contest, proven_ranking=proven)


@makes("registry.checkpoints")
def checkpoints(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Read from the manifests, so that the folders alone are enough to make it again."""
    warehouse = home.warehouse(context.log.info)
    rows = []
    with warehouse.writing() as connection:
        for model in CHECKPOINT_ASSETS:
            current = read_records(connection, model).get("")
            # A killed process may leave its folder, manifest and all, under a name that begins with a dot.
            for path in sorted((home.home.checkpoints / model).glob(f"[!.]*/{MANIFEST_FILE}")):
                manifest = json.loads(path.read_text(encoding="utf-8"))
                rows.append(
                    {
                        "model": model,
                        "version": manifest["version"],
                        "folder": str(path.parent.relative_to(home.home.path)),
                        "content_hash": manifest["content_hash"],
                        "made_at": manifest["made_at"],
                        "current": current is not None and current.fingerprint == manifest["version"],
                        "figures": json.dumps(manifest["figures"]),
                    }
                )
        frame = pl.DataFrame(rows).with_columns(
            pl.col("made_at").str.to_datetime(time_zone="UTC").dt.replace_time_zone(None)
        )
        replace_table(connection, "registry.checkpoints", frame)
        # Without the moment and the seconds of making: the same checkpoint made again is no news.
        listed = frame.select("model", "version", "folder", "content_hash", "current").rows()
        record = Record(fingerprint(listed), frame.height)
        write_records(connection, "registry.checkpoints", {"": record})
    context.log.info(f"{frame.height} checkpoints")
    return table_result(record)


def _train_alignment_model(
    folder: Path, resume: Path, warehouse: Warehouse, settings: Settings, examples: pl.DataFrame, log: Log
) -> Facts:
    """Write model and pictures to the folder; returns what the manifest says of them."""
    from models.alignment.pictures import draw_alignment_contest, draw_alignment_curves
    from models.alignment.pointwise_examples import prior_rates
    from models.alignment.training import train_alignment_model
    from models.interests.item_embeddings import text_vectors

    base, options, k = required_checkpoint(warehouse, "base_model"), settings.alignment, settings.candidates.k
    labels = cluster_labels(warehouse)
    with warehouse.reading() as connection:
        pairs = table_frame(connection, "training.pairwise_examples")
        learned = read_records(connection, "training.pointwise_examples")[""].details
    chosen = alignment_options(settings)
    resume.parent.mkdir(parents=True, exist_ok=True)
    report = train_alignment_model(
        base.folder / MODEL_FOLDER,
        folder / MODEL_FOLDER,
        labels,
        examples,
        chosen,
        k,
        log,
        pairs=pairs,
        multipliers=prior_rates(examples, len(labels)) if settings.feedback.normalisation == "lift" else None,
        label_embeddings=text_vectors(labels),
        resume=resume,
    )
    draw_alignment_curves(report, k, folder / "alignment.png")
    draw_alignment_contest(report.judgement, k, folder / "alignment_contest.png")
    facts = report.facts()
    facts["figures"]["novel_impression_ratio"] = learned["novel_impression_ratio"]
    return {
        **facts,
        "settings": options.model_dump(),
        "k": k,
        "exposures": settings.feedback.exposures,
        "feedback_source": settings.feedback.source,
        "base_model": base.version,
        "taxonomy": examples["taxonomy_version"][0],
        "as_of": str(examples["as_of"][0]),
    }


def thin_feedback(examples: pl.DataFrame, settings: Settings) -> str:
    """Why the feedback is too thin to align with, and what to change; empty where it suffices.

    Args:
        examples: the pointwise examples.
        settings: k and the least number of histories that can be judged.
    """
    from models.alignment.pointwise_examples import histories_by_split, judged_histories

    k, least = settings.candidates.k, settings.alignment.minimum_histories
    result = "the table is planned by novelty alone"
    served = histories_by_split(examples)
    if not served.get("train"):
        return f"no alignment model: there is no feedback that could teach one; {result}"
    judged = judged_histories(examples, k)
    if sum(judged.values()) >= least:
        return ""
    return (
        f"no alignment model: {sum(judged.values()):,} of {sum(served.values()):,} histories have feedback on "
        f"{2 * k} clusters or more (2k, candidates.k = {k}), {judged.get('test', 0):,} of them test "
        f"histories, and alignment.minimum_histories asks for {least:,}; {result}. Collect more feedback, lower "
        "feedback.minimum_impressions or feedback.minimum_users, raise feedback.window_days, or choose a smaller "
        "candidates.k or fewer interests.clusters"
    )


def told_novelty(manifest: Facts) -> str:
    """How the novelty model proposes what came next for held-out users, and what counting gets."""
    figures, best = manifest["figures"], manifest["best_yardstick"]
    low, high = manifest["leads"][best]["loss"]
    return (
        f"on {figures['held_out_transitions']:,} held-out transitions loss {figures['loss']:.3f} nats, macro recall@3 "
        f"{figures['macro_recall_at_3']:.3f}; lead in loss over the best count, {best}, {low:+.3f} to {high:+.3f}"
    )


def novelty_contest_table(manifest: Facts) -> dg.MarkdownMetadataValue:
    """Values of all contestants, and the model's leads in loss and macro recall, for the UI."""
    rows = [
        "| | loss | macro recall@3 | recall@3 | lead in loss | lead in macro recall@3 |",
        "|---|---|---|---|---|---|",
    ]
    for name, values in manifest["contest"].items():
        lead = manifest["leads"].get(name)
        leads = ["{:+.3f} to {:+.3f}".format(*lead[key]) if lead else "" for key in ("loss", "macro_recall_at_3")]
        told = [f"{values[key]:.3f}" for key in ("loss", "macro_recall_at_3", "recall_at_3")]
        rows.append(f"| {name} | " + " | ".join([*told, *leads]) + " |")
    return dg.MetadataValue.md("\n".join(rows))


def told_contest(manifest: Facts) -> str:
    """How the alignment model and its language model alone rank the test histories, and the share of the words."""
    figures, intervals = manifest["figures"], manifest["intervals"]
    histories = figures["held_out_histories"]

    def told(contestant: str) -> str:
        names = (f"f1_at_k{contestant}", f"ndcg_at_k{contestant}")
        f1, ndcg = (interval_text(figures[name], intervals.get(name), histories, "none") for name in names)
        return f"F1@k {f1}, NDCG@k {ndcg}"

    lines = [f"on {histories} test histories {told('')}"]
    if f"f1_at_k{ALONE}" in figures:
        lines.append(f"language model alone {told(ALONE)}")
        lines.append(f"words are {figure_text(figures['words_share'])} of the spread of the ranking")
    return "; ".join(lines)


def require_levels(examples: pl.DataFrame, settings: Settings) -> None:
    """Refuse labels that are all the same, before a training is spent on them.

    Args:
        examples: the pointwise examples.
        settings: how they were scored.

    Raises:
        ValueError: naming the signal, how its rates became labels, the cells, and what to change.
    """
    from models.alignment.pointwise_examples import training_rows

    labels, feedback = training_rows(examples)["score"], settings.feedback
    if len(labels) < LEAST_CELLS or labels.n_unique() > 1:
        return
    sparse = (
        "Set feedback.normalisation = 'quantile' and feedback.interval = 'auto', which tell the rates of a sparse "
        "signal apart"
    )
    fix = "Their rates are all equal: collect more feedback" if feedback.normalisation == "quantile" else sparse
    raise ValueError(
        f"feedback.signal is {feedback.signal!r}, and by feedback.normalisation = {feedback.normalisation!r} and "
        f"feedback.interval = {feedback.interval!r} all {len(labels):,} training cells have the same label, "
        f"{labels[0]:g}: there is nothing to align with, and the published table stays. {fix}, or choose another "
        "feedback.signal"
    )


def alignment_options(settings: Settings) -> "AlignmentOptions":
    """What the alignment model is trained by."""
    from models.alignment.options import AlignmentOptions

    return AlignmentOptions(**settings.alignment.model_dump(include={field.name for field in fields(AlignmentOptions)}))
