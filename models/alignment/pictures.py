"""Pictures of an alignment training: what was learned, and whether it is better than not learning."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from models.alignment.report import Judgement
from models.alignment.training import AlignmentReport
from models.alignment.users_apart import INFIX
from models.drawing import BLUE, ORANGE, against_chance, draw_course, draw_legend, save, write_values
from models.evaluation.figures import FEW_HISTORIES, figure_text, interval_text
from models.evaluation.ranking_contest import LANGUAGE_MODEL

YARDSTICKS = {"random": ("#888888", ":"), "prior": ("#c2452d", "--"), "training_means": ("#3b8f4f", "-.")}
ALONE = {LANGUAGE_MODEL: "language model alone"}
NAMES = {"random": "chance", "prior": "prior of the cluster", "training_means": "training means"}


def draw_alignment_curves(report: AlignmentReport, k: int, path: Path) -> None:
    """Draw F1@k and NDCG@k on the validation histories by step, with the yardsticks of the test histories, as a PNG."""
    figure, panels = plt.subplots(1, 3, figsize=(13, 5.4), layout="constrained")
    leads = report.judgement.leads.get("random", {})
    for panel, measure, title in ((panels[0], "f1_at_k", f"F1@{k}"), (panels[1], "ndcg_at_k", f"NDCG@{k}")):
        measured = [(point.step, getattr(point, measure)) for point in report.curve]
        draw_course(panel, measured, color=BLUE, label="model, validation histories")
        _draw_intervals(panel, report, measure)
        _draw_yardsticks(panel, report, measure)
        panel.axvline(report.selected_step, color="#bbbbbb", linewidth=1, zorder=0)
        panel.set(xlabel="step", title=f"Alignment model: {title}\n{against_chance(leads.get(measure))}")
    for name, colour, label in (
        ("training_loss", ORANGE, "training"),
        ("validation_loss", BLUE, "validation histories"),
    ):
        losses = [(point.step, getattr(point, name)) for point in report.curve]
        draw_course(panels[2], losses, color=colour, label=label)
    panels[2].set(xlabel="step", ylabel="cross-entropy", title="Alignment model: loss")
    for panel in panels:
        draw_legend(panel, columns=1)
    save(figure, list(panels), path)


def draw_alignment_contest(judgement: Judgement, k: int, path: Path) -> None:
    """Draw F1@k and NDCG@k of model and yardsticks on the test histories, reliability, and histograms, as a PNG."""
    figure, panels = plt.subplots(2, 2, figsize=(14, 8.5), layout="constrained")
    panels = panels.ravel()
    contestants = ["", *(f"_{name}" for name in judgement.leads)]
    for panel, measure, title in ((panels[0], "f1_at_k", f"F1@{k}"), (panels[1], "ndcg_at_k", f"NDCG@{k}")):
        found = [judgement.figures.get(f"{measure}{suffix}") for suffix in contestants]
        values = [value or 0.0 for value in found]
        names = [judgement.model, *(ALONE.get(name, name.replace("_", " ")) for name in judgement.leads)]
        colours = [BLUE, *(["#aaaaaa"] * len(judgement.leads))]
        intervals = [judgement.intervals.get(f"{measure}{suffix}") for suffix in contestants]
        texts = [
            interval_text(value, interval, judgement.held_out_histories, missing="not measured")
            for value, interval in zip(found, intervals, strict=True)
        ]
        write_values(panel, panel.barh(names, values, color=colours), texts)
        apart = [judgement.figures.get(f"{measure}{INFIX}{suffix}") for suffix in contestants]
        known = [(value, name) for value, name in zip(apart, names, strict=True) if value is not None]
        if known:
            panel.plot(*zip(*known, strict=True), "D", color="black", markersize=4, label="with users kept apart")
        half = judgement.figures.get(f"{measure}_split_half")
        if half is not None:
            panel.axvline(half, color=ORANGE, linestyle="--", label="one half of the log by the other")
        told = against_chance(judgement.leads.get("random", {}).get(measure))
        panel.set(title=f"{title} on {judgement.held_out_histories} test histories: {told}")
        room = 1.15 if judgement.held_out_histories >= FEW_HISTORIES else 1.8
        panel.set_xlim(0, room * max(*values, half or 0.0, 0.1))
        draw_legend(panel)
        panel.invert_yaxis()
    share = figure_text(judgement.figures.get("words_share"), missing="not measured")
    panels[0].set_xlabel(f"share of the words in the spread of the ranking: {share}")
    _draw_reliability(panels[2], judgement)
    _draw_histograms(panels[3], judgement)
    save(figure, list(panels), path)


def _draw_reliability(panel: Axes, judgement: Judgement) -> None:
    found = judgement.calibration
    if found is not None:
        highest = 1.1 * float(max(found.predicted.max(), found.observed.max()))
        panel.plot([0, highest], [0, highest], color="#bbbbbb", linewidth=1)
        draw_course(panel, list(zip(found.predicted, found.observed, strict=True)), color=BLUE)
    error = judgement.figures.get("ece")
    panel.set(
        title="Calibration" if error is None else f"Calibration: error {error:.3f}",
        xlabel="predicted rate, tenths of the evidence",
        ylabel="held-out rate",
    )
    draw_legend(panel)


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
    panel.set(title="Rates of the test cells", xlabel="rate", ylabel="share of the cells")
    draw_legend(panel)


def _draw_intervals(panel: Axes, report: AlignmentReport, measure: str) -> None:
    """Where the validation histories are few."""
    few = [point for point in report.curve if point.histories < FEW_HISTORIES and measure in point.intervals]
    if few:
        ends = np.array([point.intervals[measure] for point in few])
        panel.fill_between([point.step for point in few], *ends.T, color=BLUE, alpha=0.12, linewidth=0, label="95%")


def _draw_yardsticks(panel: Axes, report: AlignmentReport, measure: str) -> None:
    for name, (colour, style) in YARDSTICKS.items():
        value = report.judgement.figures.get(f"{measure}_{name}")
        if value is not None:
            text = _told_interval(report.judgement, f"{measure}_{name}")
            panel.axhline(value, color=colour, linestyle=style, label=f"{NAMES[name]}, test histories{text}")
    value = report.judgement.figures.get(measure)
    if value is not None:
        panel.plot(
            [report.selected_step], [value], color=BLUE, marker="*", markersize=16, linestyle="",
            label=f"selected, test histories{_told_interval(report.judgement, measure)}",
        )  # fmt: skip


def _told_interval(judgement: Judgement, name: str) -> str:
    """The figure with its interval, where it rests on few histories."""
    if judgement.held_out_histories >= FEW_HISTORIES:
        return ""
    return f" {interval_text(judgement.figures[name], judgement.intervals.get(name), judgement.held_out_histories)}"
