"""Scores of a trained model: those of single candidates, whatever the order of a history."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.alignment import LABELS, QUICK, logit_alone, score_candidates, toy_examples

from models.alignment import scoring
from models.alignment.candidate_reader import CandidateReader
from models.alignment.scoring import CandidateScorer
from models.alignment.training import train_alignment_model
from models.language.language_model import load_scoring_model, load_tokenizer
from models.progress import silent


@pytest.fixture(scope="module")
def trained(tiny_model_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alignment") / "model"
    train_alignment_model(tiny_model_folder, folder, LABELS, toy_examples(), QUICK, k=2)
    return folder


def test_scores_are_those_of_single_candidates(trained):
    histories = [[a, b] for a, b in combinations(range(6), 2)]
    candidates = [[c for c in range(len(LABELS)) if c not in history] for history in histories]
    candidates[4] = []
    scores = score_candidates(trained, LABELS, histories, candidates)
    reader = CandidateReader(load_scoring_model(trained), load_tokenizer(trained), LABELS)
    for history, clusters, values in zip(histories, candidates, scores, strict=True):
        expected = [torch.sigmoid(logit_alone(reader, history, cluster)).item() for cluster in clusters]
        np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_a_history_is_read_as_a_set(trained):
    (one,), (other,) = (score_candidates(trained, LABELS, [history], [[4, 5]]) for history in ([1, 2], [2, 1]))
    assert one.tolist() == other.tolist()


@pytest.mark.parametrize(
    ("histories", "multiplier", "heads", "own", "spares"),
    [
        (scoring.SAMPLE + 1, 1.0, [1.0, 0.0], True, True),
        (scoring.SAMPLE, 1.0, [1.0, 0.0], True, False),
        (scoring.SAMPLE + 1, 2.0, [1.0, 0.0], True, False),  # it ranks by more than its logits
        (scoring.SAMPLE + 1, 1.0, [0.0, 1.0], True, False),  # no served cluster is read
        (scoring.SAMPLE + 1, 1.0, [1.0, 0.0], False, False),  # vLLM reads
    ],
)
def test_readings_are_spared_where_that_pays(histories, multiplier, heads, own, spares, monkeypatch):
    scorer = CandidateScorer.__new__(CandidateScorer)
    scorer.cascade = None
    scorer.learned = SimpleNamespace(rate_map=SimpleNamespace(multipliers=np.array([1.0, multiplier])))
    scorer.reader = CandidateReader.__new__(CandidateReader) if own else SimpleNamespace()
    scorer.reader.head_weights = lambda: np.array(heads)[:, None]
    asked = []
    monkeypatch.setattr(scoring.Cascade, "tuned", lambda *given: asked.append(given) or "cascade")
    scorer.spare_readings([[5, 2]] * histories, [[1]] * histories, 3, 0.1, silent)
    assert scorer.cascade == ("cascade" if spares else None)
    if spares:
        assert asked == [(scorer.reader, [[2, 5]] * histories, [[1]] * histories, 3, 0.1, silent)]


def test_an_untrained_folder_and_unknown_candidates_are_refused(tiny_model_folder, trained, tmp_path):
    for folder in (tiny_model_folder, tmp_path):
        with pytest.raises(ValueError, match="holds no alignment model"):
            score_candidates(folder, LABELS, [[0, 1]], [[2]])
    with pytest.raises(ValueError, match="candidate 8 is not a cluster: there are 8"):
        score_candidates(trained, LABELS, [[0, 1]], [[8]])
