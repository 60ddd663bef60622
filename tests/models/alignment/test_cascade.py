"""Sparing readings: what may be left unread, how the margin is chosen, and that the winners stay."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from support.alignment import LABELS, QUICK, toy_examples

from models.alignment import cascade
from models.alignment.cascade import MARGIN_SHARES, Spared, choose_margin, cost_of_sparing, undecided
from models.alignment.scoring import CandidateScorer
from models.alignment.training import train_alignment_model
from models.candidates.histories import all_histories
from models.candidates.scored_candidates import score_in_shards, with_scores


def test_what_is_undecided():
    values = np.array([0.9, 0.1, 0.5, 0.45, -2.0])
    assert undecided(values, 2, 0.0).tolist() == [False] * 5
    assert undecided(values, 2, 0.03).tolist() == [False, False, True, True, False]  # 0.5 and 0.45 may change places
    assert undecided(values, 2, 0.19).tolist() == [False, False, True, True, False]  # 0.9 leads 0.45 by more than 0.38
    assert undecided(values, 2, 0.21).tolist() == [False, True, True, True, False]
    assert undecided(values, 5, 9.0).tolist() == [False] * 5  # all of them win
    assert undecided(values, 2, np.inf).all()
    assert undecided(np.array([1.0, 0.5, 0.25]), 2, 0.125).tolist() == [False] * 3  # twice the margin is enough


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=12), st.integers(1, 4), st.floats(0.01, 1), st.data())
def test_no_error_within_the_margin_changes_a_winner(values, k, margin, data):
    guessed = np.array(values)
    errors = data.draw(st.lists(st.floats(-1, 1), min_size=len(values), max_size=len(values)))
    read = guessed + 0.999 * margin * np.array(errors)
    assert cost_of_sparing([guessed], [read], k, margin).winners_changed == 0.0  # what is lost may be rounding


def test_the_cost_of_sparing_by_hand():
    guessed = [np.array([1.0, 2.0]), np.array([3.0, 2.0, 1.0]), np.array([3.0, 2.0, 1.0])]
    rates = [np.array([0.5, 0.4]), np.array([0.9, 0.2, 0.5]), np.array([0.1, 0.4, 0.3])]
    read = [logit(values) for values in rates]
    # All of the first history win. Of the second 0.9 and 0.5 do, 0.9 and 0.2 are chosen; of the third 0.4 and 0.3,
    # chosen 0.1 and 0.4.
    lost, lead = 0.15 + 0.1, (0.7 - 1.6 / 3) + (0.35 - 0.8 / 3)
    assert cost_of_sparing(guessed, read, 2, 0.0) == Spared(pytest.approx(lost / lead), 2 / 4)
    # With a margin of 0.6 the second and the third candidate are read, which mends the second history alone.
    lead_lost = cost_of_sparing(guessed, read, 2, 0.6)
    assert lead_lost == Spared(pytest.approx(0.1 / lead), 1 / 4)
    assert cost_of_sparing(guessed, read, 2, np.inf) == Spared(0.0, 0.0)
    assert cost_of_sparing(guessed[:1], read[:1], 2, 0.0) == Spared(0.0, 0.0)
    one = cost_of_sparing([np.array([2.0, 1.0])], [logit([0.1, 0.4])], 1, 0.0)
    assert one == Spared(pytest.approx(0.3 / 0.15), 1.0)


def test_of_equal_candidates_the_first_win():
    read = np.arange(100) % 4 * 1.0
    guessed = read - np.arange(100) / 1000
    assert cost_of_sparing([guessed], [read], 9, 0.0) == Spared(0.0, 0.0)


def test_the_margin_is_the_smallest_that_keeps_the_lead():
    generator = np.random.default_rng(0)
    guessed = [generator.normal(size=9) for _ in range(80)]
    read = [guess + generator.normal(0, 0.6, 9) + generator.normal() for guess in guessed]
    sizes = np.abs([whole - guess - np.mean(whole - guess) for whole, guess in zip(read, guessed, strict=True)])
    margins = [0.0, *np.quantile(sizes, MARGIN_SHARES[1:])]
    costs = [cost_of_sparing(guessed, read, 3, margin) for margin in margins]
    assert costs[0].lost > 0.05
    for most in (costs[0].lost, 0.02, 0.002):
        first = next(place for place, cost in enumerate(costs) if cost.lost <= most)
        assert choose_margin(guessed, read, 3, most) == (pytest.approx(margins[first]), costs[first])
    assert choose_margin(guessed, read, 3, -1.0) == (np.inf, Spared(0.0, 0.0))  # no margin is enough: all are read


@pytest.fixture(scope="module")
def trained(tiny_model_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alignment") / "model"
    train_alignment_model(tiny_model_folder, folder, LABELS, toy_examples(), replace(QUICK, seed=2), k=2)
    return folder


CANDIDATES = pl.DataFrame(
    [(list(history), c) for history in all_histories(8, 2) for c in range(8) if c not in history],
    schema={"history": pl.List(pl.Int64), "cluster_id": pl.Int64},
    orient="row",
)


def scored(trained, folder, most_lost, log=lambda _: None):
    scorer = CandidateScorer(trained, LABELS, "packed")
    facts = score_in_shards(CANDIDATES, scorer, folder, 16, 2, most_lost, log)
    return facts, with_scores(CANDIDATES, folder)


def test_a_table_with_spared_readings_has_the_same_winners(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(cascade, "HISTORIES_PER_PASS", 4)
    monkeypatch.setattr(CandidateScorer, "micro_batch", 4)
    everything, whole = scored(trained, tmp_path / "all", 0.0)
    assert everything == {"share_read": 1.0, "lost": 0.0, "winners_changed": 0.0}
    monkeypatch.setattr("models.alignment.scoring.SAMPLE", 12)
    monkeypatch.setattr(cascade, "SAMPLE", 12)
    facts, spared = scored(trained, tmp_path / "some", 0.03)
    assert 0 < facts["share_read"] < 0.9
    assert facts["share_read"] == spared["read"].mean()
    for name in ("alignment_score", "predicted_rate", "rate_upper"):
        np.testing.assert_allclose(spared.filter("read")[name], whole.filter(spared["read"])[name], rtol=1e-4)
    errors = spared["alignment_score"] - whole["alignment_score"]
    assert 0 < errors.abs().mean() < 0.1
    winners = [
        rows.sort("alignment_score", descending=True).group_by("history").head(2).select("history", "cluster_id")
        for rows in (whole, spared)
    ]
    assert winners[0].join(winners[1], on=["history", "cluster_id"], how="anti").height <= 6  # of 56: near ties


def test_spared_readings_resume_with_the_same_result(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(cascade, "HISTORIES_PER_PASS", 4)
    monkeypatch.setattr(CandidateScorer, "micro_batch", 4)
    monkeypatch.setattr("models.alignment.scoring.SAMPLE", 12)
    monkeypatch.setattr(cascade, "SAMPLE", 12)
    facts, rows = scored(trained, tmp_path / "once", 0.03)
    scored(trained, tmp_path / "stopped", 0.03)
    last = sorted((tmp_path / "stopped").iterdir())[-1]
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    again, same = scored(trained, tmp_path / "stopped", 0.03)
    assert again == facts
    assert same.equals(rows)


def test_a_model_of_lifts_reads_all_candidates(tiny_model_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("models.alignment.scoring.SAMPLE", 0)
    multipliers = np.linspace(0.5, 2.0, len(LABELS))
    options = replace(QUICK, stack=False)
    train_alignment_model(
        tiny_model_folder, tmp_path / "model", LABELS, toy_examples(), options, k=2, multipliers=multipliers
    )
    scorer = CandidateScorer(tmp_path / "model", LABELS, "packed")
    scorer.spare_readings([[0, 1]], [[2, 3, 4, 5]], 2, 0.5)
    assert scorer.cascade is None
