"""The head for clusters that were never served: against scikit-learn, and what the two heads of a stack score."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import Ridge
from support.alignment import LABELS, QUICK, score_candidates, toy_examples

from models.alignment.examples import group_by_history
from models.alignment.joint_cells import JointCells
from models.alignment.joint_head import Spreads, fit_joint_head
from models.alignment.linear_head import HEAD_FOLDS, HEAD_PENALTIES, working_logits
from models.alignment.never_served import fit_never_served, fit_stack, stack_offsets
from models.alignment.trainer import AlignmentTrainer
from models.progress import silent

UNKNOWN = 5
NO_VECTORS = np.zeros((21, 0))


@pytest.fixture(scope="module")
def cells():
    """Each cluster has a level of its own, which its states tell apart and which no other cluster shares."""
    generator = np.random.default_rng(0)
    clusters = np.repeat(np.delete(np.arange(21), UNKNOWN), 12)
    own, levels = generator.normal(1.0, 1.0, (21, 6)), generator.normal(0.0, 0.15, 21)
    states = own[clusters] + generator.normal(0.0, 0.1, (len(clusters), 6))
    members = csr_matrix(np.eye(21)[generator.integers(0, 21, len(clusters))])
    rates = np.clip(0.4 + levels[clusters] + generator.normal(0.0, 0.05, len(clusters)), 0, 1)
    return JointCells(
        states, members, np.arange(len(clusters)), clusters, rates, generator.uniform(1, 9, len(clusters)), NO_VECTORS
    )


def left_out_errors(cells, folds, targets=None):
    targets, errors = working_logits(cells.rates, cells.weights) if targets is None else targets, []
    for penalty in HEAD_PENALTIES:
        error = 0.0
        for fold in range(HEAD_FOLDS):
            out, kept = folds == fold, folds != fold
            model = Ridge(alpha=penalty * cells.weights.sum(), fit_intercept=False)
            model.fit(cells.states[kept], targets[kept], sample_weight=cells.weights[kept])
            error += cells.weights[out] @ (model.predict(cells.states[out]) - targets[out]) ** 2
        errors.append(error)
    return errors


def test_its_penalty_is_the_one_of_least_error_on_left_out_clusters(cells):
    by_cluster = np.array([sorted(set(cells.clusters)).index(cluster) for cluster in cells.clusters]) % HEAD_FOLDS
    penalty = HEAD_PENALTIES[int(np.argmin(left_out_errors(cells, by_cluster)))]
    assert penalty > HEAD_PENALTIES[int(np.argmin(left_out_errors(cells, np.arange(len(by_cluster)) % HEAD_FOLDS)))]
    reference = Ridge(alpha=penalty * cells.weights.sum(), fit_intercept=False)
    reference.fit(cells.states, working_logits(cells.rates, cells.weights), sample_weight=cells.weights)
    fitted = fit_never_served(cells, cells)
    np.testing.assert_allclose(fitted.head, reference.coef_, rtol=1e-6)
    assert not fitted.label_words.bias.any()
    assert not fitted.label_words.affinity.any()


def told_by_labels(cells, noise):
    """The same rows, whose rates the vectors of candidate and members tell; the states say nothing."""
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(21, 4))
    head = generator.normal(0.0, 0.2, 8)
    features = np.stack(
        [
            np.concatenate([vectors[c], vectors[c] * vectors[np.flatnonzero(row)].sum(axis=0)])
            for row, c in zip(cells.members.toarray(), cells.clusters, strict=True)
        ]
    )
    rates = np.clip(0.4 + 0.1 * features @ head + generator.normal(0.0, noise, len(features)), 0, 1)
    return replace(cells, vectors=vectors, rates=rates, states=generator.normal(5.0, 1.0, cells.states.shape)), features


def test_where_label_vectors_tell_as_much_the_head_stands_on_them(cells):
    cells, features = told_by_labels(cells, noise=0.02)
    fitted = fit_never_served(replace(cells, states=cells.states[:, :3]), cells)
    assert not fitted.head.any()
    halves = np.split(features - np.average(features, axis=0, weights=cells.weights), 2, axis=1)
    lengths = [np.sqrt(np.average((half**2).sum(axis=1), weights=cells.weights)) for half in halves]
    x = np.concatenate([half / length for half, length in zip(halves, lengths, strict=True)], axis=1)
    _, cluster = np.unique(cells.clusters, return_inverse=True)
    targets = working_logits(cells.rates, cells.weights)
    errors = left_out_errors(replace(cells, states=x), cluster % HEAD_FOLDS, targets - mean_of(targets, cells))
    penalty = HEAD_PENALTIES[int(np.argmin(errors))] * cells.weights.sum()
    reference = Ridge(alpha=penalty).fit(x, targets, sample_weight=cells.weights)
    members = [np.flatnonzero(row).tolist() for row in cells.members.toarray()]
    found = fitted.label_words.scores(members, [[cluster] for cluster in cells.clusters])
    np.testing.assert_allclose(np.concatenate(found), reference.predict(x), rtol=1e-6)


def test_what_the_states_alone_tell_keeps_the_head_on_them(cells):
    vectors = np.random.default_rng(2).normal(size=(21, 4))
    clusters, states = cells.clusters, cells.states
    rates = np.clip(0.4 + 0.1 * (states[:, 0] - states[:, 1]), 0, 1)
    fitted = fit_never_served(replace(cells, vectors=vectors, rates=rates), cells)
    assert fitted.head.any()
    assert not fitted.label_words.affinity.any()
    assert len(np.unique(clusters)) == 20


def mean_of(values, cells):
    return np.average(values, weights=cells.weights)


def test_rounded_heads_move_no_mean(cells):
    joint, never_served = fit_joint_head(cells, Spreads(0.5, 0.6, 0.1, 0.3)), fit_never_served(cells, cells)
    rounded = np.round(np.stack([joint.head, never_served.head]), 1)
    offsets = stack_offsets(cells, joint, never_served, rounded)
    served = np.arange(21) != UNKNOWN
    np.testing.assert_array_equal(offsets.never_served, ~served)

    def mean(weights):
        return np.average(cells.states @ weights, weights=cells.weights)

    moved = mean(joint.head) - mean(rounded[0])
    np.testing.assert_allclose((offsets.bias - joint.offsets.bias)[served], moved)
    assert offsets.bias[UNKNOWN] == pytest.approx(mean(never_served.head) - mean(rounded[1]))
    np.testing.assert_array_equal(offsets.affinity[:, served], joint.offsets.affinity[:, served])
    assert not offsets.affinity[:, UNKNOWN].any()


def test_a_stack_scores_clusters_without_training_cells_by_their_own_head(tiny_model_folder, tmp_path):
    examples = toy_examples().filter(pl.col("cluster_id") != UNKNOWN)
    served = group_by_history(examples, len(LABELS))
    trainer = AlignmentTrainer(tiny_model_folder, LABELS, replace(QUICK, stack=True, epochs=1.0), k=2)
    trainer.fit(served["train"], served["validation"], silent)
    trainer.calibrate(examples.filter(pl.col("split") == "train"), served["validation"])
    histories, candidates = [[0, 1], [2, UNKNOWN]], [[3, UNKNOWN, 4], [7]]
    read = trainer.reader.read(histories, candidates)
    heads, offsets = trainer.reader.head_weights(), trainer.reader.offsets
    own = np.array([0, 1, 0, 0])
    words = (read.array() * heads[own]).sum(axis=1)
    assert np.abs(words - read.array() @ heads[0])[1] > 1e-3
    expected = words + np.concatenate(offsets.scores(histories, candidates))
    assert expected[1] == pytest.approx(words[1] + offsets.bias[UNKNOWN])
    np.testing.assert_allclose(np.concatenate(trainer.reader.score(read)), expected, rtol=1e-4, atol=1e-5)
    at_once = np.concatenate(trainer.reader.all_logits(histories, candidates))
    np.testing.assert_allclose(at_once, expected, rtol=1e-4, atol=1e-4)
    trainer.save(tmp_path / "model")
    saved = score_candidates(tmp_path / "model", LABELS, histories, candidates)
    np.testing.assert_allclose(np.concatenate(saved), np.concatenate(trainer.score(read)), rtol=1e-4)


@pytest.mark.parametrize(("vectors", "unknown"), [(None, [UNKNOWN, 20]), (np.eye(21), [UNKNOWN])])
def test_clusters_count_as_never_served_by_the_cells_that_the_stack_was_fitted_to(cells, vectors, unknown):
    """The sample that was read lacks the last cluster. Where states have no head, all cells teach."""
    cells = cells if vectors is None else replace(cells, vectors=vectors)
    sample = cells.taken(np.flatnonzero(cells.clusters != 20))
    everything = replace(cells, states=np.zeros((len(cells.clusters), 0)))
    reader = SimpleNamespace(offsets=None)
    reader.set_heads = lambda heads: setattr(reader, "heads", heads)
    reader.head_weights = lambda: reader.heads
    spreads = fit_stack(reader, sample, everything, None, 2, silent)
    assert bool(spreads.head) == (vectors is None)
    assert np.flatnonzero(reader.offsets.never_served).tolist() == unknown
