"""The study: what the alignment model is worth, on a world whose truth is known, at the size of the profile ``study``.

64 topics, 2,016 histories, random exposures as feedback, a share of the clusters kept from training. The line runs up
to the trained models; then their rankings are compared with the truth. Run again, it goes on where it was.
"""

import json
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from alignrec_assets.home import Home
from alignrec_assets.instance import prepare_instance
from alignrec_assets.settings import load_settings, update_settings_file
from models.files import replacing, write_json
from models.progress import Log

FIRST_DAY = date(2026, 1, 5)
DAYS = 14
STUDY_SETTINGS: dict[str, dict[str, Any]] = {
    "calendar": {"first_day": FIRST_DAY, "last_day": date(2026, 1, FIRST_DAY.day + DAYS - 1)},
    "alignment": {"unseen_cluster_share": 0.125},
}


def run_study(home: Home, users: int, write: Log) -> None:
    """Simulate, run days and learning, and write what the truth says into ``reports/alignment.json``.

    Args:
        home: a home of its own; its ``settings.toml``, where there is none yet, gets the profile ``study``.
        users: of the world.
        write: receives the lines.
    """
    from models.arena.world import World, WorldOptions

    if not home.settings.exists():
        with replacing(home.settings) as partial:
            partial.write_text('profile = "study"\n', encoding="utf-8")
        update_settings_file(home, STUDY_SETTINGS)
    prepare_instance(home)
    # Imported here: the calendar that the partitions are made of is written by now.
    from alignrec_assets.running import run_line
    from alignrec_assets.simulation import Simulation

    options = WorldOptions(first_day=FIRST_DAY, users=users, items=6_000, topics=64, random_shelf=5, seed=1)
    simulation = Simulation(home, options, DAYS, DAYS)
    if simulation.finished:
        write("simulated world: skipped, all days are in the landing zone")
    else:
        write(f"simulated world: {users:,} users, {DAYS} days, five random exposures a session")
        simulation.write_quiet_days(World(options), lambda line: write(f"  {line}"))
    run_line(home, None, None, write, selections=("days", "learning"))
    write("comparing with the truth")
    rates = _true_rates(home, World(options))
    for line in _report(home, rates):
        write(line)


def _true_rates(home: Home, world: Any) -> pl.DataFrame:
    """True rates of every history and cluster after the last day, by simulating the days again in memory."""
    from alignrec_assets.interests import read_assignments, required_taxonomy

    for _ in range(DAYS):
        world.simulate_day(world.next_day)
    assigned = read_assignments(home, required_taxonomy(home))
    clusters = dict(zip(assigned["item_id"].to_list(), assigned["cluster_id"].to_list(), strict=True))
    rates: pl.DataFrame = world.truth().history_rates(clusters, load_settings(home).history.clusters)
    return rates


def _report(home: Home, rates: pl.DataFrame) -> list[str]:
    """Add the noise ceilings, the shares of the way to them, and the correlation with the truth to the report."""
    from alignrec_assets.checkpoints import MODEL_FOLDER, cluster_labels
    from alignrec_assets.refresh import required_checkpoint
    from alignrec_assets.warehouse import Warehouse, table_frame
    from models.alignment import score_candidates
    from models.arena.truth import noise_ceiling
    from models.ranking_contest import headroom_share

    warehouse, k = Warehouse(home), load_settings(home).candidates.k
    with warehouse.reading() as connection:
        test = table_frame(connection, "training.pointwise_examples").filter(pl.col("split") == "test")
    cells = test.join(rates, on=["history", "cluster_id"]).sort("history", "cluster_id")
    path = home.reports / "alignment.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    figures: dict[str, float | None] = report["figures"]
    for part, prefix in ((cells.filter(~pl.col("unseen")), ""), (cells.filter("unseen"), "unseen_")):
        if part.is_empty():
            continue
        ceiling = noise_ceiling(part, k, seed=0)
        for measure, value in ceiling.items():
            name = f"{prefix}{measure}"
            figures[f"{name}_ceiling"] = value
            share = headroom_share(figures[name], figures[f"{name}_random"], value)
            figures[_share_name(prefix, measure)] = share
    folder = required_checkpoint(warehouse, "alignment_model").folder / MODEL_FOLDER
    grouped = cells.group_by("history", maintain_order=True).agg("cluster_id", "positive_rate")
    candidates = grouped["cluster_id"].to_list()
    predicted = score_candidates(folder, cluster_labels(warehouse), grouped["history"].to_list(), candidates)
    true = np.concatenate([np.array(values) for values in grouped["positive_rate"].to_list()])
    figures["correlation_with_truth"] = float(np.corrcoef(np.concatenate(predicted), true)[0, 1])
    write_json(path, report | {"figures": figures, "command": "make study"})
    return ["", *(f"  {name:<36}{_number(value):>10}" for name, value in sorted(figures.items())), f"  {path}"]


def _share_name(prefix: str, measure: str) -> str:
    short = {"f1_at_k": "f1", "ndcg_at_k": "ndcg"}[measure]
    if prefix:
        return "unseen_cluster_headroom_share" + ("" if short == "ndcg" else "_f1")
    return f"headroom_share_{short}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
