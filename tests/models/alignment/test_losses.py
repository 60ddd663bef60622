"""Both losses by hand."""

import numpy as np
import pytest
import torch

from models.alignment.losses import pairwise_loss, soft_label_loss


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


def test_loss_by_hand():
    loss = soft_label_loss(torch.tensor([0.0, 2.0]), torch.tensor([0.3, 1.0]), torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((np.log(2) + 3 * np.log(1 + np.exp(-2))) / 4, rel=1e-5)
