"""vLLM's scores against the packed ones, on a model of its own size in float32 (`make test-vllm`)."""

from contextlib import closing

import numpy as np
import pytest
from support.tuned import HISTORIES, LABELS

from models.alignment.candidate_reader import CandidateReader
from models.alignment.stack_offsets import HEADS, StackOffsets
from models.alignment.vllm_scorer import VllmScorer
from models.language.language_model import load_tokenizer, new_scoring_model, save_checkpoint

pytestmark = pytest.mark.vllm


def test_scores_equal_the_packed_ones(vllm_model_folder, tmp_path):
    folder = tmp_path / "alignment"
    model = new_scoring_model(vllm_model_folder, seed=3, layers=3, heads=HEADS)
    reader = CandidateReader(model, load_tokenizer(vllm_model_folder), LABELS)
    reader.offsets = StackOffsets(np.linspace(-1, 1, 8), np.arange(64.0).reshape(8, 8) / 64, np.arange(8) == 5)
    save_checkpoint(model, reader.tokenizer, folder)
    reader.offsets.save(folder)
    histories = [list(history) for history in HISTORIES[:28]]
    candidates = [[cluster for cluster in range(8) if cluster not in history] for history in histories]
    candidates[3] = []
    expected = reader.all_logits(histories, candidates)
    with closing(VllmScorer(folder, LABELS)) as scorer:
        found = scorer.all_logits(histories, candidates)
    assert [len(row) for row in found] == [len(row) for row in expected]
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), atol=1e-3)
