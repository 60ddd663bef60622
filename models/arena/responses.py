"""What a user does with an item that is shown: play it or not, for how long, and the buttons pressed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

LIKE_RATE = 0.15  # of positive plays
EARLY_LIKE_RATE = 0.04  # of positive plays: liked, but left before the watch share that counts as positive
SHARE_RATE = 0.03  # of positive plays
COMPLETED_SHARE = 0.95
SKIPPED_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses to n impressions, arrays of length n; where ``started`` is False nothing else happened."""

    started: BoolArray
    positive: BoolArray
    watch_s: FloatArray
    completed: BoolArray
    liked: BoolArray
    shared: BoolArray
    skipped: BoolArray


def respond(
    probability: FloatArray, duration_s: FloatArray, start_rate: float, positive_share: float, rng: np.random.Generator
) -> Responses:
    """Draw responses.

    A play is positive when at least ``positive_share`` of the item is watched, or when it is liked: the rule by which
    the pipeline derives it again from what is logged.

    Args:
        probability: [n] of a positive play.
        duration_s: [n].
        start_rate: share of the other impressions that are started all the same, and left early.
        positive_share: of the duration.
        rng: source of chance.
    """
    count = len(probability)
    positive = rng.random(count) < probability
    started = positive | (rng.random(count) < start_rate)
    button = rng.random(count)
    early_like = positive & (button < EARLY_LIKE_RATE)
    liked = positive & (button < LIKE_RATE)
    long = positive_share + (1 - positive_share) * rng.beta(2.0, 1.0, count)
    short = positive_share * rng.beta(1.0, 2.5, count)
    watched_share = np.where(positive & ~early_like, np.where(long > COMPLETED_SHARE, 1.0, long), short)
    # Tenths of a second, rounded away from the threshold: what is logged stays on its side of it.
    tenths = watched_share * duration_s * 10
    watch_s = np.where(positive & ~early_like, np.ceil(tenths), np.floor(tenths)) / 10
    watch_s = np.where(started, np.minimum(watch_s, duration_s), 0.0)
    return Responses(
        started=started,
        positive=positive,
        watch_s=watch_s,
        completed=positive & (watched_share > COMPLETED_SHARE),
        liked=liked,
        shared=positive & (rng.random(count) < SHARE_RATE),
        skipped=started & ~positive & (watched_share < SKIPPED_SHARE),
    )
