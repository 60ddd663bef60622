"""The two losses of the alignment model: on the score as a soft label, and on pairs of clusters of one history."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from models.alignment.examples import ServedHistory
from models.arrays import Float64Array


def soft_label_loss(logits: Tensor, scores: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of the binary cross-entropy -(L log p + (1 - L) log(1 - p)) with p = sigmoid(logit)."""
    losses = binary_cross_entropy_with_logits(logits, scores, reduction="none")
    return (losses * weights).sum() / weights.sum()


def pairwise_loss(better: Tensor, worse: Tensor, probabilities: Tensor) -> Tensor:
    """Mean binary cross-entropy of the order, whose model is sigmoid(better - worse) (Bradley and Terry 1952).

    The soft label is the probability that the order is real: a pair at 1/2 draws the two logits together, and teaches
    no order.
    """
    return binary_cross_entropy_with_logits(better - worse, probabilities)


def served_loss(logits: Tensor, served: Sequence[ServedHistory], kind: str) -> Tensor:
    """The loss of logits [clusters in all] over all served clusters, or all pairs, of some histories.

    Args:
        logits: of the served clusters, histories in order.
        served: the histories.
        kind: ``pointwise`` or ``pairwise``.
    """
    if kind == "pairwise":
        first = np.cumsum([0, *(len(row.clusters) for row in served[:-1])])
        places = np.concatenate([row.pairs + offset for row, offset in zip(served, first, strict=True)])
        probabilities = torch.from_numpy(np.concatenate([row.pair_probabilities for row in served])).to(logits)
        return pairwise_loss(logits[places[:, 0]], logits[places[:, 1]], probabilities)
    weights = torch.from_numpy(evidence_of(served, kind)).to(logits)
    scores = torch.from_numpy(np.concatenate([row.scores for row in served])).to(logits)
    return soft_label_loss(logits, scores, weights)


def evidence_of(served: Sequence[ServedHistory], kind: str) -> Float64Array:
    """[clusters or pairs in all] the weights of the loss; pairs count alike."""
    pairwise = kind == "pairwise"
    return np.concatenate([np.ones(len(row.pairs)) if pairwise else row.weights for row in served])
