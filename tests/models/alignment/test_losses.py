"""Both losses by hand."""

import numpy as np
import pytest
import torch

from models.alignment.examples import ServedHistory
from models.alignment.losses import evidence_of, pairwise_loss, served_loss, soft_label_loss


def test_pairwise_loss_by_hand():
    better, worse, probabilities = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.75])
    expected = (np.log(1 + np.exp(-1)) + 0.75 * np.log(1 + np.exp(2)) + 0.25 * np.log(1 + np.exp(-2))) / 2
    assert pairwise_loss(better, worse, probabilities).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("probability", "lead", "slope"),
    [
        (0.5, 0.0, 0.0),  # a coin flip at equal logits: nothing to learn
        (0.5, np.log(3), 0.25),  # a coin flip: sigmoid(log 3) = 3/4 is 1/4 too much, the lead shrinks
        (0.5, -np.log(3), -0.25),
        (0.75, 0.0, -0.25),
        (0.75, np.log(3), 0.0),  # the lead says what is known, and stays
        (1.0, 0.0, -0.5),
    ],
)
def test_a_pair_is_drawn_to_the_lead_that_its_probability_says(probability, lead, slope):
    better, worse = (torch.tensor([logit], requires_grad=True) for logit in (0.3 + lead, 0.3))
    pairwise_loss(better, worse, torch.tensor([probability])).backward()
    assert better.grad.item() == pytest.approx(slope, abs=1e-6)
    assert worse.grad.item() == pytest.approx(-slope, abs=1e-6)


def served(clusters, scores, weights, pairs, probabilities):
    """A history whose clusters have scores, each with a weight, and the places of the better and the worse of pairs."""
    scores, counts = np.array(scores), np.ones(len(clusters), dtype=np.int64)
    pairs = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return ServedHistory([8, 9], clusters, scores, np.array(weights), scores, counts, pairs, np.array(probabilities))


SERVED = [
    served([0, 1, 2], [0.1, 0.5, 0.9], [1.0, 2.0, 3.0], [[2, 0], [1, 0]], [0.9, 0.6]),
    served([3, 4], [0.2, 0.4], [4.0, 5.0], [[1, 0]], [0.7]),
]
LOGITS = torch.tensor([0.0, 1.0, 3.0, -1.0, 0.5])


def test_pairs_of_several_histories_are_those_of_their_own_clusters():
    leads = torch.tensor([3.0, 1.0, 1.5])
    expected = pairwise_loss(leads, torch.zeros(3), torch.tensor([0.9, 0.6, 0.7]))
    assert served_loss(LOGITS, SERVED, "pairwise").item() == pytest.approx(expected.item(), rel=1e-6)
    assert evidence_of(SERVED, "pairwise").tolist() == [1.0, 1.0, 1.0]


def test_cells_of_several_histories_count_by_their_weights():
    expected = soft_label_loss(LOGITS, torch.tensor([0.1, 0.5, 0.9, 0.2, 0.4]), torch.arange(1.0, 6.0))
    assert served_loss(LOGITS, SERVED, "pointwise").item() == pytest.approx(expected.item(), rel=1e-6)
    assert evidence_of(SERVED, "pointwise").tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_loss_by_hand():
    loss = soft_label_loss(torch.tensor([0.0, 2.0]), torch.tensor([0.3, 1.0]), torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((np.log(2) + 3 * np.log(1 + np.exp(-2))) / 4, rel=1e-5)
