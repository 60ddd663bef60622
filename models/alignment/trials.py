"""Trials of a search: what they choose from, what they are made of, and which one is better.

Trials are compared by F1@k on the validation histories, at the best evaluation of each training.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from models.alignment.checkpoint_selection import ValidationPoint
from models.alignment.options import AlignmentOptions
from models.arrays import Float64Array
from models.evaluation.figures import interval_text
from models.feedback.normalisation import Method

Parameters = dict[str, Any]


NORMALISATIONS: tuple[Method, ...] = ("quantile", "rate", "z_score", "lift")


LOSSES = ("pointwise", "pairwise")


TOP_LAYERS = (4, 10, 20)


LEARNING_RATES = (3e-5, 1e-3)


LENGTHS = (0.5, 1.0, 2.0)  # times the epochs in force


# NDCG@k decides between equal F1@k: two different values of F1@k differ by more than this.
TIE_BREAK = 1e-6


@dataclass(frozen=True, eq=False)
class TrialData:
    """What one normalisation makes of the feedback.

    Attributes:
        examples: see the head of ``examples``; between two normalisations only ``score`` differs.
        pairs: as ``pairs.sample_pairs`` gives them; none of them, or None, for the pointwise loss.
        multipliers: [N] by which predicted scores are multiplied before they rank; None: not at all.
    """

    examples: pl.DataFrame
    pairs: pl.DataFrame | None
    multipliers: Float64Array | None


Prepare = Callable[[Method, str], TrialData]
"""From a normalisation and a loss to what a trial learns from."""


@dataclass(frozen=True)
class SearchOptions:
    """Where a search begins, and when it ends.

    Attributes:
        normalisation: the one in force.
        training: the settings in force; what is not searched is the same in every trial.
        trials: finished trials in all.
        minutes: no trial begins when the finished ones have taken this long, over all sessions; None: no such limit.
        seed: of the sampler.
    """

    normalisation: Method
    training: AlignmentOptions
    trials: int
    minutes: float | None
    seed: int


@dataclass(frozen=True)
class Trial:
    """One finished training.

    Attributes:
        number: place among the finished trials, from 1; the first has the settings in force.
        version: the name of its folder.
        parameters: ``normalisation``, ``loss``, ``tune``, ``learning_rate``, ``epochs``.
        figures: of the validation histories, at the best evaluation: ``f1_at_k``, ``ndcg_at_k``, ``validation_loss``
            and ``selected_step`` (None where the training failed), ``histories`` and ``intervals`` of that point;
            ``seconds``; ``weights_kept``.
        curve: every evaluation, see ``checkpoint_selection.ValidationPoint``.
        made_at: moment of its end, UTC.
        failure: why there is no figure; empty after a sound training.
    """

    number: int
    version: str
    parameters: Parameters
    figures: dict[str, Any]
    curve: list[dict[str, Any]]
    made_at: str
    failure: str = ""

    @property
    def rank(self) -> tuple[float, float, int]:
        """What makes a trial better: F1@k, then NDCG@k, then being earlier. A failed training is below all others."""
        f1, ndcg = self.figures["f1_at_k"], self.figures["ndcg_at_k"]
        return (-1.0 if f1 is None else f1), (ndcg or 0.0), -self.number

    def told(self, measure: str) -> str:
        """F1 or NDCG as text, with its interval where the validation histories are few."""
        return interval_text(self.figures[measure], self.figures["intervals"].get(measure), self.figures["histories"])

    @property
    def objective(self) -> float:
        """What the sampler maximises."""
        f1, ndcg, _ = self.rank
        return max(f1, 0.0) + TIE_BREAK * ndcg


@dataclass(frozen=True)
class SearchReport:
    """What a search has found so far.

    Attributes:
        trials: the finished ones, in order.
        winner: the best of them on the validation histories.
        test: of the winner on the test histories: ``figures`` (as ``report.judge`` names them),
            ``held_out_histories``, ``leads``, ``by_cut``, ``notes``; and ``judged``, the versions of all winners that
            this search ever judged there: more than one after a search was resumed and found a better one.
        seconds: of all trials.
    """

    trials: tuple[Trial, ...]
    winner: Trial
    test: dict[str, Any]
    seconds: float


def search_space(options: SearchOptions, layers: int) -> dict[str, BaseDistribution]:
    """What trials choose from; the settings in force are always included.

    A stack learns raw rates whatever the normalisation, so its trials do not vary it.

    Args:
        options: where the search begins.
        layers: of the base model: no more can be tuned.
    """
    training = options.training
    tune = ["full", "lora", *(f"top:{count}" for count in TOP_LAYERS if count <= (training.layers or layers))]
    low, high = min(LEARNING_RATES[0], training.learning_rate), max(LEARNING_RATES[1], training.learning_rate)
    return {
        "normalisation": CategoricalDistribution((options.normalisation,) if training.stack else NORMALISATIONS),
        "loss": CategoricalDistribution(LOSSES),
        "tune": CategoricalDistribution(sorted({*tune, training.tune})),
        "learning_rate": FloatDistribution(low, high, log=True),
        "epochs": CategoricalDistribution(sorted(training.epochs * factor for factor in LENGTHS)),
    }


def describe_parameters(parameters: Parameters) -> str:
    """The parameters of a trial in words for the log."""
    return (
        f"{parameters['normalisation']}, {parameters['loss']}, {parameters['tune']}, "
        f"learning rate {parameters['learning_rate']:.2g}, {parameters['epochs']:g} epochs"
    )


def best_first(trials: Sequence[Trial]) -> list[Trial]:
    """The trials, the best one first."""
    return sorted(trials, key=lambda trial: trial.rank, reverse=True)


def with_weights(trial: Trial, *, kept: bool) -> Trial:
    """The trial, its record saying whether its weights are kept."""
    return replace(trial, figures=trial.figures | {"weights_kept": kept})


def total_seconds(trials: Sequence[Trial]) -> float:
    """Seconds of all trials together."""
    return float(sum(trial.figures["seconds"] for trial in trials))


def point_figures(point: ValidationPoint | None) -> dict[str, Any]:
    """The figures of a training at its selected point; None each where it failed."""
    if point is None:
        nothing = dict.fromkeys(("f1_at_k", "ndcg_at_k", "validation_loss", "selected_step"))
        return nothing | {"histories": 0, "intervals": {}}
    return {
        "f1_at_k": point.f1_at_k,
        "ndcg_at_k": point.ndcg_at_k,
        "validation_loss": point.validation_loss,
        "selected_step": point.step,
        "histories": point.histories,
        "intervals": point.intervals,
    }
