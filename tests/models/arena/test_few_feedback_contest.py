"""The contest over the density of feedback: words that tell the truth, and from which density on they win."""

import numpy as np
import polars as pl
import pytest
import torch

from models.alignment.candidate_reader import CandidateStates
from models.arena.few_feedback import FewFeedback
from models.arena.few_feedback_contest import COUNTS, contest_at, figures_of, words_win_from
from models.progress import silent

CLUSTERS, HISTORIES, JUDGED = 30, 60, 25
APART = range(24, CLUSTERS)


@pytest.fixture(scope="module")
def arms():
    """What users like is a sum over words of the cluster, which the states tell; the members of a history are noise."""
    generator = np.random.default_rng(0)
    words = generator.normal(size=(CLUSTERS, 3))
    rates = 1 / (1 + np.exp(1.0 - words @ np.array([1.0, -0.8, 0.6])))
    pairs = [[a, b] for b in range(CLUSTERS) for a in range(b)]
    histories = [pairs[place] for place in generator.permutation(len(pairs))[: HISTORIES + JUDGED]]
    taught, judged = [], []
    for number, history in enumerate(histories):
        offered = [cluster for cluster in generator.permutation(CLUSTERS).tolist() if cluster not in history]
        if number < HISTORIES:
            served = [cluster for cluster in offered if cluster not in APART][:3]
            taught += [(number, history, cluster, 20, generator.binomial(20, rates[cluster])) for cluster in served]
        else:
            judged += [(history, cluster, 10, rates[cluster], cluster in APART) for cluster in offered]
    feedback = FewFeedback(
        pl.DataFrame(taught, schema=["number", "history", "cluster_id", "impressions", "positives"], orient="row"),
        pl.DataFrame(judged, schema=["history", "cluster_id", "users", "true_rate", "apart"], orient="row"),
    )
    cells = pl.concat([frame.select("history", "cluster_id") for frame in (feedback.taught, feedback.judged)])
    grouped = cells.group_by("history", maintain_order=True).agg("cluster_id")
    candidates = grouped["cluster_id"].to_list()
    states = torch.from_numpy(words[[cluster for chosen in candidates for cluster in chosen]]).float()
    read = [CandidateStates(grouped["history"].to_list(), candidates, [states])]
    embeddings = generator.normal(size=(CLUSTERS, 4))
    return [contest_at(density, feedback, read, embeddings, 2, 0, silent) for density in (0.3, 0.05)]


def test_words_rank_what_nobody_was_served(arms):
    for arm in arms:
        values = arm["apart"]["values"]
        for name in ("prior", "additive", "training_means"):  # they know nothing of these clusters
            assert values[name] == values["random"]
        assert values["model"]["ndcg_at_k"] > values["random"]["ndcg_at_k"] + 0.1
        assert values["language_model"]["ndcg_at_k"] > values["random"]["ndcg_at_k"] + 0.1
        low, high = arm["apart"]["leads"]["additive"]["ndcg_at_k"]
        assert 0 < low < values["model"]["ndcg_at_k"] - values["additive"]["ndcg_at_k"] < high


def test_less_feedback_teaches_less(arms):
    much, little = arms
    assert much["share"] == pytest.approx(0.3, abs=0.02)
    assert little["share"] == pytest.approx(0.05, abs=0.01)
    assert little["cells"] < much["cells"]
    assert little["impressions"] == 20 * little["cells"]
    assert little["served"]["values"]["prior"]["ndcg_at_k"] < much["served"]["values"]["prior"]["ndcg_at_k"]
    assert little["served"]["histories"] == JUDGED


def test_figures_are_named_by_contestant_part_and_density(arms):
    figures = figures_of(arms)
    assert figures["ndcg_at_k_additive_served_0.05"] == arms[1]["served"]["values"]["additive"]["ndcg_at_k"]
    assert figures["ndcg_at_k_words_win_from_apart"] == 0.3


def arm(density, lows):
    leads = {name: {"ndcg_at_k": (low, low + 0.1)} for name, low in zip(COUNTS, lows, strict=True)}
    return {"density": density, "served": {"leads": leads}}


def test_words_win_only_where_they_win_at_every_lower_density():
    win, lose = (0.1, 0.1, 0.1, 0.01), (0.1, 0.1, 0.1, -0.01)
    found = [
        words_win_from([arm(0.1, first), arm(0.01, second), arm(0.001, third)], "served", "leads", "ndcg_at_k")
        for first, second, third in ((win, win, win), (lose, win, win), (win, lose, win), (win, win, lose))
    ]
    assert found == [0.1, 0.01, 0.001, None]
