"""The picture of a novelty training: losses by step, and recall of held-out transitions."""

from pathlib import Path

from matplotlib import pyplot as plt

from models.drawing import BLUE, ORANGE, save
from models.novelty.training import NoveltyReport


def draw_novelty_curve(report: NoveltyReport, path: Path) -> None:
    """Draw training and held-out loss by step, and recall@k of held-out transitions, as a PNG."""
    figure, (losses, recall) = plt.subplots(1, 2, figsize=(12, 4.5), width_ratios=(3, 2), layout="constrained")
    steps = [point.step for point in report.curve]
    losses.plot(steps, [point.training_loss for point in report.curve], color=ORANGE, label="training")
    losses.plot(steps, [point.holdout_loss for point in report.curve], color=BLUE, label="held-out users")
    losses.set(xlabel="step", ylabel="loss, nats per label", title="Novelty model: loss")
    losses.set_ylim(bottom=0)
    losses.legend(frameon=False)
    cuts = {
        int(name.rsplit("_", 1)[1]): value for name, value in report.figures.items() if name.startswith("recall_at")
    }
    bars = recall.bar([f"@{k}" for k in cuts], list(cuts.values()), color=BLUE)
    recall.bar_label(bars, fmt="{:.2f}")
    recall.set(ylim=(0, 1), title="Recall of the next interest, held-out users")
    save(figure, [losses, recall], path)
