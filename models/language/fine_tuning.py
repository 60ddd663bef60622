"""The optimiser that both language models are trained with: AdamW on float32 copies of the trained weights.

Small updates vanish in bfloat16 weights (8 bits: an update below 1/256 of a weight rounds to nothing). The passes run
in the model's own precision, the updates add up in float32, and the weights are rounded from there after every step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

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
        heads: further parameters, in units of their own.
        head_rate: their step sizes, as a multiple of those of the others.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        schedule: Schedule,
        heads: Sequence[nn.Parameter] = (),
        head_rate: float = 1.0,
    ) -> None:
        body = [parameter for parameter in parameters if parameter.requires_grad]
        self.weights = [*body, *heads]
        self.masters = [weight.detach().float() for weight in self.weights]  # float32 weights are their own masters
        self.schedule = schedule
        self.step_count = 0
        groups = [{"params": self.masters[: len(body)], "rate": 1.0}]
        if heads:
            groups.append({"params": self.masters[len(body) :], "rate": head_rate})
        self.adamw = torch.optim.AdamW(groups, weight_decay=schedule.weight_decay, fused=True)

    def accumulate(self, loss: Tensor) -> None:
        """Backpropagate the loss of a part of the batch; gradients of parts add up in float32 until the step."""
        loss.backward()  # type: ignore[no-untyped-call]
        for weight, master in zip(self.weights, self.masters, strict=True):
            if weight.grad is None:
                continue
            part = weight.grad.float()
            master.grad = part if master.grad is None else master.grad + part
            weight.grad = None

    def step(self) -> None:
        """Move the weights by the gradients that have added up."""
        torch.nn.utils.clip_grad_norm_(self.masters, GRADIENT_NORM)
        for group in self.adamw.param_groups:
            group["lr"] = group["rate"] * self.schedule.rate(self.step_count)
        self.adamw.step()
        self.step_count += 1
        for master in self.masters:
            master.grad = None
        self._round_weights()

    def state(self) -> dict[str, Any]:
        """What a training needs to resume from here, for ``torch.save``."""
        return {"masters": self.masters, "adamw": self.adamw.state_dict(), "step_count": self.step_count}

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from what :meth:`state` gave, weights included."""
        for master, saved in zip(self.masters, state["masters"], strict=True):
            master.copy_(saved)
        self.adamw.load_state_dict(state["adamw"])
        self.step_count = state["step_count"]
        self._round_weights()

    def _round_weights(self) -> None:
        with torch.no_grad():
            for weight, master in zip(self.weights, self.masters, strict=True):
                weight.copy_(master)
