"""Which exposures should teach what users will like of a cluster that is novel to them: novel ones, or all of them?

    .venv/bin/python benchmarks/novel_exposures.py [--seeds 5] [--users 8000] [--days 14]

In worlds of several seeds with random exposures, cells (S, C) are counted by the project's own queries, filtered and
shrunk with the affinity prior, and the k best clusters of every history are planned by the shrunk rates. Three ways:

- ``novel``: exposures of clusters that were novel to the user (the default, `feedback.exposures`);
- ``all``: every exposure;
- ``factor``: every exposure, the rate of the known ones moved by one constant in log-odds, the common odds ratio
  between known and novel exposures of a cluster (Mantel and Haenszel 1959).

The truth of the world judges: the mean positive rate of the plans over the users to whom they are novel, as a share of
the way from any cluster (0) to the k best ones (1). Clusters are the topics of the world, so that no clustering blurs
the comparison. Prints one JSON object as its last line; spreads are standard deviations over the seeds.
"""

import datetime as dt

import duckdb
import numpy as np
import polars as pl
from scipy.special import expit, logit
from synthetic.report import print_report
from synthetic.several_worlds import asked_worlds

from alignrec_assets.warehouse.connection import create_tables
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.rows import read_frame, replace_days
from models.arena.truth import rates_of_plans
from models.arena.world import World, WorldOptions
from models.feedback.priors import AffinityPrior, fit_cluster_priors
from models.feedback.transition_scores import filter_cells

FIRST_DAY = dt.date(2026, 1, 5)
TOPICS, RANDOM_SHELF, K, ITEMS = 24, 3, 3, 2_000
ARMS = ("novel", "all", "factor")


def simulate(seed, users, days):
    """A world after its days, and its logs."""
    world = World(
        WorldOptions(FIRST_DAY, users=users, items=ITEMS, topics=TOPICS, random_shelf=RANDOM_SHELF, seed=seed)
    )
    traffic = [world.simulate_day(world.next_day) for _ in range(days)]
    return world, {name: pl.concat([getattr(day, name) for day in traffic]) for name in ("items", *LOGS)}


LOGS = ("events", "feedback", "outcomes")


def exposures(world, logs, days):
    """Counts of (S, C) by novelty."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        create_tables(connection)
        share = world.options.positive_watch_share
        for name, frame in logs.items():
            connection.register(name, frame)
        topics = pl.DataFrame({"item_id": list(world.truth().item_topics), "cluster_id": world.catalogue.main_topics})
        connection.register("topics", topics)
        connection.execute(
            "INSERT INTO interests.item_clusters BY NAME SELECT 't' AS taxonomy_version, item_id, cluster_id, "
            "1.0 AS similarity FROM topics"
        )
        judged = "(watch_s >= $share * duration_s OR liked)"
        connection.execute(
            f"""INSERT INTO raw.events BY NAME SELECT CAST(ts AS DATE) AS day, user_id, item_id,
            CAST(ts AS TIMESTAMP) AS ts, {judged} AS positive FROM events JOIN items USING (item_id)""",
            {"share": share},
        )
        connection.execute(
            f"""INSERT INTO raw.feedback_logs BY NAME SELECT CAST(feedback.ts AS DATE) AS day, request_id, item_id,
            feedback.user_id, CAST(feedback.ts AS TIMESTAMP) AS ts, policy, TRUE AS final,
            coalesce({judged}, FALSE) AS positive
            FROM feedback LEFT JOIN outcomes USING (request_id, item_id) JOIN items USING (item_id)""",
            {"share": share},
        )
        span = [FIRST_DAY + dt.timedelta(days=number) for number in range(days)]
        replace_days(connection, "interests.user_cluster_days", span)
        named = {"taxonomy_version": "t", "history_clusters": 2, "source": "random", "replay_share": 0.0}
        named["snapshot_day"] = None
        replace_days(connection, "feedback.transition_users", span, named)
        window = {"first_day": span[0], "as_of": span[-1], "taxonomy_version": "t", "share": 1.0}
        return {
            name: read_frame(connection, query("feedback.transition_scores"), window | {"exposures": name})
            for name in ("novel", "all")
        }


def cells_of(counted):
    return counted.select(
        "history", "cluster_id", *(pl.col(name).cast(pl.Float64) for name in ("impressions", "users", "positive"))
    ).rename({"positive": "positives"})


def with_factor(novel, everything):
    """All exposures, those of known clusters moved to the level of novel ones; and the constant, in log-odds."""
    joined = everything.join(
        novel.select("history", "cluster_id", n="impressions", y="positives"), on=["history", "cluster_id"], how="left"
    ).with_columns(pl.col("n", "y").fill_null(0.0))
    n, y = joined["n"].to_numpy(), joined["y"].to_numpy()
    known, liked = joined["impressions"].to_numpy() - n, joined["positives"].to_numpy() - y
    by_cluster = [np.bincount(joined["cluster_id"].to_numpy(), weights=values) for values in (liked, known, y, n)]
    a, a_all, c, c_all = by_cluster
    total = np.maximum(a_all + c_all, 1.0)
    odds = (a * (c_all - c) / total).sum() / (c * (a_all - a) / total).sum()
    rate = expit(logit((liked + 0.5) / (known + 1.0)) - np.log(odds))
    return joined.with_columns(pl.Series("positives", y + known * rate)).drop("n", "y"), float(np.log(odds))


def plans(cells, grid):
    """The k best clusters outside each history by their shrunk rates, cells without feedback by the affinity prior."""
    kept = filter_cells(cells, 5, 3, 0.2).kept
    priors = fit_cluster_priors(kept)
    counts = grid.join(kept, on=["history", "cluster_id"], how="left").with_columns(
        pl.col("impressions", "positives").fill_null(0.0)
    )
    affinities = AffinityPrior(kept, priors, TOPICS)
    prior = pl.Series(affinities.means(counts)) * affinities.concentration
    posterior = (prior + counts["positives"]) / (affinities.concentration + counts["impressions"])
    rates = counts.with_columns(posterior.alias("rate"))
    rank = pl.col("rate").rank("ordinal", descending=True).over("history")
    return rates.filter(rank <= K).select("history", "cluster_id"), kept


def judge(seed, users, days):
    """The share of the way to the truth that each arm covers."""
    world, logs = simulate(seed, users, days)
    counted = {name: cells_of(frame) for name, frame in exposures(world, logs, days).items()}
    counted["factor"], log_odds = with_factor(counted["novel"], counted["all"])
    truth = world.truth().history_rates(world.truth().item_topics, 2)
    outside = truth.filter(~pl.col("history").list.contains(pl.col("cluster_id")))
    found = {"known_log_odds": log_odds}
    for arm in ARMS:
        planned, kept = plans(counted[arm], outside.select("history", "cluster_id"))
        rates = rates_of_plans(truth, planned, planned, K)
        low, high = rates["true_rate_random"], rates["true_rate_oracle"]
        found |= {
            f"true_rate_{arm}": rates["true_rate_after"],
            f"way_{arm}": (rates["true_rate_after"] - low) / (high - low),
            f"novel_share_{arm}": rates["novel_share_after"],
            f"impressions_{arm}": float(kept["impressions"].sum()),
        }
    found |= {"true_rate_random": low, "true_rate_oracle": high, "novel_share_random": rates["novel_share_random"]}
    print(seed, {name: round(value, 4) for name, value in found.items()}, flush=True)
    return found


def main():
    chosen = asked_worlds(__doc__.splitlines()[0])
    found = pl.DataFrame([judge(seed, chosen.users, chosen.days) for seed in range(1, chosen.seeds + 1)])
    figures = {name: float(found[name].mean()) for name in found.columns}
    figures |= {f"{name}_spread": float(found[name].std()) for name in found.columns}
    for arm in ARMS[1:]:
        lead = (found[f"way_{arm}"] - found["way_novel"]).to_numpy()
        figures |= {f"lead_{arm}": float(lead.mean()), f"lead_{arm}_spread": float(lead.std(ddof=1))}
    print_report("novel_exposures", figures, vars(chosen))


if __name__ == "__main__":
    main()
