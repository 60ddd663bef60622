"""The heads of a stack, those of clusters that were never served among them, and the offsets that go with them.

The spread of a head beside biases and affinities is chosen on served clusters, where it has to tell only what these
leave over. A cluster without training cells has nothing but its words. So its head is fitted alone, and its penalty is
the one of least error where whole clusters are left out: it has to hold for clusters of which nothing is known. Where
there are label vectors, it stands on them, unless one on the states of the language model proves better in the same
way.
"""

from dataclasses import dataclass

import numpy as np

from models.alignment.candidate_reader import CandidateReader
from models.alignment.joint_cells import JointCells
from models.alignment.joint_head import JointHead, Spreads, choose_spreads, fit_stack_head, is_proven
from models.alignment.label_features import folded
from models.alignment.linear_head import HEAD_FOLDS, Ridge, ridge, working_logits
from models.alignment.stack_offsets import StackOffsets
from models.arrays import Float64Array, IntArray
from models.feedback.affinity import AdditiveAffinity
from models.progress import Log


@dataclass(frozen=True, eq=False)
class NeverServedHead:
    """What scores clusters without training cells: one of the two is 0.

    Attributes:
        head: [hidden] on the states; the constant is in it, as states are far from 0.
        middle: [hidden] weighted mean state of the training cells.
        label_words: what the vectors of the labels say, with the constant.
    """

    head: Float64Array
    middle: Float64Array
    label_words: AdditiveAffinity


def fit_stack(
    reader: CandidateReader,
    cells: JointCells,
    everything: JointCells,
    validation: JointCells | None,
    k: int,
    log: Log,
    known: Spreads | None = None,
) -> Spreads:
    """Fit heads and offsets to the body of the reader as it is, and put them in place.

    Args:
        reader: the language model.
        cells: a sample of the training cells, with their states.
        everything: all training cells, with states of no columns.
        validation: cells to choose spreads by.
        k: the cut of NDCG.
        log: receives a line.
        known: see ``joint_head.choose_spreads``.
    """
    spreads = choose_spreads(cells, validation, k, log, known)
    joint, never_served = fit_stack_head(cells, everything, spreads), fit_never_served(cells, everything)
    taught = cells if spreads.head else everything
    reader.set_heads(np.stack([joint.head, never_served.head]))
    reader.offsets = stack_offsets(taught, joint, never_served, reader.head_weights())
    log(
        f"heads and affinities fitted to {len(taught.rates):,} cells; spreads in log-odds: head {spreads.head:g}, "
        f"label vectors {spreads.labels:g}, embeddings {spreads.embedding:g}, own affinities {spreads.affinity:g}"
    )
    return spreads


def fit_never_served(cells: JointCells, everything: JointCells) -> NeverServedHead:
    """The head, on the states of a sample or on the label vectors of all training cells, see :func:`fit_stack`."""
    middle, clusters = np.average(cells.states, axis=0, weights=cells.weights), cells.members.shape[1]
    on_states = ridge(cells.states, working_logits(cells.rates, cells.weights), cells.weights, _folds(cells))
    if cells.vectors.shape[1]:
        on_labels, _ = _fit_on_labels(cells)
        _, cluster = np.unique(cells.clusters, return_inverse=True)
        gains = np.bincount(cluster, weights=on_labels.errors - on_states.errors)
        if not is_proven(np.asarray(gains, dtype=np.float64)):
            return NeverServedHead(np.zeros(len(middle)), middle, _fit_on_labels(everything)[1])
    return NeverServedHead(on_states.head, middle, AdditiveAffinity(np.zeros(clusters), np.zeros((clusters, clusters))))


def _fit_on_labels(cells: JointCells) -> tuple[Ridge, AdditiveAffinity]:
    """A head on label features, and what scores as it does."""
    targets = working_logits(cells.rates, cells.weights)
    mean = float(np.average(targets, weights=cells.weights))
    x, middle, scale = _standardised_features(cells)
    fitted = ridge(x, targets - mean, cells.weights, _folds(cells))
    head = fitted.head / scale
    return fitted, folded(cells.vectors, head, mean - float(middle @ head))


def _folds(cells: JointCells) -> IntArray:
    """[rows] the fold of each one's cluster."""
    _, cluster = np.unique(cells.clusters, return_inverse=True)
    return np.asarray(cluster % HEAD_FOLDS, dtype=np.int64)


def _standardised_features(cells: JointCells) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Label features of mean 0, each half of mean square length 1, and what was subtracted and divided by.

    Within a half the coordinates keep their lengths: few clusters vary along few of them.
    """
    x = cells.label_features()
    middle = np.average(x, axis=0, weights=cells.weights)
    variance = np.average((x - middle) ** 2, axis=0, weights=cells.weights)
    lengths = [np.sqrt(half.sum()) or 1.0 for half in np.split(variance, 2)]
    scale = np.repeat(lengths, len(variance) // 2)
    return (x - middle) / scale, middle, scale


def stack_offsets(
    cells: JointCells, joint: JointHead, never_served: NeverServedHead, rounded: Float64Array
) -> StackOffsets:
    """The offsets for two heads in lower precision, such that the mean log-odds of each stay the same.

    Some states are far from 0 and hardly vary: bfloat16 changes such a coefficient by half a percent, which moves every
    prediction.

    Args:
        cells: that both heads were fitted to.
        joint: head and offsets of served clusters.
        never_served: the head of the others.
        rounded: [2, hidden] both heads, as they will be used.
    """
    unknown = np.bincount(cells.clusters, minlength=len(joint.offsets.bias)) == 0
    moved = ((joint.head - rounded[0]) @ joint.middle, (never_served.head - rounded[1]) @ never_served.middle)
    served, others = joint.label_words, never_served.label_words
    return StackOffsets(
        bias=np.where(unknown, others.bias + moved[1], joint.offsets.bias + moved[0]),
        affinity=np.where(unknown, others.affinity, joint.offsets.affinity),
        never_served=unknown,
        label_bias=np.where(unknown, others.bias, served.bias),
        label_affinity=np.where(unknown, others.affinity, served.affinity),
    )
