"""The two losses of the alignment model: on the score as a soft label, and on pairs of clusters of one history."""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


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
