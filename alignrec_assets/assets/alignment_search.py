"""The search for better settings of the alignment model: an asset beside the line, which `alignrec search` runs.

Trials lie beside the other checkpoints and are listed in the same registry. Nothing downstream reads them: whoever
wants the winner as the default copies its lines to ``settings.toml``.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
import tomlkit

from alignrec_assets.assets.checkpoints import alignment_options, require_levels
from alignrec_assets.assets.feedback import score_options
from alignrec_assets.assets.pictures import picture
from alignrec_assets.home import FORMAT_VERSION
from alignrec_assets.refresh.asset_factory import makes
from alignrec_assets.refresh.checkpoints import required_checkpoint
from alignrec_assets.refresh.fingerprints import origin_of
from alignrec_assets.refresh.tables import Facts, Result
from alignrec_assets.refresh.taxonomies import cluster_labels
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.rows import table_frame
from models.evaluation.figures import interval_text
from models.files import MODEL_FOLDER, fingerprint, write_json
from models.progress import Log

if TYPE_CHECKING:
    from models.alignment.trials import SearchReport

ASSET = "alignment_search"


@makes("alignment_search")
def alignment_search(context: dg.AssetExecutionContext, home: HomeResource) -> Result:
    """Takes up the search of the same data, model and settings; a budget that is spent trains nothing."""
    from models.alignment.search_pictures import draw_search

    settings = home.settings
    warehouse = home.warehouse(context.log.info)
    report = _search(warehouse, settings, context.log.info)
    image = home.home.reports / f"{ASSET}.png"
    draw_search(report, settings.candidates.k, image)
    found = _report(report, settings)
    write_json(home.home.reports / f"{ASSET}.json", found)
    for line in _advice(report):
        context.log.info(line)
    winner, figures, k = report.winner, found["figures"], settings.candidates.k
    histories, interval = report.test["held_out_histories"], report.test["intervals"].get("f1_at_k")
    tested = interval_text(figures["f1_at_k"], interval, histories, missing="none")
    context.log.info(
        f"the best of {len(report.trials)} is trial {winner.number}: F1@{k} {winner.told('f1_at_k')} "
        f"on validation histories, {tested} on {histories} test histories"
    )
    return dg.MaterializeResult(
        metadata={
            "winner": winner.version,
            "settings": dg.MetadataValue.md(f"```toml\n{winning_settings(report)}```"),
            "trials": dg.MetadataValue.json(found["trials"]),
            **{name: value for name, value in figures.items() if value is not None and name != "trials"},
            "search": picture(image),
        },
        data_version=dg.DataVersion(fingerprint([winner.version, len(report.trials)])),
    )


def winning_settings(report: "SearchReport") -> str:
    """The lines of ``settings.toml`` that make the winner the default."""
    parameters = report.winner.parameters
    alignment = {name: parameters[name] for name in ("loss", "tune", "learning_rate", "epochs")}
    return tomlkit.dumps({"feedback": {"normalisation": parameters["normalisation"]}, "alignment": alignment})


def _search(warehouse: Warehouse, settings: Settings, log: Log) -> "SearchReport":
    from models.alignment.search import AlignmentSearch
    from models.alignment.trial_data import trial_preparation
    from models.alignment.trials import SearchOptions
    from models.interests.item_embeddings import text_vectors

    base, labels = required_checkpoint(warehouse, "base_model"), cluster_labels(warehouse)
    with warehouse.reading() as connection:
        examples = table_frame(connection, "training.pointwise_examples")
        name = fingerprint(origin_of(connection, ASSET, settings))
    require_levels(examples, settings)
    search = AlignmentSearch(
        base.folder / MODEL_FOLDER,
        warehouse.home.checkpoints / ASSET,
        name,
        labels,
        trial_preparation(
            examples,
            len(labels),
            score_options(settings.feedback)["interval"],
            settings.alignment.pairs_per_history,
            settings.alignment.seed,
        ),
        SearchOptions(
            normalisation=settings.feedback.normalisation,
            training=alignment_options(settings),
            trials=settings.search.trials,
            minutes=settings.search.minutes,
            seed=settings.search.seed,
        ),
        settings.candidates.k,
        log,
        stamp={
            "format_version": FORMAT_VERSION,
            "model": ASSET,
            "base_model": base.version,
            "as_of": str(examples["as_of"][0]),
            "feedback_source": settings.feedback.source,
        },
        label_embeddings=text_vectors(labels),
    )
    return search.run()


def _report(report: "SearchReport", settings: Settings) -> Facts:
    winner, standing = report.winner, report.trials[0]
    figures = {
        "trials": len(report.trials),
        "seconds": report.seconds,
        "validation_f1_at_k": winner.figures["f1_at_k"],
        "validation_ndcg_at_k": winner.figures["ndcg_at_k"],
        "standing_validation_f1_at_k": standing.figures["f1_at_k"],
        "standing_validation_ndcg_at_k": standing.figures["ndcg_at_k"],
        "held_out_histories": report.test["held_out_histories"],
        **report.test["figures"],
    }
    return {
        "name": ASSET,
        "figures": figures,
        "winner": asdict(winner),
        "settings_toml": winning_settings(report),
        "intervals": report.test["intervals"],
        "leads": report.test["leads"],
        "by_cut": report.test["by_cut"],
        "notes": report.test["notes"],
        "judged": report.test["judged"],
        "trials": [asdict(trial) for trial in report.trials],
        "k": settings.candidates.k,
        "feedback_source": settings.feedback.source,
        "settings": settings.search.model_dump(),
        "seed": settings.search.seed,
        "command": "alignrec search",
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _advice(report: "SearchReport") -> list[str]:
    """What to do with the winner, in lines for the log."""
    if report.winner == report.trials[0]:
        return ["nothing was better than the settings as they are"]
    return ["these lines of settings.toml make it the default:", *winning_settings(report).splitlines()]
