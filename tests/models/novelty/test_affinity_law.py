"""The law by affinities, against torch on the written formula, and what its priors say."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.novelty.affinity_law import (
    BIAS_SPREAD,
    AffinityLaw,
    LabelCoordinates,
    Part,
    Spreads,
    _Objective,
    choose_spreads,
    fit_affinity_law,
)
from models.novelty.transitions import BothWays, TransitionCounts, mean_loss, members_next

N = 6
SPREADS = Spreads(mutual=0.4, one_way=0.3, members=0.5, words=0.7)
SCHEMA = {"history": pl.List(pl.Int64), "cluster_id": pl.Int64}


def frame(rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def some_rows(count=150, seed=0, clusters=N):
    """Who likes c likes its neighbours on a ring."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        first = int(rng.integers(clusters))
        history = [first, (first + 2) % clusters]
        target = int(
            rng.choice([(first + 1) % clusters, (first + 3) % clusters, (first + 4) % clusters], p=[0.6, 0.3, 0.1])
        )
        rows.append((sorted(history), target))
    return frame(rows)


def vectors(clusters=N, seed=1):
    return np.random.default_rng(seed).normal(size=(clusters, 4))


def posterior(rows, coordinates, spreads, bias, members_bias, own, words):
    """Minus the log posterior, transition by transition, as the head of the module writes it."""
    affinity = own + coordinates @ words @ coordinates.T

    def log_p(history, cluster, biases):
        scores = torch.stack([biases[c] + sum(affinity[member, c] for member in history) for c in range(N)])
        outside = [c for c in range(N) if c not in history]
        return scores[cluster] - torch.logsumexp(scores[outside], 0)

    value = -sum(log_p(history, cluster, bias) for history, cluster in rows.rows())
    for history, cluster in rows.rows():
        for member in history:
            others = [c for c in [*history, cluster] if c != member]
            value = value - spreads.members * log_p(others, member, members_bias)
    for matrix, spread in ((own, spreads.mutual), (words, spreads.words)):
        same, other = (matrix + matrix.T) / 2, (matrix - matrix.T) / 2
        value = value + (same**2).sum() / (2 * spread**2) + (other**2).sum() / (2 * (spread * spreads.one_way) ** 2)
    return value


def started(rows):
    totals = np.bincount(rows["cluster_id"].to_numpy(), minlength=N) + 1.0
    return torch.tensor(np.log(totals / totals.sum()))


def test_the_fit_is_the_most_probable_one():
    rows, coordinates = some_rows(40), LabelCoordinates.of(vectors())(vectors())
    law = fit_affinity_law(BothWays.of(rows, N), SPREADS, coordinates, least_gain=1e-12)
    base, base_of_members = started(rows), started(members_next(rows))
    parts = [
        (torch.tensor(law.bias) - base).requires_grad_(),
        torch.zeros(N, dtype=torch.float64).requires_grad_(),
        torch.tensor(law.own).requires_grad_(),
        torch.tensor(law.words).requires_grad_(),
    ]

    def value():
        biases = (parts[0] + base, parts[1] + base_of_members)
        prior = sum((part**2).sum() for part in parts[:2]) / (2 * BIAS_SPREAD**2)
        return posterior(rows, torch.tensor(coordinates), SPREADS, *biases, *parts[2:]) + prior

    optimiser = torch.optim.LBFGS(parts[1:2], max_iter=50)  # what the law does not tell: the biases of the members
    optimiser.step(lambda: (optimiser.zero_grad(), (found := value()).backward(), found)[2])
    slopes = torch.autograd.grad(value(), parts)
    assert max(float(slope.abs().max()) for slope in slopes) < 0.02
    assert float(torch.tensor(law.own).abs().max()) > 0.05


@pytest.mark.parametrize("mutual", [0.4, 0.0])
def test_value_and_slopes_are_those_of_the_written_posterior(mutual, monkeypatch):
    monkeypatch.setattr("models.novelty.transitions.ROWS_AT_ONCE", 3)  # several blocks
    rows, coordinates = some_rows(40), LabelCoordinates.of(vectors())(vectors())
    taught, spreads = BothWays.of(rows, N), dataclasses.replace(SPREADS, mutual=mutual)
    assert len(taught.came.blocks) > 1
    objective = _Objective([Part(taught.came, 1.0), Part(taught.members_came, spreads.members)], coordinates, spreads)
    at = np.random.default_rng(5).normal(0, 0.5, objective.size)
    own = slice(2 * N, 2 * N + N * N)
    if not mutual:
        at[own] = 0.0  # where they stay
    flat = torch.tensor(at).requires_grad_()
    biases, matrices = flat[: 2 * N].reshape(2, N), flat[2 * N :]
    value = posterior(
        rows,
        torch.tensor(coordinates),
        spreads if mutual else dataclasses.replace(spreads, mutual=1.0),
        started(rows) + biases[0],
        started(members_next(rows)) + biases[1],
        matrices[: N * N].reshape(N, N),
        matrices[N * N :].reshape(coordinates.shape[1], -1),
    ) + (biases**2).sum() / (2 * BIAS_SPREAD**2)
    (slopes,) = torch.autograd.grad(value, flat)
    slopes = slopes.numpy() * (1.0 if mutual else np.isin(np.arange(len(at)), np.r_[own], invert=True))
    found, gradient = objective(at)
    assert found == pytest.approx(value.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, slopes, atol=1e-3)


def test_a_coarse_fit_ends_early():
    taught = BothWays.of(some_rows(), N)
    fine, coarse = (fit_affinity_law(taught, SPREADS, least_gain=gain).own for gain in (1e-9, 1.0))
    assert np.abs(coarse - fine).max() > 0.1


def test_without_a_spread_of_words_the_law_has_no_coordinates():
    law = fit_affinity_law(BothWays.of(some_rows(), N), Spreads(0.4), LabelCoordinates.of(vectors())(vectors()))
    assert law.coordinates.shape == (N, 0)
    assert law.spreads == Spreads(0.4, one_way=1.0, members=0.0, words=0.0)


def test_labels_along_one_line_have_one_coordinate_however_wide_their_vectors_are():
    line = np.outer([1.0, 2.0, 4.0], np.arange(1.0, 9.0))
    found = LabelCoordinates.of(line)(line)
    assert found.shape == (3, 1)
    assert (found**2).mean() == pytest.approx(1.0)


def test_words_add_to_the_scores():
    coordinates, words = np.array([[1.0], [0.5], [2.0]]), np.array([[0.3]])
    law = AffinityLaw(np.array([0.1, 0.2, 0.4]), np.eye(3), coordinates, words, SPREADS)
    assert law.scores([(0, 1)])[0] == pytest.approx([0.1 + 1 + 0.45, 0.2 + 1 + 0.225, 0.4 + 0.9])


def test_log_probabilities_by_hand():
    own = np.zeros((4, 4))
    own[0, 2], own[1, 3] = 1.0, 2.0
    law = AffinityLaw(np.array([9.0, 9.0, 0.5, 0.0]), own, np.zeros((4, 0)), np.zeros((0, 0)), SPREADS)
    expected = np.log(np.exp([1.5, 2.0]) / np.exp([1.5, 2.0]).sum())
    assert law.log_probabilities([(1, 0)])[0] == pytest.approx([-np.inf, -np.inf, *expected])
    halved = np.exp([0.75, 1.0])
    assert np.exp(law.at_temperature([(0, 1)], 2.0)[0, 2:]) == pytest.approx(halved / halved.sum())


def test_members_come_next_after_the_others_and_the_target():
    found = members_next(frame([([1, 4], 2), ([1, 4], 2), ([3], 0)]))
    assert sorted(found.rows()) == [([0], 3), ([1, 2], 4), ([1, 2], 4), ([2, 4], 1), ([2, 4], 1)]


@given(st.lists(st.tuples(st.sets(st.integers(0, 5), min_size=2, max_size=2), st.integers(0, 5)), min_size=1))
def test_counts_hold_each_transition_once(pairs):
    rows = frame([(sorted(history), cluster) for history, cluster in pairs])
    counted = TransitionCounts.of(rows, N)
    dense = {history: counted.counts[place].toarray()[0] for place, history in enumerate(counted.histories)}
    for history, cluster in rows.rows():
        assert dense[tuple(history)][cluster] == rows.rows().count((history, cluster))
    assert counted.counts.sum() == rows.height
    assert [tuple(np.flatnonzero(row)) for row in counted.members.toarray()] == list(counted.histories)


def test_a_mutual_prior_learns_an_affinity_from_the_other_way_round():
    rows = frame([([0, 1], 2), ([0, 3], 2), ([0, 4], 1), ([0, 5], 4), ([3, 4], 5)] * 20)
    mutual, ridge = (fit_affinity_law(BothWays.of(rows, N), Spreads(0.5, share)) for share in (0.05, 1.0))
    assert mutual.own == pytest.approx(mutual.own.T, abs=0.01)
    assert mutual.own[2, 3] > 0.2 > abs(ridge.own[2, 3])  # nobody went from 2 to 3


def test_alike_labels_share_what_is_known_of_them():
    likeness = np.eye(N)
    likeness[5] = likeness[1]  # cluster 5 is called as cluster 1 is; nothing followed a history with 5
    rows = some_rows(300).filter(~pl.col("history").list.contains(5) & (pl.col("cluster_id") != 5))
    coordinates = LabelCoordinates.of(likeness)(likeness)
    law = fit_affinity_law(BothWays.of(rows, N), Spreads(0.0, words=2.0), coordinates)
    assert not law.own.any()
    affinity = coordinates @ law.words @ coordinates.T
    assert affinity[5, 2:5] == pytest.approx(affinity[1, 2:5])
    assert np.abs(affinity[1, 2:5]).max() > 0.1


def test_a_new_label_works_through_its_words():
    labels = vectors()
    coordinates = LabelCoordinates.of(labels)
    law = fit_affinity_law(BothWays.of(some_rows(), N), SPREADS, coordinates(labels))
    more = law.with_labels(coordinates(labels[2:3]))
    words_alone = dataclasses.replace(law, own=np.zeros((N, N)), bias=np.full(N, law.bias.mean()))
    assert more.scores([(0, 4)])[0, N] == pytest.approx(words_alone.scores([(0, 4)])[0, 2])
    assert more.scores([(0, 4)])[0, :N] == pytest.approx(law.scores([(0, 4)])[0])
    assert np.isfinite(more.log_probabilities([(0, N)])[0, 1:N]).all()


def test_coordinates_have_a_mean_square_of_one_and_the_lengths_of_the_labels():
    labels = vectors(20) * [1, 10, 100, 1000] + 7
    found = LabelCoordinates.of(labels)(labels)
    standard = (labels - labels.mean(axis=0)) / labels.std(axis=0)
    assert (found**2).sum(axis=1).mean() == pytest.approx(1.0)
    assert found @ found.T == pytest.approx(standard @ standard.T / (standard**2).sum(axis=1).mean(), abs=1e-6)


def test_spreads_are_those_of_least_loss_on_validation_users():
    taught, validation = BothWays.of(some_rows(60, 1), N), TransitionCounts.of(some_rows(200, 2), N)
    grid = [("mutual", (0.05, 0.5, 3.0)), ("members", (0.0, 1.0))]
    start = Spreads(0.05)
    chosen = choose_spreads(taught, validation, start, grid)

    def loss(spreads):
        return mean_loss(fit_affinity_law(taught, spreads).log_probabilities, validation)

    first = min((dataclasses.replace(start, mutual=value) for value in (0.05, 0.5, 3.0)), key=loss)
    assert chosen == min((dataclasses.replace(first, members=value) for value in (0.0, 1.0)), key=loss)
    assert chosen != start
