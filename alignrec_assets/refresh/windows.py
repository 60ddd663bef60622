"""How far back tables look: the windows of days that the settings name."""

from datetime import date

from alignrec_assets.partitions import window_start
from alignrec_assets.settings.schema import Settings


def explored_window(settings: Settings) -> int:
    """Days on which an exploration impression may lie that caused a first interaction on the last of them."""
    return 1 + -int(-settings.novelty.explored_hours // 24)


def feedback_window(settings: Settings) -> int:
    """Days whose feedback counts for a score."""
    return settings.feedback.window_days


def first_feedback_day(as_of: date, settings: Settings) -> date:
    """The first partition of the feedback that counts for the scores as of a partition."""
    return window_start(as_of, feedback_window(settings), settings.calendar.partition)
