"""Both losses by hand."""

import numpy as np
import pytest
import torch

from models.alignment.losses import pairwise_loss, soft_label_loss


def test_pairwise_loss_by_hand():
    better, worse, weights = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0])
    expected = (np.log(1 + np.exp(-1)) + 3 * np.log(1 + np.exp(2))) / 4
    assert pairwise_loss(better, worse, weights).item() == pytest.approx(expected, rel=1e-5)


def test_loss_by_hand():
    loss = soft_label_loss(torch.tensor([0.0, 2.0]), torch.tensor([0.3, 1.0]), torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((np.log(2) + 3 * np.log(1 + np.exp(-2))) / 4, rel=1e-5)
