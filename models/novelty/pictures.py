"""The picture of a novelty training: losses by step, and recall of held-out transitions."""

import math
from pathlib import Path

from matplotlib import pyplot as plt

from models.drawing import BLUE, GREY, ORANGE, against_chance, draw_course, draw_legend, save, write_values
from models.novelty.training import NoveltyReport


def draw_novelty_curve(report: NoveltyReport, choices: int, path: Path) -> None:
    """Draw training and held-out loss by step, and recall@k of held-out transitions, beside chance, as a PNG.

    Args:
        report: of the training.
        choices: clusters outside a history, from which chance would draw.
        path: of the picture.
    """
    figure, (losses, recall) = plt.subplots(1, 2, figsize=(12, 5), width_ratios=(3, 2), layout="constrained")
    for name, colour, label in (("training_loss", ORANGE, "training"), ("holdout_loss", BLUE, "held-out users")):
        draw_course(losses, [(point.step, getattr(point, name)) for point in report.curve], color=colour, label=label)
    losses.axhline(math.log(choices), color=GREY, linestyle=":", label=f"chance among {choices} labels")
    losses.set(xlabel="step", ylabel="loss, nats per label", title="Novelty model: loss")
    losses.set_ylim(bottom=0)
    draw_legend(losses, columns=3)
    cuts = {
        int(name.rsplit("_", 1)[1]): value for name, value in report.figures.items() if name.startswith("recall_at")
    }
    names = [f"@{k}" for k in cuts]
    write_values(
        recall, recall.bar(names, list(cuts.values()), color=BLUE), [f"{value:.2f}" for value in cuts.values()]
    )
    if cuts:
        chances = [min(1.0, k / choices) for k in cuts]
        recall.plot(names, chances, "_", color=ORANGE, markersize=30, markeredgewidth=2, label="chance")
    measured = report.figures.get("holdout_examples", 0)
    recall.set(ylim=(0, 1.08), title=f"Recall, {measured:,.0f} held-out transitions\n{_told(cuts, choices, measured)}")
    draw_legend(recall)
    save(figure, [losses, recall], path)


def _told(cuts: dict[int, float], choices: int, measured: float) -> str:
    """Whether recall at the first cut is told apart from chance: its lead by the 95% interval of a share."""
    if not cuts or not measured:
        return against_chance(None)
    k, value = next(iter(cuts.items()))
    chance = min(1.0, k / choices)
    half = 1.96 * math.sqrt(max(chance * (1 - chance), value * (1 - value)) / measured)
    return f"@{k} {against_chance((value - chance - half, value - chance + half))}"
