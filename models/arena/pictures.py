"""Pictures of a simulated world: who comes, what they do, how the feed narrows, and what predictors learn."""

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from models.arena.predictors import PREDICTORS
from models.arena.responses import SIGNALS
from models.arena.summary import WorldSummary
from models.drawing import BLUE, GREY, ORANGE, draw_course, draw_legend, save, write_values

NAMED_TOPICS = 96  # names of more would be too small to read: their families are named


def draw_world(summary: WorldSummary, path: Path) -> None:
    """Draw activity, response rates, feedback loop, affinity between topics and the contest of predictors, as a PNG."""
    figure, panels = plt.subplots(2, 3, figsize=(13, 8), layout="constrained")
    _activity(panels[0, 0], summary)
    _plays_per_user(panels[0, 1], summary)
    _responses(panels[0, 2], summary)
    _feedback_loop(panels[1, 0], summary)
    _affinity(panels[1, 1], summary)
    _contest(panels[1, 2], summary)
    save(figure, [panel for panel in panels.ravel() if not panel.images], path)  # an image keeps its frame


def draw_contests(contests: pl.DataFrame, path: Path) -> None:
    """Draw what each predictor explains by mix, one line per seed, as a PNG.

    Args:
        contests: as ``predictors.contests_over_worlds`` returns them.
        path: of the PNG.
    """
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    shown = [name for name in PREDICTORS if name not in ("random", "oracle")]
    for colour, name in zip(plt.get_cmap("tab10").colors, shown, strict=False):  # type: ignore[attr-defined]
        for number, (_, world) in enumerate(contests.sort("mix").group_by("seed", maintain_order=True)):
            label = name.replace("_", " ") if number == 0 else None
            points = list(zip(world["mix"], world[f"explained_{name}"], strict=True))
            draw_course(axes, points, color=colour, alpha=0.6, label=label)
    axes.axhline(0, color=GREY, linestyle=":", label="chance")
    axes.set(
        title="What predictors find of users' next topics (chance 0, oracle 1), a line per seed",
        xlabel="mix: share of taste that words do not tell",
    )
    axes.set_ylim(top=1)
    draw_legend(axes, columns=4)
    save(figure, [axes], path)


def _activity(axes: Axes, summary: WorldSummary) -> None:
    days = np.arange(1, len(summary.days["plays"]) + 1)
    axes.plot(days, summary.days["plays"], color=BLUE, marker="o", markersize=3, label="organic plays")
    axes.plot(days, summary.days["visitors"], color=ORANGE, marker="o", markersize=3, label="visitors")
    axes.set(title="Activity", xlabel="day")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    draw_legend(axes)


def _plays_per_user(axes: Axes, summary: WorldSummary) -> None:
    plays = np.sort(summary.plays_per_user[summary.plays_per_user > 0])[::-1]
    if len(plays):
        draw_course(
            axes, list(zip(plays, np.arange(1, len(plays) + 1) / len(plays), strict=True)), color=BLUE, markersize=2
        )
        axes.set(xscale="log", yscale="log")
    draw_legend(axes)
    top = summary.figures["plays_of_top_fifth"]
    axes.set(
        title=f"Plays per user: the top fifth has {top:.0%}", xlabel="plays", ylabel="share of users with at least"
    )


def _responses(axes: Axes, summary: WorldSummary) -> None:
    rates = [summary.figures[f"{signal}_rate"] for signal in SIGNALS]
    write_values(axes, axes.barh(list(SIGNALS), rates, color=BLUE), [f"{rate:.1%}" for rate in rates])
    axes.set(title="Responses to organic plays", xlim=(0, 1.2 * max(*rates, 0.01)))
    axes.invert_yaxis()


def _feedback_loop(axes: Axes, summary: WorldSummary) -> None:
    days = np.arange(1, len(summary.days["plays"]) + 1)
    axes.plot(days, summary.days["favourite_share"], color=BLUE, marker="o", markersize=3)
    axes.set(title="Feedback loop: plays in a user's top 3", xlabel="day", ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _affinity(axes: Axes, summary: WorldSummary) -> None:
    count = len(summary.topics)
    image = axes.imshow(summary.affinity - np.eye(count), cmap="RdBu_r", vmin=-0.6, vmax=0.6)
    axes.figure.colorbar(image, ax=axes, shrink=0.8)
    axes.set(title="Affinity between topics (by family)", xticks=[])
    if count <= NAMED_TOPICS:
        axes.set_yticks(range(count), summary.topics, fontsize=min(7.0, 190 / count))
    else:
        first = [summary.families.index(family) for family in dict.fromkeys(summary.families)]
        axes.set_yticks(first, [summary.families[place] for place in first], fontsize=7.0)


def _contest(axes: Axes, summary: WorldSummary) -> None:
    shares = [summary.figures[f"explained_{name}"] for name in PREDICTORS]
    names = [name.replace("_", " ") for name in PREDICTORS]
    bars = axes.barh(names, shares, color=[GREY if name in ("random", "oracle") else BLUE for name in PREDICTORS])
    axes.axvline(0, color=GREY, linewidth=1)
    write_values(axes, bars, [f"{share:.2f}" for share in shares])
    axes.set(title="What predictors find (chance 0, oracle 1)", xlim=(min(0.0, *shares) - 0.1, 1.2))
    axes.invert_yaxis()
