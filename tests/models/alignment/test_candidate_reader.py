"""Candidates read in packed passes, against each of them alone."""

import numpy as np
import pytest
import torch
from support.alignment import LABELS, logit_alone

from models.alignment import candidate_reader
from models.alignment.candidate_reader import CandidateReader
from models.alignment.stack_offsets import StackOffsets
from models.language.language_model import load_tokenizer, new_scoring_model


@pytest.fixture(scope="module")
def reader(tiny_model_folder):
    return CandidateReader(
        new_scoring_model(tiny_model_folder, seed=0, layers=None), load_tokenizer(tiny_model_folder), LABELS
    )


def test_packed_logits_equal_one_by_one(reader):
    histories, candidates = [[3, 0], [5, 6], [1, 2]], [[4, 1, 7], [0], [7, 6, 5, 4, 3]]
    expected = [[logit_alone(reader, h, c).item() for c in cs] for h, cs in zip(histories, candidates, strict=True)]
    np.testing.assert_allclose(
        reader.logits(histories, candidates).detach(), np.concatenate(expected), rtol=1e-4, atol=1e-5
    )


def offsets(label_affinity=0.0):
    """Of a stack; cluster 7 was never served."""
    generator = np.random.default_rng(0)
    bias, affinity = generator.normal(size=8), generator.normal(size=(8, 8))
    return StackOffsets(bias, affinity, np.arange(8) == 7, bias, np.full((8, 8), label_affinity))


def test_all_logits_are_those_of_what_is_read_at_once(reader, monkeypatch):
    """Five histories in three passes; the second has no candidates, and none of the third pass has."""
    monkeypatch.setattr(reader, "offsets", offsets())
    monkeypatch.setattr(reader, "heads", torch.cat([reader.heads.detach(), -reader.heads.detach()]))
    histories = [[3, 0], [5, 6], [1, 2], [0, 1], [2, 4]]
    candidates = [[4, 1, 7], [], [7, 6, 5, 4, 3], [2], []]
    at_once = reader.score(reader.read(histories, candidates))
    monkeypatch.setattr(candidate_reader, "HISTORIES_PER_PASS", 2)
    for found in (reader.score(reader.read(histories, candidates)), reader.all_logits(histories, candidates)):
        for some, expected in zip(found, at_once, strict=True):
            np.testing.assert_allclose(some, expected, rtol=1e-4, atol=1e-5)


def test_a_candidate_has_its_own_head_and_its_offset(reader, monkeypatch):
    words = [np.array([[1.0, 10.0], [2.0, 20.0]]), np.zeros((0, 2))]
    asked = [[3, 0], [5, 6]], [[4, 7], []]
    assert [found.tolist() for found in reader.own_logits(words, *asked)] == [[1.0, 2.0], []]
    given = offsets()
    monkeypatch.setattr(reader, "offsets", given)
    found, nothing = reader.own_logits(words, *asked)
    known = given.bias[[4, 7]] + given.affinity[3, [4, 7]] + given.affinity[0, [4, 7]]
    np.testing.assert_allclose(found, np.array([1.0, 20.0]) + known)
    assert nothing.shape == (0,)


@pytest.mark.parametrize(
    ("stack", "label_affinity", "heads", "told", "read"),
    [
        (False, 0.0, [1.0, 0.0], "language model", [True, True]),
        (True, 0.0, [1.0, 0.0], "language model + additive affinity", [True, False]),
        (True, 0.5, [0.0, 0.0], "label vectors + additive affinity", [False, False]),
        (True, 0.0, [0.0, 1.0], "language model + additive affinity", [False, True]),
    ],
)
def test_a_candidate_whose_head_is_0_is_not_read(reader, monkeypatch, stack, label_affinity, heads, told, read):
    monkeypatch.setattr(reader, "offsets", offsets(label_affinity) if stack else None)
    monkeypatch.setattr(reader, "heads", torch.tensor(heads)[:, None] * torch.ones(2, 3))
    assert reader.structure() == told
    found, nothing = reader.reads([[4, 7], []])
    assert (found.tolist(), nothing.tolist()) == (read, [])
