"""What the trials of a search learn from: the examples of the line, their scores by each trial's own normalisation."""

import polars as pl

from models.alignment.pairs import pairs_for_loss
from models.alignment.pointwise_examples import prior_rates
from models.alignment.trials import Prepare, TrialData
from models.feedback.normalisation import Method
from models.feedback.transition_scores import normalise_scores


def trial_preparation(
    examples: pl.DataFrame, clusters: int, interval: float | None, pairs_per_history: int, seed: int
) -> Prepare:
    """What makes the data of a trial from its normalisation and its loss.

    Args:
        examples: see ``pointwise_examples``.
        clusters: N.
        interval: scores are rounded to multiples of this; None: see ``transition_scores.normalise_scores``.
        pairs_per_history: how many pairs at most.
        seed: of their choice.
    """

    def prepare(normalisation: Method, loss: str) -> TrialData:
        rows, _ = normalise_scores(examples, normalisation, interval)
        return TrialData(
            examples=rows,
            pairs=pairs_for_loss(rows, loss, pairs_per_history, seed),
            multipliers=prior_rates(rows, clusters) if normalisation == "lift" else None,
        )

    return prepare
