"""How the alignment model is trained."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class AlignmentOptions:
    """How the alignment model is trained.

    The defaults suit a model of 30 layers and a few hundred histories. The warm-up is long because the head is fitted
    to the body as it is: the first steps cost NDCG that the later ones have to win back.

    Attributes:
        loss: ``pointwise`` or ``pairwise``.
        layers: how many of the lower decoder layers are kept; None: all.
        tune: which weights change: ``full``, ``top:<layers>`` (of those kept) or ``lora``; the head always does.
        learning_rate: the highest rate of the schedule.
        steps: optimiser steps.
        histories_per_batch: histories in one step, each with all its served clusters.
        histories_per_pass: histories in one pass; the gradients of the passes of a step add up.
        evaluate_every: steps between two evaluations on the validation histories.
        warmup_share: share of the steps in which the learning rate rises.
        weight_decay: as in AdamW.
        head_histories: training histories that the head is fitted to before the first step, see ``linear_head``; of a
            stack, also after the last, to the selected body.
        validation_histories: how many of the validation histories are ranked at each evaluation.
        stack: whether the head is fitted together with an additive affinity model of the same feedback, see
            ``joint_head``.
        keep_overtrained: whether the weights at two and three times the selected step are kept as comparison arms.
        seed: of the order of histories, the sample for the head, and adapters.
    """

    loss: Literal["pointwise", "pairwise"] = "pointwise"
    layers: int | None = None
    tune: str = "top:10"
    learning_rate: float = 1e-4
    steps: int = 24
    histories_per_batch: int = 8
    histories_per_pass: int = 8
    evaluate_every: int = 8
    warmup_share: float = 0.3
    weight_decay: float = 0.01
    head_histories: int = 256
    validation_histories: int = 96
    stack: bool = False
    keep_overtrained: bool = False
    seed: int = 0
