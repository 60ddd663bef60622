"""The pictures of the studies: with how much feedback words stop helping."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from models.drawing import BLUE, GREY, ORANGE, against_chance, draw_legend, save
from models.evaluation.ranking_contest import MODEL

CONTESTANTS = {
    "": ("stack", BLUE, "-"),
    "_language_model": ("language model alone", BLUE, "--"),
    "_additive": ("additive affinity", ORANGE, "-"),
    "_factorisation": ("factorisation", "#8a5fb0", "-"),
    "_training_means": ("training means", "#3b8f4f", "-"),
    "_label_regression": ("label regression", "#b0803a", ":"),
    "_prior": ("prior of the cluster", "#c2452d", ":"),
    "_random": ("chance", GREY, ":"),
}


def draw_amounts(amounts: Sequence[dict[str, Any]], k: int, path: Path) -> None:
    """Draw F1@k and NDCG@k of all contestants over the amount of feedback that they learned from, as a PNG.

    Args:
        amounts: each with ``name``, ``training_impressions``, ``figures`` and ``leads``.
        k: the cut.
        path: of the picture.
    """
    figure, panels = plt.subplots(1, 2, figsize=(13, 4.8), layout="constrained")
    ordered = sorted(amounts, key=lambda arm: arm["training_impressions"])
    impressions = [arm["training_impressions"] for arm in ordered]
    for panel, measure, title in ((panels[0], "f1_at_k", f"F1@{k}"), (panels[1], "ndcg_at_k", f"NDCG@{k}")):
        for suffix, (name, colour, style) in CONTESTANTS.items():
            values = [arm["figures"].get(f"{measure}{suffix}") for arm in ordered]
            if any(value is not None for value in values):
                shown = [float("nan") if value is None else value for value in values]
                panel.plot(impressions, shown, color=colour, linestyle=style, marker="o", markersize=4, label=name)
        told = against_chance(ordered[-1]["leads"].get("random", {}).get(measure)) if ordered else against_chance(None)
        panel.set(
            xlabel="impressions to learn from",
            title=f"{title} on the same held-out histories\nwith most feedback {told}",
        )
        if impressions:
            panel.set_xscale("log")
        panel.set_xticks(
            impressions, [f"{arm['name']}\n{count:,}" for arm, count in zip(ordered, impressions, strict=True)]
        )
        panel.minorticks_off()
        if not panel.has_data():
            draw_legend(panel)
    if panels[1].get_legend_handles_labels()[0]:
        panels[1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5))
    save(figure, list(panels), path)


def draw_densities(arms: Sequence[dict[str, Any]], k: int, path: Path) -> None:
    """Draw NDCG@k over the share of pairs with feedback, for served clusters and for those never served, as a PNG.

    Args:
        arms: each with ``share`` and, for ``served`` and ``apart`` clusters, ``values`` and ``intervals`` of a contest.
        k: the cut.
        path: of the picture.
    """
    figure, panels = plt.subplots(1, 2, figsize=(13, 4.8), layout="constrained")
    shares = [arm["share"] for arm in arms]
    for panel, part, clusters in ((panels[0], "served", "served elsewhere"), (panels[1], "apart", "never served")):
        for suffix, (name, colour, style) in CONTESTANTS.items():
            contestant = suffix.removeprefix("_") or MODEL
            values = [arm[part]["values"][contestant]["ndcg_at_k"] for arm in arms]
            panel.plot(shares, values, color=colour, linestyle=style, marker="o", markersize=4, label=name)
            low, high = zip(*(arm[part]["intervals"][contestant]["ndcg_at_k"] for arm in arms), strict=True)
            if contestant == MODEL:
                panel.fill_between(shares, low, high, color=colour, alpha=0.12, linewidth=0)
        panel.set(
            xscale="log",
            xlabel="share of the pairs (member, candidate) with feedback",
            title=f"NDCG@{k} of clusters {clusters}",
        )
    panels[1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5))
    save(figure, list(panels), path)
