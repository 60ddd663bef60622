"""How the novelty model is trained."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class NoveltyOptions:
    """How the novelty model is trained.

    Attributes:
        head: ``label_vectors``, or ``words``, which spells labels token by token; the rest is about that one, but seed.
        tune: ``full``, ``top:<n>`` decoder layers, or ``lora``.
        learning_rate: the highest rate of the schedule.
        batch_size: transitions per optimiser step, at least.
        epochs: passes over the training transitions, at the least.
        most_steps: more passes follow while the validation loss falls and they fit into this many steps in all.
        seed: of orders, adapters, dropout, the samples that do not teach, and the contest.
        warmup_share: share of the steps in which the learning rate rises.
        weight_decay: as in AdamW.
        evaluate_every: steps between two points of the curve.
        holdout_histories: the samples that do not teach have this many distinct histories at most.
    """

    head: Literal["label_vectors", "words"]
    tune: str
    learning_rate: float
    batch_size: int
    epochs: int
    most_steps: int
    seed: int
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    evaluate_every: int = 30
    holdout_histories: int = 48
