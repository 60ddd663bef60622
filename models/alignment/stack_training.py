"""What the language model of a stack is trained by: two heads, and affinities that have not seen the labels.

Each cell is predicted twice, and the loss is the mean of both. As a cluster that was served: by the first head, beside
affinities that were fitted without the cell's history. Affinities that have seen a label have explained its noise too,
and would leave the words a wrong rest. And as a cluster that was never served: by the second head alone, so that the
words have to carry everything.

The heads work on standardised states: some coordinates of a state vary a thousand times as much as others, and steps of
one size suit them only in units of their own spread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.alignment.examples import ServedHistory
from models.alignment.joint_cells import JointCells, standards
from models.alignment.joint_head import Spreads, fit_joint_head
from models.arrays import AnyFloatArray, Float64Array

FOLDS = 5
HEAD_RATE = 10.0  # steps of the heads, as a multiple of those of the body: they have to follow it


class StackTraining:
    """The heads while the body trains, and the offsets of every training history.

    Args:
        weights: [2, hidden] of standardised states: heads of served clusters, and of those never served.
        middle: [hidden] mean of the states.
        scale: [hidden] by which they are divided.
        constant: log-odds of the mean rate.
        offsets: of each training history those of its clusters.
    """

    def __init__(
        self, weights: Tensor, middle: Tensor, scale: Tensor, constant: float, offsets: Mapping[tuple[int, ...], Tensor]
    ) -> None:
        self.weights = nn.Parameter(weights)
        self.middle, self.scale, self.constant = middle, scale, constant
        self.offsets = offsets

    @classmethod
    def start(
        cls,
        cells: JointCells,
        heads: Float64Array,
        spreads: Spreads,
        training: Sequence[ServedHistory],
        device: torch.device,
    ) -> "StackTraining":
        """Begin at the heads [2, hidden] and with the spreads of the stack that was fitted to the cells."""

        def tensor(values: Float64Array) -> Tensor:
            return torch.from_numpy(values).float().to(device)

        middle, scale = standards(cells.states, cells.weights)
        offsets = left_out_offsets(training, cells.members.shape[1], cells.vectors, spreads)
        return cls(
            tensor(heads * scale),
            tensor(middle),
            tensor(scale),
            cells.mean_log_odds(),
            {history: tensor(values) for history, values in offsets.items()},
        )

    def logits(self, states: Tensor, served: Sequence[ServedHistory]) -> tuple[Tensor, Tensor]:
        """[candidates in all] each, of the states [candidates in all, hidden]: as served, and as never served."""
        both = ((states - self.middle) / self.scale) @ self.weights.T
        offsets = torch.cat([self.offsets[tuple(row.history)] for row in served])
        return both[:, 0] + offsets, both[:, 1] + self.constant

    def state(self) -> dict[str, Any]:
        """All that it was made of, for ``torch.save``."""
        return vars(self) | {"weights": self.weights.detach()}


def left_out_offsets(
    training: Sequence[ServedHistory], clusters: int, vectors: AnyFloatArray, spreads: Spreads
) -> dict[tuple[int, ...], Float64Array]:
    """By history the offsets of its clusters, from biases and affinities that were fitted without its fold.

    Args:
        training: all training histories.
        clusters: N.
        vectors: [N, dimensions] of the labels.
        spreads: of biases, affinities and the head on label vectors.
    """
    found: dict[tuple[int, ...], Float64Array] = {}
    for fold in range(FOLDS):
        out = training[fold::FOLDS]
        kept = [row for place, row in enumerate(training) if place % FOLDS != fold] or out  # of a single history
        no_words = np.zeros((sum(len(row.clusters) for row in kept), 1))
        fitted = fit_joint_head(JointCells.of(no_words, kept, clusters, vectors), replace(spreads, head=0.0))
        offsets = fitted.offsets.scores([row.history for row in out], [row.clusters for row in out])
        found |= {tuple(row.history): values for row, values in zip(out, offsets, strict=True)}
    return found
