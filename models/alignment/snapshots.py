"""What an evaluation judged, and what is saved if nothing was better: trained weights, and the offsets of a stack."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.alignment.candidate_reader import CandidateReader
from models.alignment.stack_offsets import StackOffsets


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A model at one evaluation.

    Attributes:
        weights: of all that trains, with the heads that were judged.
        offsets: of the stack that was judged; None: no stack.
    """

    weights: dict[str, Tensor]
    offsets: StackOffsets | None

    @classmethod
    def of(cls, reader: CandidateReader) -> "Snapshot":
        """The model as it is."""
        named = reader.model.named_parameters()
        return cls({name: weight.detach().clone() for name, weight in named if weight.requires_grad}, reader.offsets)

    def put_into(self, reader: CandidateReader) -> None:
        """Give a model of the same kind these weights, these heads and these offsets."""
        reader.model.load_state_dict(self.weights, strict=False)
        reader.offsets = self.offsets

    def state(self) -> dict[str, Any]:
        """As tensors, which ``torch.load`` reads without running code."""
        return {"weights": self.weights, "offsets": offset_tensors(self.offsets)}

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> "Snapshot":
        """Read what :meth:`state` made."""
        return cls(state["weights"], offsets_of(state["offsets"]))


def offset_tensors(offsets: StackOffsets | None) -> list[Tensor]:
    """The arrays of the offsets; empty without any."""
    return [] if offsets is None else [torch.from_numpy(values) for values in vars(offsets).values()]


def offsets_of(tensors: list[Tensor]) -> StackOffsets | None:
    """Read what :func:`offset_tensors` made."""
    return StackOffsets(*(values.numpy() for values in tensors)) if tensors else None
