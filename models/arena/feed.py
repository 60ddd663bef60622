"""The organic feed: it shows what a user played before, more often than the user played it."""

import numpy as np

from models.arrays import BoolArray, Float32Array, IntArray

PUSH_SPREAD = 0.3  # log-normal: what the platform promotes to new users, independent of taste
ONBOARDING_PLAYS = 8.0  # the feed knows a new user as if from this many plays
SHARPNESS = 1.25  # above 1 the feed shows what was played more often than it was played
LEFT_EARLY_WEIGHT = 0.3  # a play that did not please counts this much, one that did counts 1
FAVOURITES = 3  # topics per user, for the measure of the feedback loop


class Feed:
    """What the feed remembers of all users: weighted plays [users, topics]."""

    def __init__(self, tastes: Float32Array, rng: np.random.Generator) -> None:
        """Begin as if each user had chosen among promoted topics by taste when they signed up."""
        welcome = np.exp(tastes + rng.normal(0, PUSH_SPREAD, tastes.shape[1]))
        self.plays: Float32Array = (ONBOARDING_PLAYS * welcome / welcome.sum(axis=1, keepdims=True)).astype(np.float32)
        self._favourites = self._top_topics()

    def topics(self, users: IntArray, plays: IntArray, rng: np.random.Generator) -> IntArray:
        """[sum of plays] topics for ``plays`` [n] places in the feeds of ``users`` [n], those of a user together."""
        cumulative = (self.plays[users] ** np.float32(SHARPNESS)).cumsum(axis=1, dtype=np.float64)
        player = np.repeat(np.arange(len(users)), plays)
        chance = rng.random(len(player)) * cumulative[player, -1]
        return np.asarray(np.minimum((cumulative[player] <= chance[:, None]).sum(axis=1), self.plays.shape[1] - 1))

    def remember(self, users: IntArray, topics: IntArray, positive: BoolArray) -> None:
        """Log plays [n]."""
        weight = np.where(positive, np.float32(1), np.float32(LEFT_EARLY_WEIGHT))
        np.add.at(self.plays.reshape(-1), users * self.plays.shape[1] + topics, weight)

    def morning(self) -> None:
        """Note each user's favourites, as the feed knows them when the day begins."""
        self._favourites = self._top_topics()

    def is_favourite(self, users: IntArray, topics: IntArray) -> BoolArray:
        """[n] whether the topic was among the user's favourites in the morning."""
        return np.asarray((self._favourites[users] == topics[:, None]).any(axis=1))

    def _top_topics(self) -> IntArray:
        return np.asarray(np.argpartition(-self.plays, FAVOURITES, axis=1)[:, :FAVOURITES])
