"""Figures as text: those that could not be measured, and those from few histories, with their interval."""

from collections.abc import Sequence

FEW_HISTORIES = 100  # a figure from fewer is told with its interval


def figure_text(value: float | None, form: str = ".3f", missing: str = "-") -> str:
    """The figure in a format such as ``.3f``; ``missing`` where there is none."""
    return missing if value is None else format(value, form)


def interval_text(value: float | None, interval: Sequence[float] | None, histories: int, missing: str = "-") -> str:
    """A mean over histories; with its 95% interval where the histories are few.

    Args:
        value: the figure.
        interval: its low and high end; None where nothing could be measured.
        histories: that it is the mean of.
        missing: what stands for no figure.
    """
    text = figure_text(value, missing=missing)
    if value is None or interval is None or histories >= FEW_HISTORIES:
        return text
    low, high = interval
    return f"{text} ({low:.3f} to {high:.3f})"
