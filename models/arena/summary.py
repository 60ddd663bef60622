"""Figures and arrays of a simulated world, for its report and pictures."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from sklearn.metrics import adjusted_rand_score

from models.arena.predictors import PREDICTORS, PredictorContest, TopicLog, compare_predictors
from models.arena.responses import SIGNALS
from models.arena.topics import Topic, load_topics
from models.arena.world import World
from models.arrays import Float64Array
from models.interests.taxonomy import fit_taxonomy
from models.progress import Log, silent

CLUSTERED_ITEMS, CLUSTERED_PER_TOPIC = 2_000, 20  # at least, where a world has so many items


@dataclass(frozen=True, eq=False)
class WorldSummary:
    """A world after its days.

    Attributes:
        days: one value per day of ``visitors``, ``plays``, ``favourite_share`` (of organic plays, in the topics that
            the feed knew as the user's three favourites in the morning: the feedback loop) and ``positive_rate``.
        figures: ``users``, ``items``, ``plays``, ``exposures``, ``<signal>_rate`` of organic plays,
            ``exposure_positive_rate``, ``favourite_share_first`` and ``_last`` (mean of the first and the last three
            days), ``plays_of_top_fifth`` (share of all plays by the most active fifth), ``adjusted_rand_index`` (of
            clusters found in the text alone against the topics; 1: the same), ``explained_<predictor>`` (share of the
            way from random to the oracle), ``rate_random`` and ``rate_oracle`` (mean true positive rate of what they
            rank first).
        plays_per_user: [users], of all days.
        affinity: [topics, topics] correlation of users' tastes, in the order of ``topics``.
        topics: names, family by family.
        families: [topics] of each of them.
    """

    days: dict[str, list[float]]
    figures: dict[str, float]
    plays_per_user: Float64Array
    affinity: Float64Array
    topics: tuple[str, ...]
    families: tuple[str, ...]


def summarise(world: World, log: TopicLog, items: pl.DataFrame, k: int, write: Log = silent) -> WorldSummary:
    """Figures and arrays of a world whose days have been simulated.

    Args:
        world: after its days.
        log: gathered from the traffic of these days.
        items: some of its items, in the columns of the data contract: what their text tells is measured.
        k: how many topics predictors choose per user.
        write: receives progress lines.

    Raises:
        ValueError: no day was simulated, or no user has 2k topics left to explore.
    """
    if not world.days:
        raise ValueError("a world without days has nothing to summarise: simulate at least one")
    truth = world.truth()
    write("clustering the items by their text")
    rand_index = _adjusted_rand_index(world, items)
    write("holding the contest of predictors")
    contest = compare_predictors(world, log, truth, k, seed=0)
    days = _day_series(world)
    plays = log.plays.sum(axis=1)
    total = sum(day.plays for day in world.days)
    exposures = sum(day.exposures for day in world.days)
    figures = {
        "users": world.options.users,
        "items": len(world.catalogue.item_ids),
        "plays": total,
        "exposures": exposures,
        **{
            f"{signal}_rate": sum(day.responses.get(signal, 0) for day in world.days) / max(total, 1)
            for signal in SIGNALS
        },
        "exposure_positive_rate": sum(day.positive_exposures for day in world.days) / max(exposures, 1),
        "favourite_share_first": float(np.mean(days["favourite_share"][:3])),
        "favourite_share_last": float(np.mean(days["favourite_share"][-3:])),
        "plays_of_top_fifth": float(np.sort(plays)[-max(1, len(plays) // 5) :].sum() / max(plays.sum(), 1)),
        "adjusted_rand_index": rand_index,
        **contest_figures(contest),
    }
    topics = _by_family(world)
    order = [world.topic_names.index(topic.name) for topic in topics]
    return WorldSummary(
        days=days,
        figures=figures,
        plays_per_user=plays,
        affinity=np.corrcoef(truth.tastes[:, order].astype(np.float64), rowvar=False),
        topics=tuple(topic.name for topic in topics),
        families=tuple(topic.family for topic in topics),
    )


def contest_figures(contest: PredictorContest) -> dict[str, float]:
    """The figures of a contest under the names of a world's report."""
    explained = {f"explained_{name}": contest.explained(name) for name in PREDICTORS}
    return {**explained, "rate_random": contest.rates["random"], "rate_oracle": contest.rates["oracle"]}


def _day_series(world: World) -> dict[str, list[float]]:
    return {
        "visitors": [float(day.visitors) for day in world.days],
        "plays": [float(day.plays) for day in world.days],
        "favourite_share": [day.favourite_plays / max(day.plays, 1) for day in world.days],
        "positive_rate": [day.responses.get("positive", 0) / max(day.plays, 1) for day in world.days],
    }


def _adjusted_rand_index(world: World, items: pl.DataFrame) -> float:
    """Agreement of clusters found in the text of some of the items with their topics."""
    topic_count = len(world.topic_names)
    some = items.head(max(CLUSTERED_ITEMS, CLUSTERED_PER_TOPIC * topic_count))
    taxonomy_size = min(topic_count, some.height)
    _, assigned = fit_taxonomy(some, taxonomy_size, "minilm", world.options.seed)
    topics = some["item_id"].str.slice(1).cast(pl.Int64).to_numpy()
    found = some.select("item_id").join(assigned, on="item_id", maintain_order="left")["cluster_id"]
    return float(adjusted_rand_score(world.catalogue.main_topics[topics], found.to_numpy()))


def _by_family(world: World) -> list[Topic]:
    topics, _ = load_topics(world.options.topics)
    families = [topic.family for topic in topics]
    return sorted(topics, key=lambda topic: families.index(topic.family))
