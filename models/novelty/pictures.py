"""Pictures of a novelty model: the contest against counting, and, where it was tuned, losses by step."""

import math
from pathlib import Path

from matplotlib import pyplot as plt

from models.drawing import BLUE, GREY, ORANGE, draw_course, draw_legend, save, write_values
from models.evaluation.ranking_contest import MODEL
from models.novelty.contest import CUT, NAMES, NoveltyContest
from models.novelty.training import NoveltyReport


def draw_novelty_contest(contest: NoveltyContest, choices: int, path: Path) -> None:
    """Draw the model's lead in loss over each law by counting, and macro recall of all, as a PNG.

    Args:
        contest: to draw.
        choices: clusters outside a history, from which chance would draw.
        path: of the picture.
    """
    figure, (losses, recall) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    names = [NAMES.get(name, name) for name in contest.leads]
    middles = [contest.values[name]["loss"] - contest.values[MODEL]["loss"] for name in contest.leads]
    ends = [measures["loss"] for measures in contest.leads.values()]
    reach = [
        [max(0.0, middle - low) for middle, (low, _) in zip(middles, ends, strict=True)],
        [max(0.0, high - middle) for middle, (_, high) in zip(middles, ends, strict=True)],
    ]
    losses.errorbar(middles, names, xerr=reach, fmt="o", color=BLUE, capsize=4)
    losses.axvline(0, color=GREY, linestyle=":")
    measured = f"{contest.transitions:,} held-out transitions of {contest.users:,} users"
    losses.set(title=f"Novelty model: lead in loss, with 95% intervals\n{measured}", xlabel="nats per transition")
    losses.invert_yaxis()
    measure = f"macro_recall_at_{CUT}"
    contestants = [MODEL, *contest.leads]
    values = [contest.values[name][measure] for name in contestants]
    bars = recall.barh(
        [NAMES.get(name, name) for name in contestants], values, color=[BLUE, *["#aaaaaa"] * len(contest.leads)]
    )
    texts = [
        "{:.3f} ({:.3f} to {:.3f})".format(value, *contest.intervals[name][measure])
        for name, value in zip(contestants, values, strict=True)
    ]
    write_values(recall, bars, texts)
    recall.axvline(min(1.0, CUT / choices), color=ORANGE, linestyle=":", label="chance")
    recall.set(title=f"Recall@{CUT}, mean over the clusters that came next", xlim=(0, min(1.08, 1.7 * max(values))))
    recall.invert_yaxis()
    draw_legend(recall)
    save(figure, [losses, recall], path)


def draw_novelty_curve(report: NoveltyReport, choices: int, path: Path) -> None:
    """Draw training and validation loss by step, as a PNG.

    Args:
        report: of the training.
        choices: clusters outside a history, from which chance would draw.
        path: of the picture.
    """
    figure, losses = plt.subplots(figsize=(8, 5), layout="constrained")
    for name, colour, label in (("training_loss", ORANGE, "training"), ("validation_loss", BLUE, "validation users")):
        draw_course(losses, [(point.step, getattr(point, name)) for point in report.curve], color=colour, label=label)
    losses.axhline(math.log(choices), color=GREY, linestyle=":", label=f"chance among {choices} labels")
    losses.set(xlabel="step", ylabel="loss, nats per label", title="Novelty model: loss")
    losses.set_ylim(bottom=0)
    draw_legend(losses, columns=3)
    save(figure, [losses], path)
