"""The two heads of a stack, that of clusters that were never served among them, and the offsets that go with them.

The spread of the head beside biases and affinities is chosen on served clusters, where it has to tell only what these
leave over. A cluster without training cells has nothing but its words. So its head is fitted alone, and its penalty is
the one of least error where whole clusters are left out: it has to hold for clusters of which nothing is known.
"""

import numpy as np

from models.alignment.candidate_reader import CandidateReader
from models.alignment.joint_head import JointCells, JointHead, Spreads, choose_spreads, fit_joint_head
from models.alignment.linear_head import HEAD_FOLDS, ridge, working_logits
from models.alignment.stack_offsets import StackOffsets
from models.arrays import Float64Array
from models.progress import Log


def fit_stack(reader: CandidateReader, cells: JointCells, validation: JointCells | None, log: Log) -> Spreads:
    """Fit heads and offsets to the body of the reader as it is, and put them in place."""
    spreads = choose_spreads(cells, validation)
    joint = fit_joint_head(cells, spreads)
    heads = np.stack([joint.head, fit_never_served(cells)])
    reader.set_heads(heads)
    reader.offsets = stack_offsets(cells, joint, heads[1], reader.head_weights())
    log(
        f"head and affinities fitted to {len(cells.rates):,} cells; spreads in log-odds: head {spreads.head:g}, "
        f"embeddings {spreads.embedding:g}, own affinities {spreads.affinity:g}"
    )
    return spreads


def fit_never_served(cells: JointCells) -> Float64Array:
    """[hidden] the head, fitted to all cells; the constant is in it, as states are far from 0."""
    _, cluster = np.unique(cells.clusters, return_inverse=True)
    targets = working_logits(cells.rates, cells.weights)
    return ridge(cells.states, targets, cells.weights, cluster % HEAD_FOLDS)[1]


def stack_offsets(
    cells: JointCells, joint: JointHead, never_served: Float64Array, rounded: Float64Array
) -> StackOffsets:
    """The offsets for two heads in lower precision, such that the mean log-odds of each stay the same.

    Some states are far from 0 and hardly vary: bfloat16 changes such a coefficient by half a percent, which moves every
    prediction.

    Args:
        cells: that both heads were fitted to.
        joint: head and offsets of served clusters.
        never_served: [hidden] the head of the others.
        rounded: [2, hidden] both heads, as they will be used.
    """
    unknown = np.bincount(cells.clusters, minlength=len(joint.offsets.bias)) == 0
    moved = (np.stack([joint.head, never_served]) - rounded) @ joint.middle
    return StackOffsets(
        bias=np.where(unknown, moved[1], joint.offsets.bias + moved[0]),
        affinity=np.where(unknown, 0.0, joint.offsets.affinity),
        never_served=unknown,
    )
