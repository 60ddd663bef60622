"""Gates of publication: what a novelty model must reach before anything planned by it is published."""

from alignrec_assets.refresh.tables import Facts
from alignrec_assets.resources import HomeResource

ENOUGH_EXAMPLES = 30
"""From so few the embedded model learned how the labels of 8 clusters are written, in 30 optimiser steps."""


def missed_gates(figures: Facts, home: HomeResource) -> list[str]:
    """What a novelty model lacks to be published, by the limits in the settings."""
    limits = home.settings.publication
    wanted = {
        "format_validity_tuned": ("format validity", limits.format_validity_limit, "format_validity_limit"),
        "recall_at_3": ("recall@3 of held-out transitions", limits.recall_limit, "recall_limit"),
    }
    examples = int(figures.get("training_examples", ENOUGH_EXAMPLES))
    few = f", after {examples:,} examples, where {ENOUGH_EXAMPLES} have sufficed" if examples < ENOUGH_EXAMPLES else ""
    return [
        f"{words} {figures[name]:.3f} is under publication.{setting} = {limit}{few}: "
        "ingest more users or days for the novelty model to learn from, tune it longer (novelty.epochs, "
        "novelty.most_steps), or lower the limit"
        for name, (words, limit, setting) in wanted.items()
        if name in figures and not figures[name] >= limit  # not a number is no pass
    ]
