"""How the novelty model is trained."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NoveltyOptions:
    """How the novelty model is trained.

    Attributes:
        tune: ``full``, ``top:<n>`` decoder layers, or ``lora``.
        learning_rate: the highest rate of the schedule.
        batch_size: transitions per optimiser step, at least.
        epochs: passes over the training transitions, at the least.
        most_steps: more passes follow while the held-out loss falls and they fit into this many steps in all.
        seed: of the order of transitions, the order within prompts, adapters and dropout, and the held-out sample.
        warmup_share: share of the steps in which the learning rate rises.
        weight_decay: as in AdamW.
        evaluate_every: steps between two points of the curve.
        holdout_histories: held-out transitions are measured on this many distinct histories at most.
    """

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
