"""What all pictures share: a backend that needs no screen, the colours, and how a figure is saved."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # pictures go to files; a machine without a screen is the normal case

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#1f5fa8", "#d1792b", "#888888"


def save(figure: Figure, panels: Sequence[Axes], path: Path) -> None:
    """Write a figure as a PNG, its panels without a frame above and on the right, and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)
    plt.close(figure)
