"""What the body of a stack is trained by: heads on standardised states, offsets that have not seen the labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit
from support.alignment import LABELS, QUICK, toy_examples

from models.alignment.examples import group_by_history, with_raw_rates
from models.alignment.joint_cells import JointCells
from models.alignment.joint_head import Spreads, fit_joint_head
from models.alignment.stack_training import FOLDS, StackTraining, left_out_offsets
from models.alignment.trainer import AlignmentTrainer
from models.progress import silent

SPREADS = Spreads(head=0.3, bias=0.6, embedding=0.1, affinity=0.1)
NO_VECTORS = np.zeros((len(LABELS), 0))


@pytest.fixture(scope="module")
def served():
    return group_by_history(with_raw_rates(toy_examples()), len(LABELS))


def test_offsets_have_not_seen_the_labels_of_their_history(served):
    training = served["train"]
    before = left_out_offsets(training, len(LABELS), NO_VECTORS, SPREADS)
    turned = [replace(row, rates=1 - row.rates) if place == 3 else row for place, row in enumerate(training)]
    after = left_out_offsets(turned, len(LABELS), NO_VECTORS, SPREADS)
    assert set(before) == {tuple(row.history) for row in training}
    for place, row in enumerate(training):
        same = np.array_equal(before[tuple(row.history)], after[tuple(row.history)])
        assert same == (place % FOLDS == 3)


def test_offsets_are_of_biases_and_affinities_without_words(served):
    training = served["train"]
    kept = [row for place, row in enumerate(training) if place % FOLDS]
    states = np.random.default_rng(0).normal(size=(sum(len(row.clusters) for row in kept), 3))
    offsets = fit_joint_head(JointCells.of(states, kept, len(LABELS)), replace(SPREADS, head=0.0)).offsets
    expected = offsets.scores([training[0].history], [training[0].clusters])[0]
    found = left_out_offsets(training, len(LABELS), NO_VECTORS, SPREADS)[tuple(training[0].history)]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert len(left_out_offsets(training[:1], len(LABELS), NO_VECTORS, SPREADS)) == 1


def test_heads_begin_where_they_were_fitted(served):
    rows, generator = served["train"], np.random.default_rng(0)
    states = generator.normal(5.0, [0.01, 1.0, 30.0], (sum(len(row.clusters) for row in rows), 3))
    cells, heads = JointCells.of(states, rows, len(LABELS)), generator.normal(size=(2, 3))
    stack = StackTraining.start(cells, heads, SPREADS, rows, torch.device("cpu"))
    read = torch.from_numpy(states).float()
    as_served, as_never_served = (logits.detach().numpy() for logits in stack.logits(read, rows))
    offsets = np.concatenate([stack.offsets[tuple(row.history)].numpy() for row in rows])
    middle = np.average(states, axis=0, weights=cells.weights)
    np.testing.assert_allclose(as_served, (states - middle) @ heads[0] + offsets, rtol=1e-3, atol=1e-3)
    mean = np.average(cells.rates, weights=cells.weights)
    np.testing.assert_allclose(as_never_served - (states - middle) @ heads[1], np.log(mean / (1 - mean)), atol=1e-3)
    again = StackTraining(**stack.state())
    assert torch.equal(again.logits(read, rows)[0], stack.logits(read, rows)[0])


def test_the_loss_of_a_stack_is_the_mean_over_both_heads(served, tiny_model_folder):
    trainer = AlignmentTrainer(tiny_model_folder, LABELS, replace(QUICK, stack=True, epochs=0.25), k=2)
    trainer.fit(served["train"], served["validation"], silent)
    rows = served["train"][:3]
    states = trainer.reader.states([row.history for row in rows], [row.clusters for row in rows])
    rates, weights = (np.concatenate([getattr(row, name) for row in rows]) for name in ("rates", "weights"))
    losses = []
    for logits in trainer.stack_training.logits(states, rows):
        chances = expit(logits.detach().numpy().astype(np.float64))
        losses.append(np.average(-rates * np.log(chances) - (1 - rates) * np.log(1 - chances), weights=weights))
    assert losses[0] != losses[1]
    assert trainer.loss(rows).item() == pytest.approx(np.mean(losses), rel=1e-5)
