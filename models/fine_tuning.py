"""The optimiser that both language models are trained with: AdamW on float32 copies of the trained weights.

Small updates vanish in bfloat16 weights (8 bits: an update below 1/256 of a weight rounds to nothing). The passes run
in the model's own precision, the updates add up in float32, and the weights are rounded from there after every step.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Schedule:
    """How far each step goes.

    Attributes:
        learning_rate: the highest rate, reached when the warm-up ends; from there it falls to 0 along a straight line.
        steps: optimiser steps in all.
        warmup_share: share of the steps in which the rate rises from 0.
        weight_decay: as in AdamW.
    """

    learning_rate: float
    steps: int
    warmup_share: float
    weight_decay: float

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        warmup = max(1, round(self.steps * self.warmup_share))
        return self.learning_rate * min(
            (step + 1) / warmup, max(self.steps - step, 0) / max(self.steps - warmup + 1, 1), 1
        )


class Optimiser:
    """AdamW with float32 master weights, clipped gradients and a linear schedule.

    Args:
        parameters: those that do not require gradients are left alone.
        schedule: the step sizes.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], schedule: Schedule) -> None:
        self.weights = [parameter for parameter in parameters if parameter.requires_grad]
        self.masters = [weight.detach().float() for weight in self.weights]  # float32 weights are their own masters
        self.schedule = schedule
        self.step_count = 0
        self.adamw = torch.optim.AdamW(self.masters, weight_decay=schedule.weight_decay, fused=True)

    def step(self, loss: Tensor) -> None:
        """Backpropagate the loss and move the weights."""
        loss.backward()  # type: ignore[no-untyped-call]
        for weight, master in zip(self.weights, self.masters, strict=True):
            master.grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None
        torch.nn.utils.clip_grad_norm_(self.masters, GRADIENT_NORM)
        for group in self.adamw.param_groups:
            group["lr"] = self.schedule.rate(self.step_count)
        self.adamw.step()
        self.step_count += 1
        with torch.no_grad():
            for weight, master in zip(self.weights, self.masters, strict=True):
                weight.copy_(master)
