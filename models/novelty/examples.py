"""Which novel transitions the novelty model learns from, up to which day, and which are held out.

Rows are chosen and split by a seeded hash of what identifies them, never by their place in a frame, so the same log
gives the same sets in whatever order it is read.
"""

import hashlib
from collections.abc import Callable
from datetime import date, timedelta

import polars as pl

FIRST_LEARNING_DAYS = 7
VALIDATION_SHARE = 0.1  # of the users who are not held out


def last_learning_day(first: date, latest: date, every: int) -> date:
    """The day up to which the novelty model learns: the end of the first week, and then every so many days.

    It follows from the calendar alone, so that the same log gives the same model however its days were run.

    Args:
        first: day of the log.
        latest: day of the log that was made.
        every: days from one learning to the next.
    """
    end_of_first_week = first + timedelta(days=FIRST_LEARNING_DAYS - 1)
    if latest <= end_of_first_week:
        return latest
    return latest - timedelta(days=(latest - end_of_first_week).days % every)


def choose_novelty_examples(
    transitions: pl.DataFrame, maximum: int, label_limit: float, holdout_share: float, seed: int
) -> pl.DataFrame:
    """Choose diverse novel transitions for a language model to learn from, with holdouts by user.

    Of the users, ``holdout_share`` are held out to measure on, and ``VALIDATION_SHARE`` to choose by. Of the others'
    transitions, those that train are chosen so that every target label fills up evenly, one example each in turn, until
    ``maximum`` is reached; no label gets more than ``label_limit`` times the even share, so that popular clusters do
    not outweigh the rest. The rest are counted: they teach what costs no reading. The two holdouts are samples of their
    users' transitions as they came, ``maximum`` of each at most: they measure the platform as it is.

    Args:
        transitions: user_id, history, cluster_id, one row per novel transition.
        maximum: training examples at most.
        label_limit: a label's examples at most, in units of maximum / labels; 1 or more.
        holdout_share: share of users held out, in (0, 1); of two users one is, of three another one validates.
        seed: of the hash that orders rows and users.

    Returns:
        The rows with a column split: ``train``, ``counted``, ``validation`` or ``holdout``.
    """
    users = transitions["user_id"].unique()
    held_out = _sample(users, holdout_share, lambda user: _uniform(user, seed))
    others = users.filter(~users.is_in(held_out))
    validating = _sample(others, VALIDATION_SHARE, lambda user: _uniform(("validation", user), seed))
    order = pl.Series(
        [_uniform(row, seed) for row in zip(*(transitions[name].to_list() for name in _ROW), strict=True)],
        dtype=pl.Float64,
    )
    rows = transitions.with_columns(order.alias("order"))
    ours = pl.col("user_id").is_in(held_out), pl.col("user_id").is_in(validating)
    teaching = rows.filter(~ours[0] & ~ours[1]).with_columns(
        pl.col("order").rank("ordinal").over("cluster_id").alias("turn")
    )
    labels = max(teaching["cluster_id"].n_unique(), 1)
    under_cap = pl.col("turn") <= max(1, int(label_limit * maximum / labels))
    chosen = under_cap & (under_cap.cum_sum() <= maximum)
    taught = teaching.sort("turn", "order").with_columns(
        pl.when(chosen).then(pl.lit("train")).otherwise(pl.lit("counted")).alias("split")
    )
    samples = [
        rows.filter(whose).sort("order").head(maximum).with_columns(pl.lit(split).alias("split"))
        for split, whose in (("validation", ours[1]), ("holdout", ours[0]))
    ]
    return pl.concat([taught.drop("turn"), *samples]).drop("order")


def _sample(users: pl.Series, share: float, place_of: Callable[[str], float]) -> list[str]:
    """A sample of the users by their places in [0, 1); of a few users at least one, and never the last one."""
    places = {user: place_of(user) for user in users}
    ranked = sorted(places, key=lambda user: places[user])
    sampled = sum(place < share for place in places.values())
    return ranked[: min(max(sampled, 1), len(ranked) - 1)]


_ROW = ("user_id", "history", "cluster_id")


def _uniform(value: object, seed: int) -> float:
    """A number in [0, 1) that depends on the value and the seed alone."""
    digest = hashlib.blake2b(repr((seed, value)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2.0**64
