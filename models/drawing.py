"""What all pictures share: a backend that needs no screen, the colours, and how a figure is saved."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # pictures go to files; a machine without a screen is the normal case

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#1f5fa8", "#d1792b", "#888888"


def draw_course(panel: Axes, points: Sequence[tuple[float, float | None]], **style: Any) -> None:
    """Draw a curve through the points that are known, each with a marker, so that one point is seen too."""
    known = [point for point in points if point[1] is not None]
    if known:
        panel.plot(*zip(*known, strict=True), **{"marker": "o", "markersize": 4, **style})


def draw_legend(panel: Axes, columns: int = 2) -> None:
    """Put the legend of a panel below it, where no curve is; a panel without a curve says that it is empty."""
    if panel.get_legend_handles_labels()[0]:
        panel.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=columns)
    if not panel.has_data():
        panel.text(0.5, 0.5, "nothing was measured", transform=panel.transAxes, ha="center", va="center", color=GREY)


def write_values(panel: Axes, bars: BarContainer, texts: Sequence[str]) -> None:
    """Write the values of bars at their ends, on white, so that no line runs through them."""
    for text in panel.bar_label(bars, labels=list(texts), padding=3):
        text.set(zorder=5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})


def against_chance(lead: Sequence[float] | None) -> str:
    """What the interval of a lead over chance says: where it holds 0, the two are not told apart."""
    if lead is None:
        return "not compared with chance"
    low, high = lead
    if low > 0:
        return "better than chance"
    return "worse than chance" if high < 0 else "not told apart from chance"


def save(figure: Figure, panels: Sequence[Axes], path: Path) -> None:
    """Write a figure as a PNG, its panels without a frame above and on the right, and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)
    plt.close(figure)
