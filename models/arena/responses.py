"""What a user does with an item that is shown: play it or not, for how long, and the buttons pressed.

Every response follows from one number, the log-odds of a positive play. Rates are of the order that public short-video
logs show: of 493 million exposures in Tenrec's QK-video 28.8% were clicked, 2.1% liked and 0.23% shared (Yuan et al.
2022, arXiv:2210.10629, Table 1); the default world's are printed by ``alignrec simulate``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.arrays import BoolArray, Float64Array

LIKE_BASE, LIKE_SLOPE = -3.4, 0.6  # log-odds of a like given a positive play; what pleases more is liked more often
SHARE_BASE, SHARE_SLOPE = -5.4, 0.6
FINISH_BASE, FINISH_SLOPE, FINISH_DURATION = 0.4, 0.3, -0.7  # log-odds, per log-odds, per log of duration over a minute
SKIP_BASE, SKIP_SLOPE = -0.9, -0.6  # given a play that does not please
LEFT_AFTER_LIKE = 0.2  # of liked plays: the rest of the item is not watched
COMPLETED_SHARE = 0.95  # of the duration
SKIPPED_SHARE = 0.1
SIGNALS = ("positive", "completed", "liked", "shared", "skipped")


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses to n impressions, arrays of length n; where ``started`` is False nothing else happened."""

    started: BoolArray
    positive: BoolArray
    watch_s: Float64Array
    completed: BoolArray
    liked: BoolArray
    shared: BoolArray
    skipped: BoolArray


def response_probabilities(
    log_odds: Float64Array, duration_s: Float64Array, start_rate: float, signals: Sequence[str]
) -> dict[str, Float64Array]:
    """The probability of each of some signals, in the shape of the first two arguments.

    Args:
        log_odds: of a positive play.
        duration_s: of the item.
        start_rate: share of the impressions that do not please but are started anyway; the rest gets no response.
        signals: of ``SIGNALS``; each costs about as much as the positive play alone.
    """
    positive = _sigmoid(log_odds)

    def liked() -> Float64Array:
        return positive * _sigmoid(LIKE_BASE + LIKE_SLOPE * log_odds)

    formulas: dict[str, Callable[[], Float64Array]] = {
        "positive": lambda: positive,
        "completed": lambda: (positive - LEFT_AFTER_LIKE * liked()) * _finish_probability(log_odds, duration_s),
        "liked": liked,
        "shared": lambda: positive * _sigmoid(SHARE_BASE + SHARE_SLOPE * log_odds),
        "skipped": lambda: (1 - positive) * start_rate * _sigmoid(SKIP_BASE + SKIP_SLOPE * log_odds),
    }
    return {signal: formulas[signal]() for signal in signals}


def respond(
    log_odds: Float64Array, duration_s: Float64Array, start_rate: float, positive_share: float, rng: np.random.Generator
) -> Responses:
    """Draw responses with the probabilities of :func:`response_probabilities`.

    A play is positive when at least ``positive_share`` of the item is watched, or when it is liked: the
    pipeline derives it from the log by the same rule.

    Args:
        log_odds: [n] of a positive play.
        duration_s: [n].
        start_rate: share of the other impressions that are started anyway, and left early.
        positive_share: of the duration.
        rng: source of chance.
    """
    count = len(log_odds)
    chance = rng.random((6, count))
    positive = chance[0] < _sigmoid(log_odds)
    started = positive | (chance[1] < start_rate)
    liked = positive & (chance[2] < _sigmoid(LIKE_BASE + LIKE_SLOPE * log_odds))
    stayed = positive & ~(liked & (chance[3] < LEFT_AFTER_LIKE))
    completed = stayed & (chance[4] < _finish_probability(log_odds, duration_s))
    skipped = started & ~positive & (chance[5] < _sigmoid(SKIP_BASE + SKIP_SLOPE * log_odds))
    shared = positive & (rng.random(count) < _sigmoid(SHARE_BASE + SHARE_SLOPE * log_odds))
    # Where in its range the watched share is: near the end for plays that please, near the beginning for others.
    long, short = rng.beta(2.0, 1.0, count), rng.beta(1.0, 1.5, count)
    watched = np.where(
        stayed,
        np.where(completed, 1.0, positive_share + (COMPLETED_SHARE - positive_share) * long),
        np.where(skipped, SKIPPED_SHARE * short, SKIPPED_SHARE + (positive_share - SKIPPED_SHARE) * short),
    )
    # Tenths of a second, rounded away from the threshold, so that the logged value stays on the same side.
    tenths = watched * duration_s * 10
    # Below completion by at least a tenth, except for rare items whose threshold is nearer than that.
    most = np.maximum(np.ceil(COMPLETED_SHARE * duration_s * 10) - 1, np.ceil(positive_share * duration_s * 10))
    rounded = np.where(completed, tenths, np.minimum(np.ceil(tenths), most))
    watch_s = np.where(stayed, rounded, np.floor(tenths)) / 10
    watch_s = np.where(started, np.minimum(watch_s, duration_s), 0.0)
    return Responses(started, positive, watch_s, completed, liked, shared, skipped)


def _finish_probability(log_odds: Float64Array, duration_s: Float64Array) -> Float64Array:
    return _sigmoid(FINISH_BASE + FINISH_SLOPE * log_odds + FINISH_DURATION * np.log(duration_s / 60))


def _sigmoid(log_odds: Float64Array) -> Float64Array:
    return np.asarray(1 / (1 + np.exp(-log_odds)))
