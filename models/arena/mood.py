"""What changes in users from play to play: interests that grow, attention that tires, and whether they come back."""

from dataclasses import dataclass

import numpy as np

from models.arrays import BoolArray, Float32Array, Float64Array, IntArray

MOST_SESSIONS = 8  # per day
GROWTH, GROWTH_PLAYS = 0.6, 4.0  # taste for a topic grows by up to GROWTH, two thirds of it within GROWTH_PLAYS
TIRING, TIRING_PLAYS = 0.5, 6.0  # taste for a topic sinks by up to TIRING, two thirds of it within TIRING_PLAYS
RECOVERY = 0.5  # share of tiredness that is left after a night
SATISFACTION_MEMORY = 0.7  # weight of the days before; the rest is today
NEUTRAL_SATISFACTION = 0.45  # share of positive plays at which a user comes as often as usual
RETURN_LOG_ODDS = 3.0  # of coming tomorrow, per unit of satisfaction above neutral


@dataclass(frozen=True)
class Temper:
    """Which of the changes take place; evaluation switches them off one by one.

    Attributes:
        growing: whether interests grow with what pleases.
        tiring: whether repetition tires attention.
        returning: whether satisfaction decides who comes back.
    """

    growing: bool = True
    tiring: bool = True
    returning: bool = True


class Mood:
    """The state of all users: what changes their tastes and how often they come.

    Attributes:
        pleased: [users, topics] positive plays so far.
        tired: [users, topics] plays, those of each day before counting half as much as those of the next.
        satisfaction: [users] moving share of positive plays.
    """

    def __init__(self, sessions_per_day: Float64Array, topics: int, temper: Temper) -> None:
        users = len(sessions_per_day)
        self.temper = temper
        self.pleased: Float32Array = np.zeros((users, topics), dtype=np.float32)
        self.tired: Float32Array = np.zeros((users, topics), dtype=np.float32)
        self.satisfaction: Float64Array = np.full(users, NEUTRAL_SATISFACTION)
        self._plays: IntArray = np.zeros(users, dtype=np.int64)  # of today
        self._positives: IntArray = np.zeros(users, dtype=np.int64)
        self._usual_log_odds = np.log(np.expm1(sessions_per_day))  # of coming at all: 1 - exp(-rate)
        self._sessions = _truncated_poisson(sessions_per_day)

    def grown(self, users: IntArray, topics: IntArray) -> Float64Array:
        """[n] how much the taste of users for topics has grown: GROWTH (1 - exp(-pleased / GROWTH_PLAYS))."""
        if not self.temper.growing:
            return np.zeros(len(users))
        return np.asarray(GROWTH * -np.expm1(-self.pleased[users, topics].astype(np.float64) / GROWTH_PLAYS))

    def tiredness(self, users: IntArray, topics: IntArray) -> Float64Array:
        """[n] how tired users are of topics: TIRING (1 - exp(-tired / TIRING_PLAYS))."""
        if not self.temper.tiring:
            return np.zeros(len(users))
        return np.asarray(TIRING * -np.expm1(-self.tired[users, topics].astype(np.float64) / TIRING_PLAYS))

    def sessions_today(self, rng: np.random.Generator) -> IntArray:
        """[users] sessions of the day: 0 for users who stay away.

        At neutral satisfaction their number is Poisson with the user's own rate, cut at MOST_SESSIONS; satisfaction
        moves the log-odds of coming at all.
        """
        moved = RETURN_LOG_ODDS * (self.satisfaction - NEUTRAL_SATISFACTION) if self.temper.returning else 0.0
        comes = rng.random(len(self.satisfaction)) < 1 / (1 + np.exp(-(self._usual_log_odds + moved)))
        sessions = 1 + (rng.random(len(self.satisfaction))[:, None] >= self._sessions).sum(axis=1)
        return np.where(comes, sessions, 0)

    def play(self, users: IntArray, topics: IntArray, positive: BoolArray) -> None:
        """Let plays change tastes and satisfaction."""
        place = users * self.pleased.shape[1] + topics
        np.add.at(self.pleased.reshape(-1), place[positive], np.float32(1))
        np.add.at(self.tired.reshape(-1), place, np.float32(1))
        np.add.at(self._plays, users, 1)
        np.add.at(self._positives, users[positive], 1)

    def sleep(self) -> None:
        """End the day: tiredness decreases, and today's plays count for the satisfaction of users who came."""
        self.tired *= RECOVERY
        came = self._plays > 0
        share = self._positives[came] / self._plays[came]
        self.satisfaction[came] += (1 - SATISFACTION_MEMORY) * (share - self.satisfaction[came])
        self.satisfaction[~came] += (1 - SATISFACTION_MEMORY) * (NEUTRAL_SATISFACTION - self.satisfaction[~came])
        self._plays[:] = 0
        self._positives[:] = 0


def _truncated_poisson(rate: Float64Array) -> Float64Array:
    """[users, MOST_SESSIONS - 1] P(sessions <= s | sessions >= 1) for s = 1 .. MOST_SESSIONS - 1."""
    mass = np.empty((len(rate), MOST_SESSIONS - 1))
    term = np.exp(-rate)
    for sessions in range(1, MOST_SESSIONS):
        term = term * rate / sessions
        mass[:, sessions - 1] = term
    return np.asarray(mass.cumsum(axis=1) / -np.expm1(-rate)[:, None])
