"""What a stack adds to the logits of its language model, and which head of the model scores each cluster.

A served cluster is scored by the head that was fitted beside biases and affinities, and gets both of them. A cluster
without training cells has none of its own: it is scored by the head that was fitted for that, see ``never_served``.
What heads on label vectors say is a bias and an affinity too, of either kind of cluster (``label_features``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.arrays import BoolArray, Float64Array, IntArray
from models.feedback.affinity import AdditiveAffinity
from models.files import replacing

FILE = "offsets.npz"
HEADS = 2  # rows of the score layer: of served clusters, and of those that were never served


@dataclass(frozen=True, eq=False)
class StackOffsets:
    """In log-odds.

    Attributes:
        bias: [N] with the constant; clusters never served have no other but what their label vectors say.
        affinity: [N, N], member by offered cluster; likewise.
        never_served: [N] which clusters have no training cells.
        label_bias, label_affinity: the parts of both that the label vectors say.
    """

    bias: Float64Array
    affinity: Float64Array
    never_served: BoolArray
    label_bias: Float64Array
    label_affinity: Float64Array

    def scores(self, histories: Sequence[Sequence[int]], candidates: Sequence[Sequence[int]]) -> list[Float64Array]:
        """Offset of each candidate of each history."""
        return AdditiveAffinity(self.bias, self.affinity).scores(histories, candidates)

    def label_words(
        self, histories: Sequence[Sequence[int]], candidates: Sequence[Sequence[int]]
    ) -> list[Float64Array]:
        """The part of each offset that the label vectors say."""
        return AdditiveAffinity(self.label_bias, self.label_affinity).scores(histories, candidates)

    def heads(self, candidates: Sequence[Sequence[int]]) -> IntArray:
        """[candidates in all] the row of the score layer that scores each."""
        clusters = [cluster for chosen in candidates for cluster in chosen]
        return np.asarray(self.never_served[clusters], dtype=np.int64)

    def save(self, folder: Path) -> None:
        """Write them into the folder of the checkpoint."""
        with replacing(folder / FILE) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **vars(self))

    @classmethod
    def load(cls, folder: Path) -> "StackOffsets | None":
        """Read what :meth:`save` wrote; None for the folder of a model that is no stack."""
        if not (folder / FILE).is_file():
            return None
        with np.load(folder / FILE) as arrays:
            return cls(**arrays)
