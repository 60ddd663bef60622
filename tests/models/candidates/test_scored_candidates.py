"""Scores of candidates: one row each, in shards, and back in the order of the pools."""

import numpy as np
import polars as pl

from models.alignment.cascade import Spared
from models.alignment.scoring import CandidatePredictions
from models.candidates.scored_candidates import PREDICTIONS, score_in_shards, with_scores, without_scores

CANDIDATES = pl.DataFrame(
    {
        "history": [[0, 1], [0, 1], [0, 2], [1, 2], [1, 2], [1, 2]],
        "draw_order": [1, 2, 1, 1, 2, 3],
        "cluster_id": [5, 3, 4, 6, 3, 5],
    }
)


class Scorer:
    """Scores a cluster by its id and its history."""

    micro_batch = 1

    def __init__(self):
        self.asked = []
        self.spared = Spared(0.0, 0.0)

    def spare_readings(self, histories, candidates, k, most_lost, log):
        self.asked.append((len(histories), k, most_lost))

    def predict(self, histories, candidates):
        self.asked.append(histories)
        scores = [sum(h) + np.array(c) / 10 for h, c in zip(histories, candidates, strict=True)]
        parts = ([part * score for score in scores] for part in (0.5, 0.4, 0.6))
        return CandidatePredictions(scores, *parts, read=[score > 0 for score in scores])


def test_each_candidate_gets_the_scores_of_its_pair(tmp_path):
    scorer = Scorer()
    facts = score_in_shards(CANDIDATES, scorer, tmp_path / "shards", 2, k=2, most_lost=0.01)
    assert facts == {"share_read": 1.0, "lost": 0.0, "winners_changed": 0.0}
    assert scorer.asked == [(3, 2, 0.01), [[0, 1], [0, 2]], [[1, 2]]]
    rows = with_scores(CANDIDATES, tmp_path / "shards")
    assert rows.drop(*PREDICTIONS).equals(CANDIDATES)
    np.testing.assert_allclose(rows["alignment_score"], [1.5, 1.3, 2.4, 3.6, 3.3, 3.5])
    np.testing.assert_allclose(rows["predicted_rate"], rows["alignment_score"] / 2)
    assert (rows["rate_lower"] < rows["rate_upper"]).all()


def test_without_a_model_the_scores_are_empty():
    rows = without_scores(CANDIDATES)
    assert rows.columns == [*CANDIDATES.columns, *PREDICTIONS]
    assert all(
        rows[name].dtype == kind and rows[name].null_count() == rows.height for name, kind in PREDICTIONS.items()
    )
