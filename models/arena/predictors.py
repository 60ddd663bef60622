"""What simple predictors learn from the logs of a world, compared with the truth: is the world too easy or too hard?

Each predictor ranks, for every user, the topics that the user never played. None of them sees the truth; a world is
fair if each explains a part of it and none explains it all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import polars as pl
from sklearn.decomposition import TruncatedSVD

from models.arena.topics import attribute_matrix, load_topics
from models.arena.traffic import Traffic, id_numbers
from models.arena.truth import Truth
from models.arena.world import World, WorldOptions
from models.arrays import BoolArray, Float64Array, IntArray
from models.evaluation.metrics import evaluate_ranking, top_k_credit
from models.progress import Log, Progress, silent

PREDICTORS = ("random", "popularity", "prior", "factorisation", "item_to_item", "words", "oracle")
RANKED = ("random", "popularity", "prior", "factorisation", "item_to_item", "oracle")  # worst first, in every world
MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)
FACTORS, TILT = 2, 0.4
LIFT_SUPPORT = 5.0  # pairs of topics that fewer users share count as unrelated
JUDGED_USERS = 1_000


class TopicLog:
    """Plays and exposures of a world by user and topic, gathered from its logs day by day.

    Attributes:
        plays, positives: [users, topics] of all events, those of the shelf included.
        exposures, positive_exposures: [topics] of the shelf alone, impressions without a response included.
    """

    def __init__(self, world: World) -> None:
        shape = (world.options.users, len(world.topic_names))
        self._world = world
        self.plays = np.zeros(shape)
        self.positives = np.zeros(shape)
        self.exposures = np.zeros(shape[1])
        self.positive_exposures = np.zeros(shape[1])

    def add(self, traffic: Traffic) -> None:
        """Add the logs of a day."""
        users, topics, positive = self._read(traffic.events)
        np.add.at(self.plays, (users, topics), 1.0)
        np.add.at(self.positives, (users[positive], topics[positive]), 1.0)
        shown = self._topics_of(traffic.feedback)
        pleased = traffic.feedback.select("request_id", "user_id").join(
            traffic.outcomes, on="request_id", maintain_order="left"
        )
        _, topics, positive = self._read(pleased)
        self.exposures += np.bincount(shown, minlength=len(self.exposures))
        self.positive_exposures += np.bincount(topics[positive], minlength=len(self.exposures))

    def _read(self, plays: pl.DataFrame) -> tuple[IntArray, IntArray, BoolArray]:
        """Users, topics, and whether each play was positive by the pipeline's rule."""
        items = self._items(plays)
        watched = plays["watch_s"].to_numpy() / self._world.catalogue.duration_s[items]
        positive = (watched >= self._world.options.positive_watch_share) | plays["liked"].to_numpy()
        users = id_numbers(plays["user_id"])
        return users, self._world.catalogue.main_topics[items], positive

    def _topics_of(self, plays: pl.DataFrame) -> IntArray:
        topics: IntArray = self._world.catalogue.main_topics[self._items(plays)]
        return topics

    @staticmethod
    def _items(plays: pl.DataFrame) -> IntArray:
        return id_numbers(plays["item_id"])


def predictions(log: TopicLog, attributes: Float64Array) -> dict[str, Float64Array]:
    """[users, topics] scores of the predictors that learn from logs, and of one that knows only the words.

    ``popularity``: plays of the topic. ``prior``: its positive rate on the shelf. ``item_to_item``: the prior times the
    mean lift (how much more often than by chance the topic pleases those whom another pleases) over what pleased the
    user. ``factorisation``: the prior, tilted by a truncated SVD of who was pleased by what, in standard scores.
    ``words``: cosine of the topic's attributes with the mean of those that pleased the user.
    """
    shape = log.plays.shape
    prior = (log.positive_exposures + 1) / (log.exposures + 2)
    pleased = (log.positives > 0).astype(np.float64)
    share = pleased.mean(axis=0)
    by_chance = np.outer(share, share) * len(pleased)
    lift = (pleased.T @ pleased + LIFT_SUPPORT) / (by_chance + LIFT_SUPPORT)
    standard_scores = (pleased - share) / np.sqrt(np.maximum(share * (1 - share), 1e-9))
    factors = TruncatedSVD(n_components=min(FACTORS, shape[1] - 1), random_state=0)
    personal = factors.fit_transform(standard_scores) @ factors.components_
    return {
        "random": np.zeros(shape),
        "popularity": np.broadcast_to(log.plays.sum(axis=0), shape),
        "prior": np.broadcast_to(prior, shape),
        "item_to_item": prior * (pleased @ lift) / np.maximum(pleased.sum(axis=1, keepdims=True), 1),
        "factorisation": prior * np.exp(TILT * personal),
        "words": _cosine(pleased @ attributes, attributes),
    }


@dataclass(frozen=True)
class PredictorContest:
    """How well each predictor finds what users would like among the topics that they never played.

    Attributes:
        users: how many were judged.
        rates: mean true positive rate of the first k topics, by predictor.
        f1_at_k: overlap of the first k with the true first k, by predictor.
    """

    users: int
    rates: Mapping[str, float]
    f1_at_k: Mapping[str, float]

    def explained(self, predictor: str) -> float:
        """Share of the way from random to the oracle."""
        low, high = self.rates["random"], self.rates["oracle"]
        return (self.rates[predictor] - low) / (high - low)


def compare_predictors(world: World, log: TopicLog, truth: Truth, k: int, seed: int) -> PredictorContest:
    """Judge all predictors on at most ``JUDGED_USERS`` users who have 2k topics that they never played.

    Raises:
        ValueError: nobody has that many.
    """
    rng = np.random.default_rng(seed)
    topics, names = load_topics(world.options.topics)
    eligible = np.flatnonzero(((log.plays == 0).sum(axis=1) >= 2 * k) & (log.positives.sum(axis=1) > 0))
    if len(eligible) == 0:
        raise ValueError(f"no user has {2 * k} topics left to explore: simulate fewer days or more topics")
    users = np.sort(rng.permutation(eligible)[:JUDGED_USERS])
    rates = truth.user_rates(users, truth.item_topics)["positive"]
    scores = {name: score[users] for name, score in predictions(log, attribute_matrix(topics, names)).items()}
    scores["oracle"] = rates
    novel = [np.flatnonzero(row == 0) for row in log.plays[users]]
    true = [rates[row, topics] for row, topics in enumerate(novel)]
    found_rates, found_f1 = {}, {}
    for name in PREDICTORS:
        predicted = [scores[name][row, topics] for row, topics in enumerate(novel)]
        found_f1[name] = float(evaluate_ranking(predicted, true, k).f1_at_k or 0.0)
        found_rates[name] = float(np.mean([_mean_of_first(*pair, k) for pair in zip(predicted, true, strict=True)]))
    return PredictorContest(len(users), found_rates, found_f1)


def _mean_of_first(predicted: Float64Array, true: Float64Array, k: int) -> float:
    """Mean true rate of the k best predicted, in expectation over random ties."""
    return float(top_k_credit(predicted, k) @ true) / k


def _cosine(left: Float64Array, right: Float64Array) -> Float64Array:
    """[n, m] cosine of the rows of [n, d] and [m, d]; 0 where a row is zero."""
    lengths = [np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (left, right)]
    return np.asarray((left / lengths[0]) @ (right / lengths[1]).T)


def contests_over_worlds(
    options: WorldOptions, days: int, seeds: int, mixes: Sequence[float], k: int, log: Log = silent
) -> pl.DataFrame:
    """The contest in worlds of other seeds and mixes, with all else equal.

    Returns:
        ``seed``, ``mix``, ``in_order`` (each of ``RANKED`` explains more than the one before), and
        ``explained_<predictor>``; one row per world.
    """
    rows = []
    progress = Progress(seeds * len(mixes), "worlds", log)
    for mix in mixes:
        for seed in range(seeds):
            world = World(replace(options, seed=seed, mix=mix))
            topics = TopicLog(world)
            for _ in range(days):
                topics.add(world.simulate_day(world.next_day))
            contest = compare_predictors(world, topics, world.truth(), k, seed=0)
            ranked = [contest.explained(name) for name in RANKED]
            explained = {f"explained_{name}": contest.explained(name) for name in PREDICTORS}
            in_order = all(low < high for low, high in pairwise(ranked))
            rows.append({"seed": seed, "mix": mix, "in_order": in_order, **explained})
            progress.advance()
    return pl.DataFrame(rows)
