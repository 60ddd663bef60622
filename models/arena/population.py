"""Users of the simulated world: what they like, and how often they come."""

from dataclasses import dataclass

import numpy as np

from models.arrays import Float32Array, Float64Array

HIDDEN_DIMENSIONS = 4
SHARED_SHARE = 0.25  # of each half of taste: what all users like; the rest is the taste of each user alone
OWN_DEVIATION = 0.4  # standard deviation of the part that belongs to one user and one topic
VISITS_LOG_MEAN, VISITS_LOG_SPREAD = -0.3, 0.8  # sessions per day, log-normal: half of the sessions by a fifth of users
VISITS_RANGE = (0.05, 6.0)


@dataclass(frozen=True, eq=False)
class Population:
    """All users.

    Attributes:
        tastes: [users, topics], zero mean and about unit variance: how much a topic pleases beyond the average.
        sessions_per_day: [users], heavy-tailed.
    """

    tastes: Float32Array
    sessions_per_day: Float64Array


def make_population(attributes: Float64Array, users: int, mix: float, correlation: float, seed: int) -> Population:
    """Draw ``users`` users.

    Taste is a sum of three parts. One follows the words: weights on attributes, times the topics' attributes. One
    contradicts them: the appeal of each topic, and affinities between topics, that no attribute explains. Each of the
    two has a share that all users have in common and a share of each user alone, and both can be learned from feedback.
    The third part belongs to one user and one topic, and nothing can be learned from it.

    Args:
        attributes: [topics, attributes].
        users: how many.
        mix: share of the variance of the first two parts that contradicts the words; 0: all of it can be guessed from
            the words, 1: none of it.
        correlation: between a user's liking for one direction of taste, drawn with the seed, and the logarithm of
            their sessions per day. Where it is not 0, logs over-represent the tastes of those who come often.
        seed: of every draw.
    """
    rng = np.random.default_rng([seed, 2])
    topics = len(attributes)
    described = _standardised(attributes, axis=0)
    # Few strong likings per user (Laplace, not normal): two liked topics then say something about a third.
    liked, own = rng.laplace(size=described.shape[1]), rng.laplace(size=(users, described.shape[1]))
    by_words = _combined(described @ liked, own @ described.T)
    affinities = rng.normal(size=(topics, HIDDEN_DIMENSIONS))
    appeal, own = rng.normal(size=topics), rng.laplace(size=(users, HIDDEN_DIMENSIONS))
    hidden = _combined(appeal, own @ affinities.T)
    tastes = np.sqrt(1 - mix) * by_words + np.sqrt(mix) * hidden
    tastes += rng.normal(0, OWN_DEVIATION, (users, topics))
    direction = rng.normal(size=topics)
    liking = _standardised(tastes @ direction)
    score = correlation * liking + np.sqrt(1 - correlation**2) * rng.normal(size=users)
    visits = np.clip(np.exp(VISITS_LOG_MEAN + VISITS_LOG_SPREAD * score), *VISITS_RANGE)
    return Population(tastes.astype(np.float32), visits)


def _combined(shared: Float64Array, own: Float64Array) -> Float64Array:
    """Unit variance from common taste [topics] and the taste of each user [users, topics]."""
    return np.asarray(np.sqrt(SHARED_SHARE) * _standardised(shared) + np.sqrt(1 - SHARED_SHARE) * _standardised(own))


def _standardised(values: Float64Array, axis: int | None = None) -> Float64Array:
    spread = values.std(axis=axis)
    return np.asarray((values - values.mean(axis=axis)) / np.where(spread > 0, spread, 1))
