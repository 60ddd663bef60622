"""Which novel transitions the novelty model learns from, up to which day, and which are held out.

Rows are chosen and split by a seeded hash of what identifies them, never by their place in a frame, so the same log
gives the same sets in whatever order it is read.
"""

import hashlib
from datetime import date, timedelta

import polars as pl

FIRST_LEARNING_DAYS = 7


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
    """Choose diverse novel transitions, with a holdout by user.

    Every target label fills up evenly, one example each in turn, until ``maximum`` is reached; no label gets more than
    ``label_limit`` times the even share, so that popular clusters do not outweigh the rest. The holdout is a sample of
    the held-out users' transitions as they came, a fifth of ``maximum`` at most: it measures the platform as it is.

    Args:
        transitions: user_id, history, cluster_id, one row per novel transition.
        maximum: training examples at most.
        label_limit: a label's examples at most, in units of maximum / labels; 1 or more.
        holdout_share: share of users held out, in (0, 1); where there are two users or more, one at least is held out,
            and one is not.
        seed: of the hash that orders rows and users.

    Returns:
        The chosen rows with a column split, ``train`` or ``holdout``.
    """
    held_out = transitions["user_id"].is_in(_held_out(transitions["user_id"], holdout_share, seed))
    order = pl.Series(
        [_uniform(row, seed) for row in zip(*(transitions[name].to_list() for name in _ROW), strict=True)],
        dtype=pl.Float64,
    )
    rows = transitions.with_columns(held_out.alias("held_out"), order.alias("order"))
    training = rows.filter(~pl.col("held_out")).with_columns(
        pl.col("order").rank("ordinal").over("cluster_id").alias("turn")
    )
    labels = max(training["cluster_id"].n_unique(), 1)
    cap = max(1, int(label_limit * maximum / labels))
    chosen = training.filter(pl.col("turn") <= cap).sort("turn", "order").head(maximum)
    holdout = rows.filter("held_out").sort("order").head(max(1, maximum // 5))
    return pl.concat(
        [
            chosen.select(*transitions.columns, pl.lit("train").alias("split")),
            holdout.select(*transitions.columns, pl.lit("holdout").alias("split")),
        ]
    )


def _held_out(users: pl.Series, share: float, seed: int) -> list[str]:
    """A sample of the users; of a few users at least one, and of two or more never all."""
    places = {user: _uniform(user, seed) for user in users.unique()}
    ranked = sorted(places, key=lambda user: places[user])
    sampled = sum(place < share for place in places.values())
    return ranked[: min(max(sampled, 1), len(ranked) - 1)]


_ROW = ("user_id", "history", "cluster_id")


def _uniform(value: object, seed: int) -> float:
    """A number in [0, 1) that depends on the value and the seed alone."""
    digest = hashlib.blake2b(repr((seed, value)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2.0**64
