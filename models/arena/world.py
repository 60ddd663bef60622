"""The simulated world and its clock: users, items, an organic feed that follows its own past, an exploration shelf.

Days are simulated in order, each from its own seed and the state after the days before, so that a second world with the
same options and policies writes the same logs. The log-odds that user u plays item i at place p of a session with
pleasure are

    BASE + TASTE * sum over the topics t of i of weight(i, t) * (taste(u, t) + grown(u, t) - tired(u, t))
         + quality(i) - PLACE * p

and everything a user does follows from them (``responses``). ``World.truth`` is for evaluation code only.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from models.arena.catalogue import Catalogue, GroupSampler
from models.arena.feed import Feed
from models.arena.mood import MOST_SESSIONS, Mood, Temper
from models.arena.population import make_population
from models.arena.responses import SIGNALS, Responses, respond
from models.arena.shelf import ExplorationPolicy, PlannedShelf, RandomShelf
from models.arena.topics import WORLD_SIZES, attribute_matrix, load_topics
from models.arena.traffic import Recorder, Traffic
from models.arena.truth import BASE, PLACE, TASTE, Truth
from models.arrays import BoolArray, Int32Array, IntArray

SLOT_MS = 24 * 3_600_000 // MOST_SESSIONS  # a user has at most one session in each slot of the day
LATEST_START_MS = 3_600_000  # into the slot; plays of one session end long before the next slot begins
PAUSE_MS = 3_000  # between plays
MORE_PLAYS, MOST_PLAYS = 1.7, 6  # organic plays of a session: 1 + Poisson(MORE_PLAYS), cut at MOST_PLAYS
STARTED_ANYWAY = 0.4  # exploration impressions that do not please but are started; the rest gets no response


@dataclass(frozen=True)
class WorldOptions:
    """Size and nature of a world.

    Attributes:
        first_day: first simulated day, UTC.
        users: how many.
        items: how many on the first day.
        topics: 24, 48, 64, 96 or 768.
        shelf: exploration impressions per session once a policy is asked.
        random_shelf: random exposures per session before that.
        mix: share of taste that contradicts the words (``make_population``).
        correlation: between taste and activity (``make_population``).
        positive_watch_share: watched share from which a play is positive.
        temper: which changes users go through.
        seed: of everything.
    """

    first_day: dt.date
    users: int = 4_000
    items: int = 2_000
    topics: int = 24
    shelf: int = 5
    random_shelf: int = 0
    mix: float = 0.5
    correlation: float = 0.0
    positive_watch_share: float = 0.5
    temper: Temper = field(default_factory=Temper)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.users < 1 or self.items < 1 or self.shelf < 1 or self.random_shelf < 0:
            raise ValueError(
                f"users, items and shelf must be positive, and random_shelf not negative: they are {self.users}, "
                f"{self.items}, {self.shelf}, {self.random_shelf}"
            )
        if self.topics not in WORLD_SIZES:
            raise ValueError(f"topics must be one of {', '.join(map(str, WORLD_SIZES))}, not {self.topics}")
        if self.items < self.topics:
            raise ValueError(f"items must be at least as many as the {self.topics} topics, not {self.items}")
        if not 0 <= self.mix <= 1:
            raise ValueError(f"mix must lie between 0 and 1, not {self.mix}")
        if not -1 <= self.correlation <= 1:
            raise ValueError(f"correlation must lie between -1 and 1, not {self.correlation}")
        if not 0.1 < self.positive_watch_share < 0.95:
            raise ValueError(f"positive_watch_share must lie between 0.1 and 0.95, not {self.positive_watch_share}")


@dataclass
class DayCounts:
    """What happened on one day, for the summary of a world; organic plays only, except ``exposures``."""

    visitors: int = 0
    plays: int = 0
    favourite_plays: int = 0  # in the topics that the feed knew as the user's favourites in the morning
    exposures: int = 0
    positive_exposures: int = 0
    responses: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Day:
    """What belongs to one day: its random numbers, its shelf, its log."""

    midnight: int  # ms since the epoch
    rng: np.random.Generator
    shelf: PlannedShelf | RandomShelf | None
    topic_items: GroupSampler
    recorder: Recorder
    counts: DayCounts


class World:
    """Users, items and the state of the feed after the days simulated so far.

    Attributes:
        options: as given.
        next_day: the day that can be simulated next.
        catalogue: the items published so far.
        days: what happened on each day so far.
    """

    def __init__(self, options: WorldOptions) -> None:
        self.options = options
        self.next_day = options.first_day
        self.days: list[DayCounts] = []
        topics, attributes = load_topics(options.topics)
        self.topic_names = [topic.name for topic in topics]
        self.catalogue = Catalogue(topics, options.items, options.first_day, options.seed)
        population = make_population(
            attribute_matrix(topics, attributes), options.users, options.mix, options.correlation, options.seed
        )
        self._tastes = population.tastes
        self._mood = Mood(population.sessions_per_day, len(topics), options.temper)
        self._feed = Feed(population.tastes, np.random.default_rng([options.seed, 4]))
        self._shelf: PlannedShelf | RandomShelf | None = None
        self._plays: list[tuple[Int32Array, Int32Array, IntArray, BoolArray]] = []  # users, items, ts, positive
        self._user_ids = pl.Series([f"u{number:07d}" for number in range(options.users)])

    def simulate_day(self, day: dt.date, policy: ExplorationPolicy | None = None) -> Traffic:
        """The traffic of ``day``. Without a policy the shelf holds random exposures, if any.

        Raises:
            ValueError: ``day`` is not the next one, or the policy serves a cluster that has no item. The world is then
                half-way through the day, and cannot be used again.
        """
        if day != self.next_day:
            raise ValueError(f"days are simulated in order: the next one is {self.next_day}, not {day}")
        rng = np.random.default_rng([self.options.seed, 3, day.toordinal()])
        items = self.catalogue.first_frame if day == self.options.first_day else self.catalogue.grow(day)
        today = _Day(
            midnight=int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp() * 1000),
            rng=rng,
            shelf=self._open_shelf(policy),
            topic_items=GroupSampler(self.catalogue.main_topics, len(self.topic_names), self.catalogue.pick_weights),
            recorder=Recorder(self._user_ids, self.catalogue.item_ids),
            counts=DayCounts(),
        )
        self._feed.morning()
        sessions = self._mood.sessions_today(rng)
        today.counts.visitors = int((sessions > 0).sum())
        in_slot = rng.random((self.options.users, MOST_SESSIONS), dtype=np.float32).argsort(axis=1) < sessions[:, None]
        for slot in range(MOST_SESSIONS):
            self._hold_sessions(today, np.flatnonzero(in_slot[:, slot]), slot)
        self._mood.sleep()
        self.days.append(today.counts)
        self.next_day = day + dt.timedelta(days=1)
        return today.recorder.traffic(f"{day:%Y%m%d}", items)

    def truth(self) -> Truth:
        """What users would do now, if rested, on the shelf that they saw last. For evaluation only."""
        tastes = self._tastes.copy()
        topics = np.arange(tastes.shape[1])
        for user in range(len(tastes)):  # one by one: no second array of all users and topics
            tastes[user] += self._mood.grown(np.full(len(topics), user), topics).astype(np.float32)
        places = self.options.random_shelf if isinstance(self._shelf, RandomShelf) else self.options.shelf
        return Truth(tastes, self.catalogue, places, STARTED_ANYWAY, self.plays)

    def plays(self) -> Iterator[tuple[IntArray, IntArray, IntArray, BoolArray]]:
        """Users, items and times (ms since the epoch) of all plays, and which were positive, in order of time."""
        return (
            (users.astype(np.int64), items.astype(np.int64), ts, positive) for users, items, ts, positive in self._plays
        )

    def _open_shelf(self, policy: ExplorationPolicy | None) -> PlannedShelf | RandomShelf | None:
        """The shelf of a day. What it knows of users is carried over while items keep their clusters."""
        if policy is None:
            random = self.options.random_shelf
            self._shelf = RandomShelf(self.catalogue, random) if random else None
            return self._shelf
        shelf = PlannedShelf(self.catalogue, policy, self.options.shelf, self.options.users)
        before = self._shelf
        if isinstance(before, PlannedShelf) and before.policy.item_clusters == policy.item_clusters:
            shelf.last_positive, shelf.known = before.last_positive, before.known
        else:
            for play in self.plays():
                shelf.learn(*play)
        self._shelf = shelf
        return shelf

    def _hold_sessions(self, today: _Day, users: IntArray, slot: int) -> None:
        """One session of each of ``users``: the feed, then the shelf."""
        if len(users) == 0:
            return
        start = today.midnight + slot * SLOT_MS + today.rng.integers(LATEST_START_MS, size=len(users))
        end = self._watch_feed(today, users, start)
        if today.shelf is not None:
            self._look_at_shelf(today, users, end, today.shelf)

    def _watch_feed(self, today: _Day, users: IntArray, start: IntArray) -> IntArray:
        """Organic plays of one session per user; returns when each session ends."""
        plays = np.minimum(1 + today.rng.poisson(MORE_PLAYS, len(users)), MOST_PLAYS)
        player = np.repeat(np.arange(len(users)), plays)
        topics = self._feed.topics(users, plays, today.rng)
        items = today.topic_items.draw(topics, today.rng)
        place = np.arange(len(player)) - np.repeat(np.cumsum(plays) - plays, plays)
        responses = self._respond(users[player], items, place, 1.0, today.rng)
        ts, end = _play_times(start, player, responses)
        today.recorder.add_plays(users[player], items, ts, responses)
        today.counts.plays += len(player)
        today.counts.favourite_plays += int(self._feed.is_favourite(users[player], topics).sum())
        for signal in SIGNALS:
            happened = int(getattr(responses, signal).sum())
            today.counts.responses[signal] = today.counts.responses.get(signal, 0) + happened
        self._live_through(users[player], items, ts, responses, today.shelf)
        return end

    def _look_at_shelf(self, today: _Day, users: IntArray, now: IntArray, shelf: PlannedShelf | RandomShelf) -> None:
        offer = shelf.offer(users, today.rng)
        if len(offer.viewers) == 0:
            return
        viewers = users[offer.viewers]
        responses = self._respond(viewers, offer.items, offer.positions, STARTED_ANYWAY, today.rng)
        ts, _ = _play_times(now + PAUSE_MS, offer.viewers, responses)
        today.recorder.add_impressions(viewers, now[offer.viewers], ts, responses, offer)
        today.recorder.add_plays(viewers, offer.items, ts, responses)
        today.counts.exposures += len(viewers)
        today.counts.positive_exposures += int(responses.positive.sum())
        self._live_through(viewers, offer.items, ts, responses, shelf)

    def _respond(
        self, users: IntArray, items: IntArray, place: IntArray, start_rate: float, rng: np.random.Generator
    ) -> Responses:
        liking = np.zeros(len(users))
        for topics, weights in zip(self.catalogue.topics[items].T, self.catalogue.weights[items].T, strict=True):
            changed = self._mood.grown(users, topics) - self._mood.tiredness(users, topics)
            liking += weights * (self._tastes[users, topics] + changed)
        log_odds = BASE + TASTE * liking + self.catalogue.quality[items] - PLACE * place
        duration_s = self.catalogue.duration_s[items].astype(np.float64)
        return respond(log_odds, duration_s, start_rate, self.options.positive_watch_share, rng)

    def _live_through(
        self,
        users: IntArray,
        items: IntArray,
        ts: IntArray,
        responses: Responses,
        shelf: PlannedShelf | RandomShelf | None,
    ) -> None:
        """Update the state after plays: the feed, the users, and what is known of their plays."""
        topics, played, positive = self.catalogue.main_topics[items], responses.started, responses.positive
        self._feed.remember(users[played], topics[played], positive[played])
        self._mood.play(users[played], topics[played], positive[played])
        self._plays.append(
            (users[played].astype(np.int32), items[played].astype(np.int32), ts[played], positive[played])
        )
        if isinstance(shelf, PlannedShelf):  # a random shelf keeps nothing of users
            shelf.learn(users[played], items[played], ts[played], positive[played])


def _play_times(start: IntArray, player: IntArray, responses: Responses) -> tuple[IntArray, IntArray]:
    """When each play begins, and when each session ends, if plays follow one another.

    Args:
        start: [sessions] when each session begins, ms since the epoch.
        player: [plays] the session of each play; sorted.
        responses: [plays].
    """
    lasts: IntArray = np.rint(responses.watch_s * 1000).astype(np.int64) + PAUSE_MS
    session_total = np.bincount(player, weights=lasts, minlength=len(start)).astype(np.int64)
    earlier_sessions = session_total.cumsum() - session_total
    return start[player] + lasts.cumsum() - lasts - earlier_sessions[player], start + session_total
