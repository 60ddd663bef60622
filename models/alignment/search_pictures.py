"""The picture of a search: what its trials reached, and at which learning rates."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from models.alignment.trials import LOSSES, NORMALISATIONS, SearchReport, Trial, describe_parameters
from models.drawing import BLUE, GREY, ORANGE, against_chance, draw_legend, save
from models.evaluation.figures import interval_text

COLOURS = dict(zip(NORMALISATIONS, (BLUE, ORANGE, "#3b8f4f", "#c2452d"), strict=True))
MARKERS = dict(zip(LOSSES, ("o", "^"), strict=True))


def draw_search(report: SearchReport, k: int, path: Path) -> None:
    """Draw F1@k of the trials by number, and by learning rate, normalisation and loss, as a PNG."""
    measured = [trial for trial in report.trials if trial.figures["f1_at_k"] is not None]
    figure, panels = plt.subplots(1, 2, figsize=(13, 5.4), width_ratios=(3, 2), layout="constrained", sharey=True)
    _draw_course(panels[0], report, measured, k)
    _draw_learning_rates(panels[1], report, measured)
    save(figure, list(panels), path)


def _draw_course(panel: Axes, report: SearchReport, measured: list[Trial], k: int) -> None:
    numbers = [trial.number for trial in measured]
    values = [trial.figures["f1_at_k"] for trial in measured]
    panel.plot(numbers, values, "o", color=GREY, label="trial, validation")
    if measured:
        panel.step(
            numbers,
            np.maximum.accumulate(values),
            where="post",
            color=BLUE,
            label=f"best so far, validation: {report.winner.told('f1_at_k')}",
        )
        panel.axhline(
            values[0],
            color=ORANGE,
            linestyle="--",
            linewidth=1,
            label="settings before the search, validation",
        )
    figures = report.test["figures"]

    def told(name: str) -> str:
        return interval_text(figures[name], report.test["intervals"].get(name), report.test["held_out_histories"])

    if figures.get("f1_at_k_random") is not None:
        label = f"chance, test histories: {told('f1_at_k_random')}"
        panel.axhline(figures["f1_at_k_random"], color=GREY, linestyle=":", label=label)
    if figures["f1_at_k"] is not None:
        panel.plot(
            [report.winner.number], [figures["f1_at_k"]], color=BLUE, marker="*", markersize=16, linestyle="",
            label=f"the winner on the test histories: {told('f1_at_k')}",
        )  # fmt: skip
    panel.set(xlabel="trial", ylabel=f"F1@{k}")
    verdict = against_chance(report.test["leads"].get("random", {}).get("f1_at_k"))
    winner = describe_parameters(report.winner.parameters)
    panel.set_title(f"The winner: {winner}\n{verdict} on the test histories", fontsize=10)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    draw_legend(panel)


def _draw_learning_rates(panel: Axes, report: SearchReport, measured: list[Trial]) -> None:
    for normalisation in NORMALISATIONS:
        for loss in LOSSES:
            chosen = [
                trial
                for trial in measured
                if (trial.parameters["normalisation"], trial.parameters["loss"]) == (normalisation, loss)
            ]
            if chosen:
                panel.plot(
                    [trial.parameters["learning_rate"] for trial in chosen],
                    [trial.figures["f1_at_k"] for trial in chosen],
                    color=COLOURS[normalisation], marker=MARKERS[loss], linestyle="", label=f"{normalisation}, {loss}",
                )  # fmt: skip
    winner = report.winner
    if winner.figures["f1_at_k"] is not None:
        panel.plot(
            [winner.parameters["learning_rate"]], [winner.figures["f1_at_k"]], color=BLUE, marker="o", markersize=16,
            markerfacecolor="none", linestyle="",
        )  # fmt: skip
    panel.set(xlabel="learning rate", xscale="log", title="By learning rate")
    draw_legend(panel)
