"""How near training labels come to the truth of the simulated world, and what leaving each cell out of its prior costs.

    python benchmarks/training_labels.py

Six seeds of a world with random exposures; its topics are the clusters. Figures are correlations of shrunk rates with
the true rates over the users who were shown something, means over the seeds: towards the prior of the cluster and
towards affinities, by means that hold the cell and by those that are left without it. Prints one JSON object as its
last line.
"""

import datetime as dt

import numpy as np
import polars as pl
from synthetic.report import print_report

from models.arena.shelf import recent_clusters
from models.arena.traffic import id_numbers
from models.arena.world import World, WorldOptions
from models.feedback.priors import AffinityPrior, fit_cluster_priors
from models.feedback.transition_scores import filter_cells

FIRST_DAY, DAYS, SEEDS = dt.date(2026, 1, 5), 8, (1, 2, 3, 4, 5, 6)
USERS, TOPICS, LENGTH = 4_000, 24, 2


def histories_in_the_morning(world):
    """[users, K] and whether each user has one."""
    last = np.zeros((USERS, TOPICS), dtype=np.int64)
    for users, items, ts, positive in world.plays():
        np.maximum.at(last, (users[positive], world.catalogue.main_topics[items[positive]]), ts[positive])
    return recent_clusters(last, LENGTH)


def exposures(world):
    """Random exposures of one day to clusters outside the history: history, cluster, user, whether it pleased."""
    held, complete = histories_in_the_morning(world)
    traffic = world.simulate_day(world.next_day)
    outcomes = traffic.outcomes.drop("ts")
    logged = traffic.feedback.join(outcomes, on=["request_id", "item_id"], how="left", maintain_order="left")
    users, items = id_numbers(logged["user_id"]), id_numbers(logged["item_id"])
    clusters = world.catalogue.main_topics[items]
    watched = logged["watch_s"].fill_null(0).to_numpy() / world.catalogue.duration_s[items]
    liked = logged["liked"].fill_null(value=False).to_numpy()
    return pl.DataFrame(
        {
            "history": pl.Series(held[users].tolist(), dtype=pl.List(pl.Int32)),
            "cluster_id": clusters.astype(np.int32),
            "user_id": logged["user_id"],
            "positive": (watched >= world.options.positive_watch_share) | liked,
        }
    ).filter(pl.Series(complete[users] & (held[users] != clusters[:, None]).all(axis=1)))


def cells_and_truth(seed):
    """Counted cells that pass the filter, with the true rate of each."""
    world = World(WorldOptions(FIRST_DAY, users=USERS, topics=TOPICS, random_shelf=3, seed=seed))
    shown = pl.concat([exposures(world) for _ in range(DAYS)])
    counts = pl.len().alias("impressions"), pl.col("user_id").n_unique().alias("users"), pl.col("positive").sum()
    cells = shown.group_by("history", "cluster_id").agg(*counts).rename({"positive": "positives"})
    cells = cells.with_columns(pl.col("impressions", "users", "positives").cast(pl.Int64))
    truth, holders = world.truth(), shown.group_by("history", "user_id").agg(pl.len().alias("impressions"))
    rates = truth.shown_history_rates(holders, truth.item_topics)
    kept = filter_cells(cells.sort("history", "cluster_id"), 5, 3, 0.2).kept
    return kept.join(rates, on=["history", "cluster_id"], maintain_order="left")


def correlations(cells):
    """With the truth, of rates shrunk towards each prior by means that hold the cell, and by those without it."""
    impressions, positives = (cells[name].to_numpy().astype(float) for name in ("impressions", "positives"))
    clusters = fit_cluster_priors(cells)
    affinities = AffinityPrior(cells, clusters, TOPICS)
    priors = {
        "cluster": (clusters, clusters.means(cells["cluster_id"].to_list())),
        "affinity": (affinities, affinities.means(cells)),
    }
    found = {}
    for name, (prior, holding) in priors.items():
        for how, means in (("holding_the_cell", holding), ("left_out", prior.left_out)):
            shrunk = (prior.concentration * means + positives) / (prior.concentration + impressions)
            found[f"{name}_{how}"] = float(np.corrcoef(shrunk, cells["positive_rate"])[0, 1])
    return found


def main():
    by_seed = {seed: correlations(cells_and_truth(seed)) for seed in SEEDS}
    names = by_seed[SEEDS[0]]
    for seed, found in by_seed.items():
        print(seed, {name: round(value, 4) for name, value in found.items()})
    figures = {name: float(np.mean([found[name] for found in by_seed.values()])) for name in names}
    settings = {"users": USERS, "days": DAYS, "topics": TOPICS, "random_exposures": 3, "seeds": len(SEEDS)}
    print_report("training_labels", figures, settings)


if __name__ == "__main__":
    main()
