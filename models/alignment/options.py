"""How the alignment model is trained."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class AlignmentOptions:
    """How the alignment model is trained.

    The warm-up is long because the head is fitted to the body as it is: the first steps cost NDCG, which the later ones
    have to win back.

    Attributes:
        loss: ``pointwise`` or ``pairwise``.
        layers: how many of the lower decoder layers are kept; None: all.
        tune: which weights change: ``full``, ``top:<layers>`` (of those kept) or ``lora``; the head always does.
        learning_rate: the highest rate of the schedule.
        epochs: how many times each training history is shown; a part of one is allowed.
        histories_per_batch: histories in one step, each with all its served clusters.
        histories_per_pass: histories in one pass; the gradients of the passes of a step add up.
        looks_per_epoch: evaluations on the validation histories in each epoch.
        head_histories: training histories that the head is fitted to before the first step, see ``linear_head``; that
            of a stack is fitted at each evaluation.
        stack: whether the head is fitted together with an additive affinity model of the same feedback, see
            ``joint_head``. The steps of the language model then learn raw rates too, whatever the normalisation.
        label_vectors: whether a stack has heads on the vectors of the labels too; the language model then reads only
            what validation proves that it tells better.
        keep_overtrained: whether the weights at two and three times the selected step are kept as comparison arms.
        seed: of the order of histories, the sample for the head, and adapters.
        warmup_share: share of the steps in which the learning rate rises.
        weight_decay: as in AdamW.
    """

    loss: Literal["pointwise", "pairwise"]
    layers: int | None
    tune: str
    learning_rate: float
    epochs: float
    histories_per_batch: int
    histories_per_pass: int
    looks_per_epoch: int
    head_histories: int
    stack: bool
    label_vectors: bool
    keep_overtrained: bool
    seed: int
    warmup_share: float = 0.3
    weight_decay: float = 0.01
