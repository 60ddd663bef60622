"""A small simulated platform: an organic feed that follows its own past, and an exploration shelf that asks a policy.

Days are simulated in order, each from its own seed and the state that the days before left, so that a second platform
with the same options and policies writes the same logs. The truth is asked for by evaluation code only.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from models.arena.catalogue import GroupSampler, make_catalogue
from models.arena.population import MOST_SESSIONS, make_population
from models.arena.responses import Responses, respond
from models.arena.topics import attribute_matrix, load_topics
from models.arena.traffic import ExplorationPolicy, Recorder, Traffic

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

SLOT_MS = 24 * 3_600_000 // MOST_SESSIONS  # a user has at most one session in each slot of the day
LATEST_START_MS = 3_600_000  # into the slot; plays of one session end long before the next slot begins
PAUSE_MS = 3_000  # between plays
MOST_PLAYS = 6  # organic, per session
BASE_LOG_ODDS = -1.2
TASTE_LOG_ODDS = 1.5  # per unit of taste
POSITION_LOG_ODDS = -0.06  # per place down the shelf
GROWTH, GROWTH_PLAYS = 0.6, 4.0  # taste for a topic grows by up to GROWTH, two thirds of it within GROWTH_PLAYS
ONBOARDING_PLAYS = 8.0  # the feed knows a new user as if from this many plays
FEED_SHARPNESS = 1.25  # above 1 the feed shows what was played more often than it was played
LEFT_EARLY_WEIGHT = 0.3  # a play that did not please counts this much for the feed, one that did counts 1
STARTED_ANYWAY = 0.4  # exploration impressions that do not please but are started; the rest is silence

TRUTH_SCHEMA = pl.Schema(
    {"history": pl.List(pl.Int32()), "cluster_id": pl.Int32(), "users": pl.Int64(), "positive_rate": pl.Float64()}
)


@dataclass(frozen=True)
class PlatformOptions:
    """Size and nature of a platform.

    Attributes:
        first_day: first simulated day, UTC.
        users: how many.
        items: how many.
        shelf: exploration impressions per session.
        mix: share of taste that contradicts the words (``make_population``).
        positive_watch_share: watched share from which a play is positive.
        seed: of everything.
    """

    first_day: dt.date
    users: int = 4_000
    items: int = 3_000
    shelf: int = 5
    mix: float = 0.5
    positive_watch_share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.users < 1 or self.items < 1 or self.shelf < 1:
            raise ValueError(f"users, items and shelf must be positive, not {self.users}, {self.items}, {self.shelf}")
        if not 0 <= self.mix <= 1:
            raise ValueError(f"mix must lie between 0 and 1, not {self.mix}")
        if not 0 < self.positive_watch_share < 1:
            raise ValueError(f"positive_watch_share must lie between 0 and 1, not {self.positive_watch_share}")


@dataclass(frozen=True, eq=False)
class Shelf:
    """The exploration slot of one day: its policy, and what the platform knows in terms of the policy's clusters.

    Attributes:
        policy: decides the cluster.
        clusters: [items], -1 where the policy does not know the item.
        sampler: draws items of a cluster.
        last_positive: [users, clusters], time of the most recent positive play in ms since the epoch; 0: never.
    """

    policy: ExplorationPolicy
    clusters: IntArray
    sampler: GroupSampler
    last_positive: IntArray


def recent_clusters(last_positive: IntArray, length: int) -> tuple[IntArray, BoolArray]:
    """Histories: the ``length`` clusters with the most recent positive play, sorted by id.

    Args:
        last_positive: [users, clusters], time of it; 0: never.
        length: K.

    Returns:
        [users, K] cluster ids, and [users] whether the user has that many; rows of users who have not mean nothing.
    """
    if last_positive.shape[1] < length:
        return np.zeros((len(last_positive), length), dtype=np.int64), np.zeros(len(last_positive), dtype=np.bool_)
    latest = np.argsort(-last_positive, axis=1, kind="stable")[:, :length]
    complete = np.take_along_axis(last_positive, latest, axis=1).min(axis=1, initial=np.iinfo(np.int64).max) > 0
    return np.sort(latest, axis=1), complete


class Platform:
    """Users, items and the state of the feed after the days simulated so far."""

    def __init__(self, options: PlatformOptions) -> None:
        self.options = options
        self.next_day = options.first_day
        topics, attributes = load_topics()
        self._catalogue = make_catalogue(topics, options.items, options.first_day, options.seed)
        self._population = make_population(
            attribute_matrix(topics, attributes), options.users, options.mix, options.seed
        )
        self._topic_items = GroupSampler(self._catalogue.topics, len(topics), self._catalogue.draw_weights)
        welcome = np.exp(self._population.tastes)
        self._feed_plays = ONBOARDING_PLAYS * welcome / welcome.sum(axis=1, keepdims=True)
        self._pleased = np.zeros_like(self._feed_plays)
        self._positives: list[tuple[IntArray, IntArray, IntArray]] = []  # users, items, ts

    def items(self) -> pl.DataFrame:
        """All items in the columns of the data contract."""
        return self._catalogue.frame

    def item_topics(self) -> IntArray:
        """Main topic of each item, in the order of ``items``. Truth: for evaluation only."""
        return self._catalogue.topics

    def simulate_day(self, day: dt.date, exploration: ExplorationPolicy | None = None) -> Traffic:
        """The traffic of ``day``; the exploration shelf stays closed without a policy.

        Raises:
            ValueError: ``day`` is not the next one, or the policy serves a cluster that has no item.
        """
        if day != self.next_day:
            raise ValueError(f"days are simulated in order: the next one is {self.next_day}, not {day}")
        rng = np.random.default_rng([self.options.seed, 3, day.toordinal()])
        shelf = None if exploration is None else self._open_shelf(exploration)
        recorder = Recorder(self._user_ids(), self._catalogue.frame["item_id"])
        sessions = np.minimum(rng.poisson(self._population.sessions_per_day), MOST_SESSIONS)
        in_slot = rng.random((self.options.users, MOST_SESSIONS)).argsort(axis=1) < sessions[:, None]
        midnight = int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp() * 1000)
        for slot in range(MOST_SESSIONS):
            users = np.flatnonzero(in_slot[:, slot])
            start = midnight + slot * SLOT_MS + rng.integers(LATEST_START_MS, size=len(users))
            end = self._feed_session(users, start, shelf, recorder, rng)
            if shelf is not None:
                self._shelf_session(users, end, shelf, recorder, rng)
        self.next_day = day + dt.timedelta(days=1)
        return recorder.traffic(f"{day:%Y%m%d}", exploration)

    def true_positive_rates(self, item_clusters: Mapping[str, int], length: int) -> pl.DataFrame:
        """Mean true probability of a positive exploration play over the users who hold each history now.

        For evaluation only: no part of the pipeline may see it.

        Args:
            item_clusters: cluster of each item.
            length: K, of the histories.

        Returns:
            ``history`` (sorted list), ``cluster_id``, ``users``, ``positive_rate``; a row for each history that a user
            holds and each cluster.
        """
        clusters, count = self._item_clusters(item_clusters)
        held, complete = recent_clusters(self._last_positive(clusters, count), length)
        if not complete.any():
            return pl.DataFrame(schema=TRUTH_SCHEMA)
        histories, group = np.unique(held[complete], axis=0, return_inverse=True)
        users = np.bincount(group.ravel())
        rates = np.zeros((len(histories), count))
        np.add.at(rates, group.ravel(), self._cluster_probabilities(np.flatnonzero(complete), clusters, count))
        return pl.DataFrame(
            {
                "history": np.repeat(histories, count, axis=0).tolist(),
                "cluster_id": np.tile(np.arange(count), len(histories)),
                "users": np.repeat(users, count),
                "positive_rate": (rates / users[:, None]).ravel(),
            }
        ).cast(TRUTH_SCHEMA)

    def _feed_session(
        self, users: IntArray, start: IntArray, shelf: Shelf | None, recorder: Recorder, rng: np.random.Generator
    ) -> IntArray:
        """Organic plays of one session per user; returns when each session ends."""
        plays = np.minimum(1 + rng.poisson(1.7, len(users)), MOST_PLAYS)
        player = np.repeat(np.arange(len(users)), plays)
        weights = self._feed_plays[users] ** FEED_SHARPNESS
        cumulative = weights.cumsum(axis=1)
        chance = rng.random(len(player)) * cumulative[player, -1]
        topics = (cumulative[player] <= chance[:, None]).sum(axis=1)
        items = self._topic_items.draw(np.minimum(topics, weights.shape[1] - 1), rng)
        responses = self._respond(users[player], items, np.zeros_like(items), 1.0, rng)
        ts, end = _play_times(start, player, responses)
        recorder.add_plays(users[player], items, ts, responses)
        self._learn(users[player], items, ts, responses, shelf)
        return end

    def _shelf_session(
        self, users: IntArray, now: IntArray, shelf: Shelf, recorder: Recorder, rng: np.random.Generator
    ) -> None:
        """Show one shelf to each user who has a history: all places are planned at the moment at which it is loaded."""
        histories, complete = recent_clusters(shelf.last_positive[users], shelf.policy.K)
        users, now, histories = users[complete], now[complete], histories[complete]
        viewer = np.repeat(np.arange(len(users)), self.options.shelf)
        position = np.tile(np.arange(1, self.options.shelf + 1), len(users))
        if len(viewer) == 0:
            return
        clusters, propensities, policies = shelf.policy.serve(histories[viewer], rng)
        _check_served(clusters, shelf.sampler)
        items = shelf.sampler.draw(clusters, rng)
        responses = self._respond(users[viewer], items, position, STARTED_ANYWAY, rng)
        ts, _ = _play_times(now + PAUSE_MS, viewer, responses)
        served = {
            "history": histories[viewer].tolist(),
            "cluster_id": clusters,
            "policy": list(policies),
            "position": position,
            "propensity": propensities,
        }
        recorder.add_impressions(users[viewer], items, now[viewer], ts, responses, served)
        recorder.add_plays(users[viewer], items, ts, responses)
        self._learn(users[viewer], items, ts, responses, shelf)

    def _respond(
        self,
        users: IntArray,
        items: IntArray,
        position: IntArray,
        start_rate: float,
        rng: np.random.Generator,
    ) -> Responses:
        affinity = np.einsum("nt,nt->n", self._current_tastes(users), self._catalogue.topic_weights[items])
        log_odds = TASTE_LOG_ODDS * affinity + self._catalogue.quality[items]
        probability = _sigmoid(BASE_LOG_ODDS + log_odds + POSITION_LOG_ODDS * position)
        duration_s = self._catalogue.duration_s[items]
        return respond(probability, duration_s, start_rate, self.options.positive_watch_share, rng)

    def _learn(self, users: IntArray, items: IntArray, ts: IntArray, responses: Responses, shelf: Shelf | None) -> None:
        """Let plays change the state: the feed's memory, the users' tastes, and who was last pleased by what, when."""
        topics = self._catalogue.topics[items]
        played, positive = responses.started, responses.positive
        np.add.at(self._feed_plays, (users[played], topics[played]), np.where(positive, 1.0, LEFT_EARLY_WEIGHT)[played])
        np.add.at(self._pleased, (users[positive], topics[positive]), 1.0)
        self._positives.append((users[positive], items[positive], ts[positive]))
        if shelf is not None:
            _keep_latest(shelf.last_positive, shelf.clusters, *self._positives[-1])

    def _current_tastes(self, users: IntArray) -> FloatArray:
        """[n, topics]: the tastes of users with what has grown on them."""
        grown = GROWTH * -np.expm1(-self._pleased[users] / GROWTH_PLAYS)
        return np.asarray(self._population.tastes[users] + grown)

    def _cluster_probabilities(self, users: IntArray, clusters: IntArray, count: int) -> FloatArray:
        """[users, clusters]: probability of a positive play, mean over items as drawn and places of the shelf."""
        known = np.flatnonzero(clusters >= 0)
        share = np.zeros((len(known), count))
        share[np.arange(len(known)), clusters[known]] = self._catalogue.draw_weights[known]
        share /= np.maximum(share.sum(axis=0), 1e-12)
        probabilities = np.zeros((len(users), count))
        for start in range(0, len(users), 500):  # [500, items] at a time
            tastes = self._current_tastes(users[start : start + 500])
            log_odds = TASTE_LOG_ODDS * tastes @ self._catalogue.topic_weights[known].T + self._catalogue.quality[known]
            for position in range(1, self.options.shelf + 1):
                seen = _sigmoid(BASE_LOG_ODDS + log_odds + POSITION_LOG_ODDS * position)
                probabilities[start : start + 500] += seen @ share / self.options.shelf
        return probabilities

    def _open_shelf(self, policy: ExplorationPolicy) -> Shelf:
        clusters, count = self._item_clusters(policy.item_clusters)
        sampler = GroupSampler(clusters, count, self._catalogue.draw_weights)
        return Shelf(policy, clusters, sampler, self._last_positive(clusters, count))

    def _item_clusters(self, item_clusters: Mapping[str, int]) -> tuple[IntArray, int]:
        ids = self._catalogue.frame["item_id"]
        clusters = np.array([item_clusters.get(item, -1) for item in ids], dtype=np.int64)
        return clusters, max(item_clusters.values(), default=-1) + 1

    def _last_positive(self, clusters: IntArray, count: int) -> IntArray:
        last = np.zeros((self.options.users, count), dtype=np.int64)
        for users, items, ts in self._positives:
            _keep_latest(last, clusters, users, items, ts)
        return last

    def _user_ids(self) -> pl.Series:
        return pl.Series([f"u{number:06d}" for number in range(self.options.users)])


def _play_times(start: IntArray, player: IntArray, responses: Responses) -> tuple[IntArray, IntArray]:
    """When each play begins, and when each session ends, if plays follow one another; ``player`` is sorted."""
    lasts: IntArray = np.rint(responses.watch_s * 1000).astype(np.int64) + PAUSE_MS
    session_total = np.zeros_like(start)
    np.add.at(session_total, player, lasts)
    earlier_sessions = session_total.cumsum() - session_total
    earlier_plays: IntArray = lasts.cumsum() - lasts - earlier_sessions[player]
    return start[player] + earlier_plays, start + session_total


def _keep_latest(last: IntArray, clusters: IntArray, users: IntArray, items: IntArray, ts: IntArray) -> None:
    known = clusters[items] >= 0
    np.maximum.at(last, (users[known], clusters[items[known]]), ts[known])


def _check_served(clusters: IntArray, sampler: GroupSampler) -> None:
    unknown = (clusters < 0) | (clusters >= len(sampler.sizes))
    empty = unknown | (sampler.sizes[np.where(unknown, 0, clusters)] == 0)
    if empty.any():
        raise ValueError(f"the policy served cluster {int(clusters[empty][0])}, which holds no item")


def _sigmoid(log_odds: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-log_odds)))
