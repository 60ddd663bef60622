"""What the demo reports: sizes, metrics beside the yardsticks, planned transitions in words, and where to look next."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from alignrec_assets.assets.checkpoints import ALONE
from alignrec_assets.assets.feedback import exposures_by_policy
from alignrec_assets.home import Home
from alignrec_assets.refresh.checkpoints import Checkpoint, current_checkpoint, required_checkpoint
from alignrec_assets.refresh.taxonomies import required_taxonomy
from alignrec_assets.settings.sources import load_settings
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import read_records
from alignrec_assets.warehouse.rows import count_rows, table_frame
from models.candidates.best_of_n import plan_transitions
from models.evaluation.figures import FEW_HISTORIES, figure_text, interval_text
from models.evaluation.proven_ranking import RANKED_BY
from models.files import write_json
from models.novelty.contest import NAMES
from models.progress import Log, peak_gigabytes
from models.serving.transition_table import TransitionTable

Facts = dict[str, Any]
Intervals = Mapping[str, Sequence[float]]
TABLES = (
    "raw.items",
    "raw.events",
    "raw.feedback_logs",
    "raw.rejected_rows",
    "interests.clusters",
    "training.novel_transitions",
    "training.novelty_examples",
    "feedback.transition_users",
    "feedback.transition_counts",
    "training.pointwise_examples",
    "candidates.pools",
    "publication.transition_table",
)
MEASURED_BY_RUN = ("seconds", "peak_gb")
MEASURES = ("f1_at_k", "ndcg_at_k")
WORDS = ("spread_of_scores", "spread_of_words", "words_share", "spearman_without_words")
CONTESTANTS = {
    "": "alignment model",
    ALONE: "language model alone",
    "_random": "random",
    "_prior": "prior of the cluster",
    "_training_means": "training means",
    "_factorisation": "factorisation",
    "_additive": "additive affinity",
    "_label_regression": "regression on labels",
}
NOVELTY_MEASURES = ("loss", "macro_recall_at_3")
APART = "_users_apart"  # in the names of figures of the contest with users kept apart
ARMS = {"before": "before", "after": "after", "random": "any cluster", "oracle": "the best k"}
EXAMPLES = 10
MOST_POLICIES = 10
REPLAY_WARNING = (
    "Feedback was replayed: it tells whether users liked what they chose themselves. There was no exposure and no "
    "propensity, so nothing here is evidence of alignment; it tries the machinery."
)


def write_report(
    home: Home, source: str, first_version: str | None, truth: Path | None, seconds: float, write: Log
) -> None:
    """Write ``reports/demo.json`` and print it for a person.

    Args:
        home: the home after the run.
        source: simulated, or a public format.
        first_version: the version to compare with; without one, novelty alone on the same pools.
        truth: true positive rates of the simulated world; none for real data, where nobody knows them.
        seconds: of the whole command.
        write: receives the lines.
    """
    warehouse = Warehouse(home)
    table = TransitionTable.open(home.published)
    settings = load_settings(home)
    with warehouse.reading() as connection:
        sizes = count_rows(connection, TABLES)
        candidates = table_frame(connection, "candidates.scored")
        exposures = exposures_by_policy(connection, settings, required_taxonomy(home)).to_dicts()
    before = TransitionTable.open(home.published, first_version) if first_version else _novelty_alone(table, candidates)
    alignment = current_checkpoint(warehouse, "alignment_model")
    novelty = required_checkpoint(warehouse, "novelty_model").manifest
    figures = {"seconds": round(seconds, 1), "peak_gb": round(peak_gigabytes(), 2)}
    figures |= _figures(warehouse, table, novelty, alignment)
    intervals: Intervals = alignment.manifest["intervals"] if alignment else {}
    if truth is not None:
        true, true_intervals = _true_figures(warehouse, truth, before, table, settings.candidates.k)
        figures, intervals = figures | true, {**intervals, **true_intervals}
    examples = _examples(before, table)
    report = {
        "name": "demo",
        "figures": figures,
        "intervals": {name: interval for name, interval in intervals.items() if name in figures},
        "settings": settings.model_dump(mode="json"),
        "seed": settings.candidates.seed,
        "command": "make demo" if source == "simulated" else f"make demo SOURCE={source} DATA=<folder>",
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": source,
        "version": table.version,
        "compared_with": before.version,
        **{name: table.manifest[name] for name in ("ranking", "ranking_reason")},
        "table_rows": sizes,
        "exposures": exposures,
        "novelty": {name: novelty[name] for name in ("head", "contest", "leads")},
        "examples": examples,
        "notes": [REPLAY_WARNING] if settings.feedback.source == "replay" else [],
    }
    _keep_report(home.reports / "demo.json", report)
    for line in [
        *_size_lines(sizes),
        *_exposure_lines(exposures),
        *_novelty_lines(figures, novelty),
        *_contest_lines(figures, intervals, settings.candidates.k),
        *_words_lines(figures),
        *_apart_lines(figures, intervals),
        *_ranking_lines(table),
        *_truth_lines(figures),
        *_note_lines(figures, alignment.manifest["notes"] if alignment else []),
        *_example_lines(examples, before.version == table.version),
        *([REPLAY_WARNING, ""] if settings.feedback.source == "replay" else []),
        *_next_lines(home, table, figures),
    ]:
        write(line)


def _keep_report(path: Path, report: Facts) -> None:
    """Write the report, unless it says what stands there: a run that skipped everything took no time worth telling."""

    def lasting(facts: Facts) -> Facts:
        figures = {name: value for name, value in facts["figures"].items() if name not in MEASURED_BY_RUN}
        return {**facts, "figures": figures, "made_at": None}

    if path.exists() and lasting(json.loads(path.read_text(encoding="utf-8"))) == lasting(
        json.loads(json.dumps(report))
    ):
        return
    write_json(path, report)


def _figures(warehouse: Warehouse, table: TransitionTable, novelty: Facts, alignment: Checkpoint | None) -> Facts:
    """What the models' reports and the tables say, under the names of ``reports/demo.json``."""
    with warehouse.reading() as connection:
        scores = read_records(connection, "feedback.transition_scores")
        pools = read_records(connection, "candidates.pools")[""].details
    return {
        **{
            f"novelty_{name}": novelty["figures"][name]
            for name in ("loss", "macro_recall_at_3", "yardsticks_beaten_share")
        },
        "format_validity_tuned": novelty["figures"]["format_validity_tuned"],
        "memorisation": pools["memorisation"],
        **{f"{m}{y}": alignment.figures.get(f"{m}{y}") if alignment else None for m in MEASURES for y in CONTESTANTS},
        **{name: alignment.figures[name] if alignment else None for name in WORDS},
        **_apart_figures(alignment.figures if alignment else {}),
        "held_out_histories": alignment.figures["held_out_histories"] if alignment else 0,
        **{name: scores[max(scores)].details[name] for name in ("surviving_cell_share", "novel_impression_ratio")},
        "clusters": table.clusters.height,
        "histories": table.rows["history"].n_unique(),
    }


def _true_figures(
    warehouse: Warehouse, truth: Path, before: TransitionTable, after: TransitionTable, k: int
) -> tuple[Facts, Intervals]:
    """What the tables plan by the true rates, and what the true rates would score on the held-out log."""
    from models.arena.truth import ceiling_intervals, ceiling_of_examples, rates_of_plans

    rates = pl.read_parquet(truth)
    with warehouse.reading() as connection:
        examples = table_frame(connection, "training.pointwise_examples")
    figures = rates_of_plans(rates, before.rows, after.rows, after.k) | ceiling_of_examples(examples, rates, k)
    return figures, ceiling_intervals(examples, rates, k)


def _novelty_alone(table: TransitionTable, candidates: pl.DataFrame) -> TransitionTable:
    """The table that the same pools give without the alignment model."""
    rows = plan_transitions(candidates, None, table.k)
    return TransitionTable("novelty alone", table.manifest, rows, table.clusters)


def _examples(before: TransitionTable, after: TransitionTable) -> list[Facts]:
    """Histories spread over the table, with what was planned before and after."""
    histories = after.rows["history"].unique(maintain_order=True)
    step = max(1, len(histories) // EXAMPLES)
    return [
        {
            "history": [after.labels[cluster] for cluster in history],
            "before": [cluster.label for cluster in before.lookup(history)],
            "after": [cluster.label for cluster in after.lookup(history)],
        }
        for history in histories.gather_every(step, offset=step // 2).head(EXAMPLES).to_list()
    ]


def _size_lines(sizes: dict[str, int]) -> list[str]:
    return ["", "TABLES", *(f"  {name:<32} {rows:>12,}" for name, rows in sizes.items())]


def _exposure_lines(exposures: list[Facts]) -> list[str]:
    """Impressions of each policy, the share that was novel to the user, and the positive rates of both kinds."""
    lines = ["", "EXPOSURES whose window has closed; novel: of a cluster that the user had never touched"]
    for row in exposures[:MOST_POLICIES]:
        known = row["impressions"] - row["novel_impressions"]
        ratio = row["novel_impressions"] / row["impressions"]
        rates = [
            figure_text(row[f"{kind}_positives"] / shown if shown else None, missing="none")
            for kind, shown in (("novel", row["novel_impressions"]), ("known", known))
        ]
        lines.append(
            f"  {row['policy']:<24}{row['impressions']:>10,}   novel impression ratio {ratio:.3f}; "
            f"positive where novel {rates[0]}, where known {rates[1]}"
        )
    hidden = len(exposures) - MOST_POLICIES
    return [*lines, f"  and {hidden} more policies"] if hidden > 0 else lines


def _novelty_lines(figures: Facts, novelty: Facts) -> list[str]:
    """Novelty model and yardsticks on held-out transitions, and the leads of the model with their 95% intervals."""
    counted = novelty["figures"]
    lines = [
        "",
        f"NOVELTY MODEL ({novelty['head']}) on {counted['held_out_transitions']:,} held-out transitions of "
        f"{counted['held_out_users']:,} users; leads above 0 are the model's, with 95% intervals over users",
        f"  {'':<24}{'loss':>8}{'lead in loss':>22}{'macro recall@3':>18}{'lead in recall':>22}",
    ]
    for name, values in novelty["contest"].items():
        told = [f"{values[measure]:.3f}" for measure in NOVELTY_MEASURES]
        lead = novelty["leads"].get(name)
        leads = ["{:+.3f} to {:+.3f}".format(*lead[measure]) if lead else "" for measure in NOVELTY_MEASURES]
        shown = NAMES.get(name, name)
        lines.append(f"  {shown:<24}{told[0]:>8}{leads[0]:>22}{told[1]:>18}{leads[1]:>22}")
    return [
        *lines,
        f"  format validity at T = 1: {figures['format_validity_tuned']:.4f}; memorisation: "
        f"{figure_text(figures['memorisation'])} of the draws repeat a training pair (the paper saw 0.40)",
    ]


def _contest_lines(figures: Facts, intervals: Intervals, k: int) -> list[str]:
    """Alignment model and yardsticks; with 95% intervals where the held-out histories are few."""
    histories = figures["held_out_histories"]
    lines = [
        "",
        f"ALIGNMENT MODEL on {figures['held_out_histories']} held-out histories"
        + (", with 95% intervals over histories" if 0 < histories < FEW_HISTORIES else ""),
        f"  {'':<24}{f'F1@{k}':>26}{f'NDCG@{k}':>26}",
        *(_told(figures, intervals, histories, name, suffix) for suffix, name in CONTESTANTS.items()),
    ]
    if figures.get("f1_at_k_ceiling") is not None:
        truth = _told(figures, intervals, histories, "the truth itself", "_ceiling")
        lines.append(f"{truth}   what knowing it would score on this noisy log")
    return lines


def _told(figures: Facts, intervals: Intervals, histories: int, name: str, suffix: str) -> str:
    """The line of one contestant."""
    found = (f"{measure}{suffix}" for measure in MEASURES)
    told = (interval_text(figures[figure], intervals.get(figure), histories) for figure in found)
    return f"  {name:<24}" + "".join(f"{text:>26}" for text in told)


def _apart_lines(figures: Facts, intervals: Intervals) -> list[str]:
    """The contest with users kept apart, where there was one."""
    histories = figures.get(f"held_out_histories{APART}")
    if not histories:
        return []
    return [
        f"  with users kept apart: half of them teach, the others judge {histories:.0f} held-out histories",
        *(
            _told(figures, intervals, histories, name, f"{APART}{suffix}")
            for suffix, name in CONTESTANTS.items()
            if f"{MEASURES[0]}{APART}{suffix}" in figures
        ),
    ]


def _apart_figures(figures: Facts) -> Facts:
    return {name: value for name, value in figures.items() if APART in name}


def _words_lines(figures: Facts) -> list[str]:
    if figures["words_share"] is None:
        return []
    scores, words, share, rank = (figure_text(figures[name]) for name in WORDS)
    return [
        f"  the words: the ranking of a history spreads by {scores} in log-odds, the part of label vectors and "
        f"language model by {words} (share {share}); rank correlation with the ranking without them {rank}"
    ]


def _ranking_lines(table: TransitionTable) -> list[str]:
    """What ranks the table, and why."""
    return ["", f"RANKED BY {RANKED_BY[table.manifest['ranking']]}: {table.manifest['ranking_reason']}"]


def _truth_lines(figures: Facts) -> list[str]:
    if "true_rate_after" not in figures:
        return []
    return [
        "",
        "TRUE POSITIVE RATE of what the tables plan, over the users to whom it is novel (known for a simulated world "
        "alone)",
        *(
            f"  {name:<24}{figures[f'true_rate_{arm}']:.3f}   novel to {figures[f'novel_share_{arm}']:.1%} of "
            "the users of its history"
            for arm, name in ARMS.items()
        ),
    ]


def _note_lines(figures: Facts, notes: list[str]) -> list[str]:
    share = figures["surviving_cell_share"]
    kept = "no pair was served" if share is None else f"{share:.1%} of the served pairs had enough feedback to count"
    return [f"  {kept}", *(f"  {note}" for note in notes)]


def _example_lines(examples: list[Facts], unchanged: bool) -> list[str]:
    lines = ["", "PLANNED TRANSITIONS" + (" (one table)" if unchanged else ", before and after")]
    for example in examples:
        lines.append(f"  {' + '.join(example['history'])}")
        lines.extend([f"    before  {' | '.join(example['before'])}", f"    after   {' | '.join(example['after'])}"])
    return lines


def _next_lines(home: Home, table: TransitionTable, figures: Facts) -> list[str]:
    named = " ".join(f"'{table.labels[cluster]}'" for cluster in table.rows["history"][0])
    return [
        "",
        f"{figures['seconds']:.0f} s, {figures['peak_gb']:.1f} GB at most. "
        f"Table {table.version} is current in {home.published}.",
        "Where to look next:",
        f"  .venv/bin/alignrec lookup --home {home.path} {named}",
        f"  make ui SOURCE={home.path.name}     the assets, their lineage, tables and pictures",
        f"  {home.reports}     reports as JSON and PNG",
    ]
