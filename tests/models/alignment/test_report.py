"""What is judged of predicted rates: by hand, on test histories."""

import numpy as np
import polars as pl
import pytest
from scipy.special import logit
from scipy.stats import beta, betabinom
from support.alignment import LABELS, toy_examples

from models.alignment import report
from models.alignment.candidate_reader import CandidateStates
from models.alignment.examples import group_by_history
from models.alignment.predicted_rates import PredictedRates, RateMap
from models.alignment.report import JudgedModel, judge
from models.alignment.stack_offsets import StackOffsets
from models.evaluation.metrics import evaluate_ranking
from models.evaluation.ranking_contest import MODEL

RATE_MAP = RateMap(np.array([0.0, 1.0]), np.array([0.05, 0.85]), np.ones(len(LABELS)))


def score(read):
    return [
        np.array([(3 * cluster + sum(history)) % 7 / 7 for cluster in clusters])
        for history, clusters in zip(read.histories, read.candidates, strict=True)
    ]


@pytest.mark.parametrize("concentration", [6.0, 60.0])
def test_intervals_are_judged_with_the_concentration_that_they_are_told_with(concentration):
    examples = toy_examples()
    learned = PredictedRates(RATE_MAP, concentration)
    model = JudgedModel(lambda histories, candidates: CandidateStates(histories, candidates, []), score, learned)
    figures = judge(model, examples, LABELS, 2, None, 0).figures
    within, widths = [], []
    for row in group_by_history(examples, len(LABELS))["test"]:
        for cluster, observed, n in zip(row.clusters, row.rates, row.impressions, strict=True):
            rate = 0.05 + 0.8 * ((3 * cluster + sum(row.history)) % 7 / 7)
            a, b = concentration * rate, concentration * (1 - rate)
            low, high = betabinom.ppf([0.05, 0.95], n, a, b)
            within.append(low <= round(observed * n) <= high)
            widths.append(np.diff(beta.ppf([0.05, 0.95], a, b))[0])
    assert figures["predictive_coverage"] == pytest.approx(np.mean(within))
    assert figures["interval_width"] == pytest.approx(np.median(widths))


def judged(examples, k, embeddings):
    model = JudgedModel(
        lambda histories, candidates: CandidateStates(histories, candidates, []), score, PredictedRates(RATE_MAP, 6.0)
    )
    return judge(model, examples, LABELS, k, embeddings, 0)


def test_clusters_kept_from_training_are_ranked_among_themselves_with_what_was_served_beside_them(monkeypatch):
    kept = [1, 2, 4, 6, 7]
    examples = toy_examples().with_columns(unseen=pl.col("cluster_id").is_in(kept))
    served = []
    known = report.nearest_label_scores
    monkeypatch.setattr(
        report,
        "nearest_label_scores",
        lambda h, c, clusters, *others: (served.append(clusters), known(h, c, clusters, *others))[1],
    )
    found = judged(examples, 1, np.eye(len(LABELS)))
    (clusters,) = served
    assert set(clusters) == set(range(len(LABELS))) - set(kept)
    taught = examples.filter(~pl.col("unseen") & (pl.col("split") == "train"))
    assert sorted(clusters) == sorted(taught["cluster_id"])
    names = {
        f"unseen_{measure}_at_k{suffix}" for measure in ("f1", "ndcg") for suffix in ("", "_random", "_nearest_label")
    }
    assert names <= set(found.intervals)
    assert all(found.intervals[name][0] <= found.figures[name] <= found.intervals[name][1] for name in names)
    assert found.notes == ()


def test_too_few_clusters_kept_from_training_are_one_note():
    examples = toy_examples().with_columns(unseen=pl.col("cluster_id").is_in([1]))
    found = judged(examples, 2, np.eye(len(LABELS)))
    assert found.figures["unseen_f1_at_k"] is None
    (note,) = found.notes
    assert note.startswith("no figures on clusters never served: ")


def test_further_cuts_are_of_model_and_random():
    generator = np.random.default_rng(0)
    rates = [generator.random(20) for _ in range(3)]
    scores = {name: [generator.random(20) for _ in rates] for name in (MODEL, "random", "prior")}
    found = report._by_cut(scores, rates)
    assert set(found) == {1, 3, 5, 10}
    for cut, figures in found.items():
        model, random = (evaluate_ranking(scores[name], rates, cut) for name in (MODEL, "random"))
        expected = {
            "f1": model.f1_at_k,
            "ndcg": model.ndcg_at_k,
            "f1_random": random.f1_at_k,
            "ndcg_random": random.ndcg_at_k,
        }
        assert figures == expected


def test_the_share_of_words_is_of_histories_with_two_times_k_candidates_certain_ones_too():
    generator = np.random.default_rng(0)
    bias, affinity = generator.normal(size=8), generator.normal(size=(8, 8))
    offsets = StackOffsets(bias, affinity, np.zeros(8, dtype=bool), bias / 2, affinity / 3)
    read = CandidateStates([[0, 1], [2, 3]], [[2, 4, 5, 7], [0, 1, 6]], [])
    scores = [np.array([1.0, 0.5, 0.0, 0.3]), np.array([0.1, 0.9, 0.2])]
    model = JudgedModel(None, None, PredictedRates(RATE_MAP, 6.0), offsets=offsets)
    log_odds = logit(np.clip(scores[0], 1e-12, 1 - 1e-12))
    told = bias[[2, 4, 5, 7]] / 2 + affinity[:2][:, [2, 4, 5, 7]].sum(axis=0) / 3
    words = log_odds - bias[[2, 4, 5, 7]] - affinity[:2][:, [2, 4, 5, 7]].sum(axis=0) + told
    found = report._words_figures(model, scores, read, 2)
    assert found["spread_of_scores"] == pytest.approx(log_odds.std())
    assert found["spread_of_words"] == pytest.approx(words.std())


def test_without_test_histories_no_cell_is_predicted():
    examples = toy_examples()
    found = judged(examples.filter(pl.col("split") != "test"), 2, None)
    assert found.predicted.shape == found.observed.shape == (0,)
    assert found.figures["ece"] is None
