"""Users of the simulated platform: what they like and how often they come."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

HIDDEN_DIMENSIONS = 3
APPEAL_SHARE = 0.3  # of what words do not tell: general appeal of a topic; the rest is affinity between topics
OWN_DEVIATION = 0.4  # standard deviation of what belongs to one user and one topic alone
MOST_SESSIONS = 8  # per day


@dataclass(frozen=True, eq=False)
class Population:
    """All users.

    Attributes:
        tastes: [users, topics], zero mean and about unit variance: how much a topic pleases beyond the average.
        sessions_per_day: [users], heavy-tailed.
    """

    tastes: FloatArray
    sessions_per_day: FloatArray


def make_population(attributes: FloatArray, users: int, mix: float, seed: int) -> Population:
    """Draw ``users`` users.

    Taste is a sum of three parts. One follows the words: the user's weights on attributes times the topics' attributes.
    One contradicts them: a general appeal of each topic and affinities between topics that no attribute explains, the
    same for the whole population, so that feedback can teach them. The third is the user's own and teaches nothing.

    Args:
        attributes: [topics, attributes].
        users: how many.
        mix: share of the variance of the first two parts that contradicts the words; 0: all of it can be guessed from
            the words, 1: none of it.
        seed: of every draw.
    """
    rng = np.random.default_rng([seed, 2])
    topics = len(attributes)
    # Few strong likings per user (Laplace, not normal): two liked topics then say something about a third.
    by_words = rng.laplace(size=(users, attributes.shape[1])) @ _standardised(attributes, axis=0).T
    appeal = rng.normal(size=topics)
    affinity = rng.laplace(size=(users, HIDDEN_DIMENSIONS)) @ rng.normal(size=(HIDDEN_DIMENSIONS, topics))
    hidden = np.sqrt(APPEAL_SHARE) * _standardised(appeal) + np.sqrt(1 - APPEAL_SHARE) * _standardised(affinity)
    tastes = np.sqrt(1 - mix) * _standardised(by_words) + np.sqrt(mix) * _standardised(hidden)
    return Population(
        tastes=tastes + rng.normal(0, OWN_DEVIATION, (users, topics)),
        sessions_per_day=np.clip(rng.lognormal(-0.3, 0.8, users), 0.05, MOST_SESSIONS - 2),
    )


def _standardised(values: FloatArray, axis: int | None = None) -> FloatArray:
    spread = values.std(axis=axis)
    return np.asarray((values - values.mean(axis=axis)) / np.where(spread > 0, spread, 1))
