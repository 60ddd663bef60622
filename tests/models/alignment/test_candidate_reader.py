"""Candidates read in packed passes, against each of them alone."""

import numpy as np
import pytest
from support.alignment import LABELS, logit_alone

from models.alignment.candidate_reader import CandidateReader
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
