"""Pictures of an alignment training: what was learned, and whether it is better than not learning."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from models.alignment.report import Judgement
from models.alignment.training import AlignmentReport
from models.drawing import BLUE, ORANGE, save

YARDSTICKS = {"random": ("#888888", ":"), "prior": ("#c2452d", "--"), "training_means": ("#3b8f4f", "-.")}
NAMES = {"random": "random", "prior": "prior of the cluster", "training_means": "training means"}


def draw_alignment_curves(report: AlignmentReport, k: int, path: Path) -> None:
    """Draw F1@k and NDCG@k on the validation histories by step, with the yardsticks of the test histories, as a PNG."""
    figure, panels = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    steps = [point.step for point in report.curve]
    for panel, measure, title in ((panels[0], "f1_at_k", f"F1@{k}"), (panels[1], "ndcg_at_k", f"NDCG@{k}")):
        measured = [(point.step, getattr(point, measure)) for point in report.curve]
        shown = [(step, value) for step, value in measured if value is not None]
        if shown:
            panel.plot(*zip(*shown, strict=True), color=BLUE, marker="o", label="model, validation histories")
        _draw_yardsticks(panel, report, measure)
        panel.axvline(report.selected_step, color="#bbbbbb", linewidth=1, zorder=0)
        panel.set(xlabel="step", title=f"Alignment model: {title}")
        if panel.get_legend_handles_labels()[0]:
            panel.legend(frameon=False, fontsize=9)
    losses = panels[2]
    for name, colour, label in (
        ("training_loss", ORANGE, "training"),
        ("validation_loss", BLUE, "validation histories"),
    ):
        values = [getattr(point, name) for point in report.curve]
        known = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
        if known:
            losses.plot(*zip(*known, strict=True), color=colour, label=label)
    losses.set(xlabel="step", ylabel="cross-entropy", title="Alignment model: loss")
    losses.legend(frameon=False, fontsize=9)
    save(figure, list(panels), path)


def draw_alignment_contest(judgement: Judgement, k: int, path: Path) -> None:
    """Draw F1@k and NDCG@k of model and yardsticks on the test histories, reliability, and histograms, as a PNG."""
    figure, panels = plt.subplots(2, 2, figsize=(12, 8), layout="constrained")
    panels = panels.ravel()
    contestants = ["", *(f"_{name}" for name in judgement.leads)]
    for panel, measure, title in ((panels[0], "f1_at_k", f"F1@{k}"), (panels[1], "ndcg_at_k", f"NDCG@{k}")):
        values = [judgement.figures.get(f"{measure}{suffix}") or 0.0 for suffix in contestants]
        names = [judgement.model, *(name.replace("_", " ") for name in judgement.leads)]
        colours = [BLUE, *(["#aaaaaa"] * len(judgement.leads))]
        bars = panel.barh(names, values, color=colours)
        panel.bar_label(bars, fmt=" {:.3f}")
        half = judgement.figures.get(f"{measure}_split_half")
        if half is not None:
            panel.axvline(half, color=ORANGE, linestyle="--", label="one half of the log by the other")
            panel.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08))
        panel.set(title=f"{title} on {judgement.held_out_histories} test histories", xlim=(0, 1.15 * max(*values, 0.1)))
        panel.invert_yaxis()
    _draw_reliability(panels[2], judgement)
    _draw_histograms(panels[3], judgement)
    save(figure, list(panels), path)


def _draw_reliability(panel: Axes, judgement: Judgement) -> None:
    found = judgement.calibration
    if found is not None:
        highest = 1.1 * float(max(found.predicted.max(), found.observed.max()))
        panel.plot([0, highest], [0, highest], color="#bbbbbb", linewidth=1)
        panel.plot(found.predicted, found.observed, color=BLUE, marker="o")
    error = judgement.figures.get("ece")
    panel.set(
        title="Calibration" if error is None else f"Calibration: error {error:.3f}",
        xlabel="predicted rate, tenths of the evidence",
        ylabel="held-out rate",
    )


def _draw_histograms(panel: Axes, judgement: Judgement) -> None:
    """Predicted rates beside observed ones, whose spread is wider by chance."""
    if len(judgement.predicted):
        bins = np.linspace(0, max(float(np.quantile(judgement.observed, 0.99)), float(judgement.predicted.max())), 30)
        for values, colour, name in (
            (judgement.observed, "#bbbbbb", "held-out rates"),
            (judgement.predicted, BLUE, "predicted rates"),
        ):
            shares = np.full(len(values), 1 / len(values))
            panel.hist(np.minimum(values, bins[-1]), bins.tolist(), weights=shares, color=colour, alpha=0.6, label=name)
        panel.legend(frameon=False, fontsize=9)
    panel.set(title="Rates of the test cells", xlabel="rate", ylabel="share of the cells")


def _draw_yardsticks(panel: Axes, report: AlignmentReport, measure: str) -> None:
    for name, (colour, style) in YARDSTICKS.items():
        value = report.judgement.figures.get(f"{measure}_{name}")
        if value is not None:
            panel.axhline(value, color=colour, linestyle=style, label=f"{NAMES[name]}, test histories")
    value = report.judgement.figures.get(measure)
    if value is not None:
        panel.plot(
            [report.selected_step], [value], color=BLUE, marker="*", markersize=16, linestyle="",
            label="selected, test histories",
        )  # fmt: skip
