"""Head and affinities fitted together: against scipy on the same objective, and on cells drawn from known effects."""

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit, logit

from models.alignment import joint_head
from models.alignment.candidate_reader import CandidateStates
from models.alignment.examples import ServedHistory
from models.alignment.joint_cells import JointCells
from models.alignment.joint_head import (
    CHOOSING_ITERATIONS,
    HEAD_SPREADS,
    RANK,
    START,
    JointHead,
    Spreads,
    choose_spreads,
    fit_joint_head,
    fit_stack_head,
    is_proven,
    spreads_of_head_alone,
    stack_scores,
)
from models.alignment.label_features import folded
from models.feedback.affinity import AdditiveAffinity

CLUSTERS = 6
SPREADS = Spreads(head=0.5, bias=0.6, embedding=0.0, affinity=0.3)


def served_histories(states, seed=0, head=None, affinity=0.0, impressions=30):
    """Every pair of clusters with every other one served; log-odds are what the words tell and what they do not."""
    generator = np.random.default_rng(seed)
    pairs = [(a, b) for a in range(CLUSTERS) for b in range(a)]
    own = generator.normal(0, affinity, (CLUSTERS, CLUSTERS)) if affinity else np.zeros((CLUSTERS, CLUSTERS))
    served, place = [], 0
    for a, b in pairs:
        clusters = [cluster for cluster in range(CLUSTERS - 1) if cluster not in (a, b)]  # the last one is never served
        told = states[place : place + len(clusters)] @ head if head is not None else 0.0
        rates = expit(-1 + told + own[a, clusters] + own[b, clusters])
        place += len(clusters)
        scores = generator.binomial(impressions, rates) / impressions
        weights = generator.uniform(0.5, 1.5, len(clusters)) * impressions
        counts = np.full(len(clusters), impressions)
        none = np.zeros((0, 2), dtype=np.int64)
        served.append(ServedHistory([b, a], clusters, scores, weights, scores, counts, none, np.zeros(0)))
    return served


def cells(seed=0, hidden=4, **arguments):
    states = np.random.default_rng((seed, 1)).normal(2.0, 1.5, (200, hidden))
    served = served_histories(states, seed, **arguments)
    return JointCells.of(states[: sum(len(row.clusters) for row in served)], served, CLUSTERS)


def halves(rows):
    """Cells of every third history to choose spreads by, the others to fit to."""
    _, history = np.unique(rows.members.indices.reshape(-1, 2), axis=0, return_inverse=True)
    out = history.ravel() % 3 == 0
    return tuple(rows.taken(np.flatnonzero(part)) for part in (~out, out))


def log_odds(fitted, rows):
    affinities = (rows.members.toarray() * fitted.offsets.affinity[:, rows.clusters].T).sum(axis=1)
    return rows.states @ fitted.head + fitted.offsets.bias[rows.clusters] + affinities


def test_it_is_the_minimum_of_the_penalised_deviance():
    rows = cells(head=np.array([0.3, -0.2, 0.0, 0.1]), affinity=0.4)
    middle = np.average(rows.states, axis=0, weights=rows.weights)
    spread = np.sqrt(np.average((rows.states - middle) ** 2, axis=0, weights=rows.weights))
    x = (rows.states - middle) / (spread * np.sqrt(rows.states.shape[1]))
    constant = logit(np.average(rows.rates, weights=rows.weights))

    def parts(flat):
        return flat[:4], flat[4 : 4 + CLUSTERS], flat[4 + CLUSTERS :].reshape(CLUSTERS, CLUSTERS)

    def eta(flat):
        head, bias, affinity = parts(flat)
        return (
            constant
            + x @ head
            + bias[rows.clusters]
            + (rows.members.toarray() * affinity[:, rows.clusters].T).sum(axis=1)
        )

    def objective(flat):
        head, bias, affinity = parts(flat)
        value = eta(flat)
        deviance = rows.weights @ (np.logaddexp(0, value) - rows.rates * value)
        penalties = (head @ head) / 0.5**2 + (bias @ bias) / 0.6**2 + (affinity**2).sum() / 0.3**2
        return deviance + penalties / 2

    start = np.zeros(4 + CLUSTERS + CLUSTERS**2)
    reference = minimize(objective, start, method="L-BFGS-B", options={"maxiter": 10_000, "maxfun": 10**6})
    fitted = fit_joint_head(rows, SPREADS, iterations=12)
    np.testing.assert_allclose(log_odds(fitted, rows), eta(reference.x), atol=2e-3)


def ridge(design, weights, targets, spreads):
    """Least squares with normal coefficients, each in units of its spread."""
    design = design * spreads
    gram = design.T @ (design * weights[:, None]) + np.eye(len(spreads))
    return spreads * np.linalg.solve(gram, design.T @ (weights * targets))


def standardised(x, weights):
    """Mean 0, and all columns together of mean square length 1, each of an equal share."""
    middle = np.average(x, axis=0, weights=weights)
    return (x - middle) / np.sqrt(np.average((x - middle) ** 2, axis=0, weights=weights) * x.shape[1])


def whole_fit(rows, spreads, iterations):
    """The same rounds with one column for each coefficient, and all of them in one system."""
    members, served = rows.members.toarray(), np.eye(CLUSTERS)[rows.clusters]
    histories = [np.flatnonzero(row) for row in members]
    told = [rows.vectors[c] * rows.vectors[s].sum(axis=0) for s, c in zip(histories, rows.clusters, strict=True)]
    x, labels = (
        standardised(words, rows.weights)
        for words in (rows.states, np.concatenate([rows.vectors[rows.clusters], np.stack(told)], axis=1))
    )
    u, eta = np.zeros((CLUSTERS, RANK)), np.zeros(len(x))
    constant = logit(np.average(rows.rates, weights=rows.weights))

    def crossed(left, right):
        return (left[:, :, None] * right[:, None, :]).reshape(len(left), -1)

    for iteration in range(iterations):
        p = expit(constant + eta)
        weights, targets = rows.weights * p * (1 - p), eta + (rows.rates - p) / (p * (1 - p))
        parts = [x, served, crossed(served, members @ u), crossed(served, members), labels]
        sizes = np.repeat(list(vars(spreads).values()), [part.shape[1] for part in parts])
        found = ridge(np.concatenate(parts, axis=1), weights, targets, sizes)
        found = np.split(found, np.cumsum([part.shape[1] for part in parts])[:-1])
        v, own = found[2].reshape(CLUSTERS, RANK), found[3].reshape(CLUSTERS, CLUSTERS)
        rest = sum(parts[place] @ found[place] for place in (0, 1, 3, 4))
        if iteration == 0:
            sides = np.linalg.svd(own.T)[0][:, :RANK] * np.sqrt(CLUSTERS) * START
            u[:, : sides.shape[1]] = sides
        else:
            u = ridge(crossed(members, v[rows.clusters]), weights, targets - rest, np.full(u.size, spreads.embedding))
            u = u.reshape(CLUSTERS, RANK)
        eta = rest + (members @ u * v[rows.clusters]).sum(axis=1)
    return constant + eta


@pytest.mark.parametrize("histories", [5, 15])  # a cluster has fewer rows than effects, or more
def test_it_is_what_one_system_of_all_coefficients_gives(histories):
    rows = cells(head=np.array([0.3, -0.2, 0.0, 0.1]), affinity=0.4)
    _, history = np.unique(rows.members.indices.reshape(-1, 2), axis=0, return_inverse=True)
    rows = rows.taken(np.flatnonzero(history.ravel() < histories))
    rows = replace(rows, vectors=np.random.default_rng(5).normal(size=(CLUSTERS, 3)))
    spreads = Spreads(head=0.5, bias=0.6, embedding=0.3, affinity=0.2, labels=0.4)
    fitted = fit_joint_head(rows, spreads, iterations=5)
    np.testing.assert_allclose(log_odds(fitted, rows), whole_fit(rows, spreads, 5), atol=1e-6)


def test_work_and_memory_follow_the_cells():
    """768 clusters: a dense system of u alone, [N RANK, N RANK], has 302 MB, and takes minutes."""
    generator, clusters, hidden = np.random.default_rng(3), 768, 16
    none = np.zeros((0, 2), dtype=np.int64)
    served = []
    for _ in range(250):
        history, offered = generator.permutation(clusters)[:2], generator.permutation(clusters)[:20]
        rates, counts = generator.binomial(4, 0.3, 20) / 4, np.full(20, 4)
        served.append(
            ServedHistory(history.tolist(), offered.tolist(), rates, counts * 1.0, rates, counts, none, np.zeros(0))
        )
    rows = JointCells.of(generator.normal(size=(5000, hidden)), served, clusters)
    tracemalloc.start()
    began = time.process_time()
    fitted = fit_joint_head(rows, Spreads(0.3, 0.6, 0.2, 0.06), CHOOSING_ITERATIONS)
    took, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(fitted.offsets.affinity).all()
    assert peak < 100e6
    assert took < 30


def test_a_cluster_that_was_never_served_has_the_head_alone():
    fitted = fit_joint_head(cells(head=np.array([0.4, 0.0, 0.0, 0.0])), SPREADS)
    last = CLUSTERS - 1
    np.testing.assert_array_equal(fitted.offsets.affinity[:, last], 0)
    served = list(range(last))
    constant = fitted.offsets.bias[last]
    assert np.ptp(fitted.offsets.bias[served] - constant) > 0.01


def test_a_spread_of_zero_leaves_a_kind_out():
    rows = cells(head=np.array([0.3, -0.2, 0.0, 0.1]), affinity=0.4)
    words = fit_joint_head(rows, Spreads(0.5, 0.0, 0.0, 0.0))
    assert np.abs(words.offsets.affinity).max() < 1e-6
    assert np.ptp(words.offsets.bias) < 1e-6
    assert np.abs(fit_joint_head(rows, Spreads(0.0, 0.6, 0.2, 0.3)).head).max() < 1e-6


def test_states_may_be_moved_and_stretched():
    rows = cells(head=np.array([0.3, -0.2, 0.0, 0.1]), affinity=0.4)
    moved = JointCells(**vars(rows) | {"states": rows.states * np.array([10.0, 0.1, 3.0, 1.0]) + 5.0})
    np.testing.assert_allclose(
        log_odds(fit_joint_head(rows, SPREADS), rows), log_odds(fit_joint_head(moved, SPREADS), moved), atol=1e-3
    )


@pytest.mark.parametrize("told", [True, False])
def test_what_words_tell_decides_the_spreads(told):
    head = np.array([0.5, -0.5, 0.4, 0.3]) if told else None
    told_by = {"head": head, "affinity": 0.0 if told else 0.9, "impressions": 400}
    chosen = choose_spreads(*halves(cells(**told_by)), k=2)
    assert (chosen.head > 0.1) == told
    assert (chosen.embedding > 0.2) != told


def labelled_halves(told_by):
    """Ten clusters each, after every pair of twelve: what states or the vectors of labels tell of them."""
    generator = np.random.default_rng(3)
    pairs = [(a, b) for a in range(12) for b in range(a)]
    served = [[cluster for cluster in range(12) if cluster not in pair] for pair in pairs]
    members = np.repeat([np.isin(np.arange(12), pair) for pair in pairs], 10, axis=0)
    states, vectors = generator.normal(size=(660, 4)), generator.normal(size=(12, 2))
    rows = JointCells(
        states=states,
        members=csr_matrix(members.astype(np.float64)),
        histories=np.repeat(np.arange(66), 10),
        clusters=np.concatenate(served),
        rates=np.zeros(660),
        weights=np.full(660, 30.0),
        vectors=vectors,
    )
    words = folded(vectors, np.array([0.5, -0.4, 0.3, 0.4]))
    by_labels = words.bias[rows.clusters] + rows.affinities(words.affinity)
    told = states @ np.array([0.6, -0.6, 0.5, 0.4]) if told_by == "states" else by_labels
    rows = replace(rows, rates=generator.binomial(30, expit(told - 1)) / 30)
    out = rows.histories % 3 == 0
    return [rows.taken(np.flatnonzero(part)) for part in (~out, out)]


@pytest.mark.parametrize(("told_by", "k"), [("states", 2), ("labels", 2), ("states", 6)])
def test_beside_label_vectors_states_have_to_rank_better(told_by, k):
    """No history is ranked at 6: then nothing is proven."""
    parts = labelled_halves(told_by)
    chosen = choose_spreads(*parts, k=k)
    assert (chosen.head > 0) == (told_by == "states" and k == 2)
    others = [replace(part, states=np.roll(part.states, 1, axis=0)) for part in parts]
    of_others = choose_spreads(*others, k=k)
    assert choose_spreads(*parts, k=k, known=of_others) == chosen
    assert chosen.labels > 0
    assert choose_spreads(parts[0], None, k, known=replace(of_others, head=0.3)) == replace(of_others, head=0.0)


def test_states_are_compared_with_none_and_affinities_are_chosen_beside_label_vectors(monkeypatch):
    """With one spread to choose from, the best is the one after 0."""
    monkeypatch.setattr(joint_head, "AFFINITY_SPREADS", (0.01, 0.9, 5.0))  # the first of the three is best
    parts = labelled_halves("states")
    monkeypatch.setattr(joint_head, "HEAD_SPREADS", (0.5,) * 3)
    chosen = choose_spreads(*parts, k=2)
    assert (chosen.head, chosen.affinity) == (0.5, 0.01)


@pytest.mark.parametrize(
    ("gains", "proven"),
    [
        ([], False),
        ([1.0], False),
        ([0.5, 0.6], True),
        ([1.0, 1.0, 0.0], True),  # 0.667 against 1.96 * 0.577 / sqrt(3) = 0.653
        ([1.0, 0.0, 0.0, 1.0], False),  # 0.5 against 1.96 * 0.577 / 2 = 0.566
        ([-0.5, -0.6], False),
    ],
)
def test_gains_are_proven_by_their_interval(gains, proven):
    assert is_proven(np.array(gains)) == proven


def test_label_vectors_tell_of_clusters_without_cells():
    """Effects are small: the constant is the log-odds of the mean rate, which is then the mean of the log-odds."""
    rows = cells()
    vectors = np.random.default_rng(3).normal(size=(CLUSTERS, 2))
    words = folded(vectors, 0.05 * np.array([0.5, -0.4, 0.3, 0.4]))
    log_odds_of_words = words.bias[rows.clusters] + rows.affinities(words.affinity)
    rows = replace(rows, vectors=vectors, rates=expit(-1 + log_odds_of_words), weights=rows.weights * 1e6)
    fitted = fit_joint_head(rows, Spreads(0.0, 0.0, 0.0, 0.0, labels=3.0))
    assert not fitted.head.any()
    unknown, pairs = CLUSTERS - 1, [[0, 1], [1, 3], [2, 4]]
    found, expected = (
        np.concatenate(told.scores(pairs, [[unknown]] * 3))
        for told in (fitted.offsets, AdditiveAffinity(words.bias - 1, words.affinity))
    )
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert np.ptp(expected) > 0.04
    np.testing.assert_array_equal(fitted.offsets.affinity, fitted.label_words.affinity)


def test_a_sample_with_states_gives_way_to_all_cells_where_states_have_no_head():
    rows = replace(cells(affinity=0.4), vectors=np.random.default_rng(3).normal(size=(CLUSTERS, 2)))
    sample = rows.taken(np.arange(20))
    everything = replace(rows, states=np.zeros((len(rows.clusters), 0)))
    without = Spreads(0.0, 0.6, 0.2, 0.1, labels=0.3)
    found, expected = fit_stack_head(sample, everything, without), fit_joint_head(rows, without)
    np.testing.assert_allclose(found.offsets.affinity, expected.offsets.affinity, atol=1e-9)
    assert found.head.shape == (rows.states.shape[1],)
    with_states = replace(without, head=0.3)
    found, expected = fit_stack_head(sample, everything, with_states), fit_joint_head(sample, with_states)
    np.testing.assert_array_equal(found.head, expected.head)


def test_without_validation_histories_the_spreads_are_the_middle_ones():
    assert choose_spreads(cells(), None, 2) == Spreads(0.18, 0.6, 0.15, 0.06)
    with_vectors = replace(cells(), vectors=np.ones((CLUSTERS, 2)))
    assert choose_spreads(with_vectors, None, 2) == Spreads(0.0, 0.6, 0.15, 0.06, labels=0.18)
    assert spreads_of_head_alone(cells(), None) == Spreads(0.6, 0.0, 0.0, 0.0, labels=0.0)


def test_each_spread_is_the_one_of_least_deviance_on_the_validation_cells():
    training, validation = halves(cells(head=np.array([0.5, -0.5, 0.4, 0.3]), affinity=0.4))
    chosen = choose_spreads(training, validation, 2)

    def found(head):
        fitted = fit_joint_head(training, replace(chosen, head=head), CHOOSING_ITERATIONS)
        rates = expit(log_odds(fitted, validation))
        told = validation.rates * np.log(rates) + (1 - validation.rates) * np.log(1 - rates)
        return -validation.weights @ told

    assert chosen.head == min(HEAD_SPREADS, key=found)
    assert len({round(found(head), 6) for head in HEAD_SPREADS}) == len(HEAD_SPREADS)


def test_embeddings_find_the_few_sides_of_taste():
    """Affinities of rank 1, seen through few impressions: drawn to a low rank they are nearer to the truth."""
    generator = np.random.default_rng(5)
    clusters = 16
    truth = 1.2 * np.outer(generator.choice([-1, 1], clusters), generator.choice([-1, 1], clusters)) / 2
    served = []
    none = np.zeros((0, 2), dtype=np.int64)
    for a in range(clusters):
        for b in range(a):
            offered = [cluster for cluster in range(clusters) if cluster not in (a, b)]
            rates = generator.binomial(4, expit(-1 + truth[a, offered] + truth[b, offered])) / 4
            counts = np.full(len(offered), 4)
            served.append(ServedHistory([b, a], offered, rates, counts.astype(float), rates, counts, none, np.zeros(0)))
    rows = JointCells.of(generator.normal(size=(sum(len(row.clusters) for row in served), 2)), served, clusters)
    off_diagonal = ~np.eye(clusters, dtype=bool)

    def nearness(spreads):
        return np.corrcoef(fit_joint_head(rows, spreads).offsets.affinity[off_diagonal], truth[off_diagonal])[0, 1]

    assert nearness(Spreads(0.0, 0.6, 0.3, 0.03)) > nearness(Spreads(0.0, 0.6, 0.0, 0.3)) + 0.05


def test_what_was_saved_is_what_was_fitted(tmp_path):
    fitted = fit_joint_head(cells(head=np.array([0.3, -0.2, 0.0, 0.1])), SPREADS)
    fitted.save(tmp_path / "head.npz")
    again = JointHead.load(tmp_path / "head.npz")
    assert again.spreads == SPREADS
    for first, second in (
        (fitted.head, again.head),
        (fitted.middle, again.middle),
        (fitted.offsets.bias, again.offsets.bias),
        (fitted.offsets.affinity, again.offsets.affinity),
    ):
        np.testing.assert_array_equal(first, second)


def test_scores_of_a_stack_are_rates_by_what_was_read_and_the_offsets():
    offsets = AdditiveAffinity(np.array([0.1, 0.2, 0.3]), np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [0.5, 0.0, 0.0]]))
    batches = [torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0], [0.0, 1.0]])]
    read = CandidateStates([[0, 1], [1, 2]], [[2], [0, 1]], batches)
    found = stack_scores(read, np.array([0.5, -1.0]), offsets)
    for scores, expected in zip(found, ([-1.5 + 0.3 + 3.0], [0.5 + 0.1 + 0.5, -1.0 + 0.2]), strict=True):
        np.testing.assert_allclose(scores, expit(expected))
    nothing = stack_scores(CandidateStates([[0, 1], [1, 2]], [[], []], []), np.array([0.5, -1.0]), offsets)
    assert [scores.shape for scores in nothing] == [(0,), (0,)]


def test_the_head_alone_gets_a_spread_of_its_own():
    """Where each cluster's level is told by its words, a head without biases needs more room than one beside them."""
    strong = cells(head=np.array([1.5, -1.5, 0.0, 0.0]), impressions=400)
    chosen = spreads_of_head_alone(*halves(strong))
    assert (chosen.bias, chosen.embedding, chosen.affinity) == (0.0, 0.0, 0.0)
    assert chosen.head > spreads_of_head_alone(*halves(cells(head=np.zeros(4), impressions=400))).head
