"""The trainer on a tiny random language model: exact gradients, and trainings that an interruption does not change."""

import itertools
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy.special import expit
from support.alignment import LABELS, QUICK, logit_alone, toy_examples, toy_pairs
from torch.nn.functional import binary_cross_entropy_with_logits

from models.alignment.examples import group_by_history
from models.alignment.joint_cells import JointCells
from models.alignment.joint_head import choose_spreads, fit_joint_head
from models.alignment.passes import looks, step_passes, total_steps, training_passes
from models.alignment.trainer import AlignmentTrainer
from models.language import frozen_layers
from models.language.fine_tuning import Optimiser, Schedule
from models.language.language_model import decoder_layers
from models.progress import silent


@pytest.fixture(scope="module")
def examples():
    return toy_examples()


def test_packed_gradient_equals_the_unpacked_computation(tiny_model_folder, examples):
    training = AlignmentTrainer(tiny_model_folder, LABELS, QUICK, k=2)
    served = group_by_history(examples, len(LABELS))["train"][:3]

    training.loss(served).backward()
    packed = {name: weight.grad.clone() for name, weight in training.model.named_parameters()}

    training.model.zero_grad()
    total, evidence = torch.zeros(()), 0.0
    for row in served:
        for cluster, score, weight in zip(row.clusters, row.scores, row.weights, strict=True):
            logit = logit_alone(training.reader, row.history, cluster)
            total = total + weight * binary_cross_entropy_with_logits(logit, torch.tensor(float(score)))
            evidence += weight
    (total / evidence).backward()

    assert set(packed) == {name for name, _ in training.model.named_parameters()}
    for name, weight in training.model.named_parameters():
        torch.testing.assert_close(packed[name], weight.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_pairs_count_alike_and_their_probabilities_are_soft_labels(tiny_model_folder, examples):
    training = AlignmentTrainer(tiny_model_folder, LABELS, replace(QUICK, loss="pairwise"), k=2)
    served = group_by_history(examples, len(LABELS), toy_pairs(examples))["train"][:2]
    losses = []
    for row in served:
        logits = [logit_alone(training.reader, row.history, cluster).item() for cluster in row.clusters]
        for (better, worse), probability in zip(row.pairs, row.pair_probabilities, strict=True):
            modelled = expit(logits[better] - logits[worse])
            losses.append(-probability * np.log(modelled) - (1 - probability) * np.log(1 - modelled))
    assert training.loss(served).item() == pytest.approx(np.mean(losses), rel=1e-4)


@pytest.mark.parametrize("loss", ["pointwise", "pairwise"])
def test_passes_add_up_to_the_gradient_of_the_whole_batch(loss, tiny_model_folder, examples):
    gradients = []
    for size in (1, 2, 5):
        options = replace(QUICK, loss=loss)
        training = AlignmentTrainer(tiny_model_folder, LABELS, options, k=2)
        served = group_by_history(examples, len(LABELS), toy_pairs(examples))["train"][:5]
        optimiser = Optimiser(training.model.parameters(), Schedule(1e-3, 1, 0.1, 0.0))
        passes = {start: served[start : start + size] for start in range(0, 5, size)}
        value = training.accumulate_gradient(optimiser, passes)
        assert value == pytest.approx(training.loss(served).item(), rel=1e-4)
        gradients.append([master.grad for master in optimiser.masters if master.grad is not None])
    for other in gradients[1:]:
        for first, second in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-6)


def test_a_pass_whose_clusters_all_tie_adds_nothing_and_ends_nothing(tiny_model_folder, examples):
    training = AlignmentTrainer(tiny_model_folder, LABELS, replace(QUICK, loss="pairwise"), k=2)
    tie, one, many = group_by_history(examples, len(LABELS), toy_pairs(examples))["train"][:3]
    tie, one = (
        replace(row, pairs=row.pairs[:kept], pair_probabilities=row.pair_probabilities[:kept])
        for row, kept in ((tie, 0), (one, 1))
    )
    optimiser = Optimiser(training.model.parameters(), Schedule(1e-3, 1, 0.1, 0.0))
    value = training.accumulate_gradient(optimiser, {0: [one], 1: [tie], 2: [many]})
    assert value == pytest.approx(training.loss([one, many]).item(), rel=1e-4)


@pytest.mark.parametrize("stack", [False, True])
def test_a_curve_has_the_seconds_of_its_steps_and_leads_after_the_first_look(
    stack, tiny_model_folder, examples, monkeypatch
):
    clock = itertools.count()
    monkeypatch.setattr("models.alignment.trainer.time.monotonic", lambda: float(next(clock)))
    training = AlignmentTrainer(
        tiny_model_folder, LABELS, replace(QUICK, stack=stack, epochs=1.0, looks_per_epoch=4), k=2
    )
    assert len(training.reader.head_weights()) == (2 if stack else 1)
    training.evaluated = {2: None}
    assert training.overtrained_steps() == {}  # of nothing
    served = group_by_history(examples, len(LABELS))
    training.fit(served["train"], served["validation"], silent)
    assert len(training.curve) > 2
    assert [point.seconds for point in training.curve] == [float(point.step) for point in training.curve]
    assert [point.lead is None for point in training.curve] == [True] + [False] * (len(training.curve) - 1)
    assert (training.best_read is None) != stack


@pytest.mark.parametrize("tune, stack", [("full", False), ("lora", True)])
def test_a_training_that_was_killed_resumes_and_ends_with_the_same_weights(
    tune, stack, tiny_model_folder, examples, tmp_path
):
    options = replace(QUICK, tune=tune, stack=stack, epochs=2.25, looks_per_epoch=1)
    served = group_by_history(examples, len(LABELS))
    whole = AlignmentTrainer(tiny_model_folder, LABELS, options, k=2)
    whole.fit(served["train"], served["validation"], silent)

    def kill(line):
        if line.startswith("step 4"):
            raise KeyboardInterrupt

    resume = tmp_path / "unfinished"
    with pytest.raises(KeyboardInterrupt):
        AlignmentTrainer(tiny_model_folder, LABELS, options, k=2).fit(
            served["train"], served["validation"], kill, resume, save_every_seconds=3600.0
        )
    assert not resume.exists()  # no hour has passed
    killed = AlignmentTrainer(tiny_model_folder, LABELS, options, k=2)
    with pytest.raises(KeyboardInterrupt):
        killed.fit(served["train"], served["validation"], kill, resume, save_every_seconds=0.0)
    assert resume.exists()
    again = AlignmentTrainer(tiny_model_folder, LABELS, options, k=2)
    lines = []
    again.fit(served["train"], served["validation"], lines.append, resume, save_every_seconds=0.0)
    assert "interrupted after step 3 resumes" in lines[0]
    assert not resume.exists()
    assert again.curve == whole.curve
    if stack:
        np.testing.assert_array_equal(again.alone.head, whole.alone.head)
        assert again.alone.spreads == whole.alone.spreads
        np.testing.assert_array_equal(again.reader.offsets.affinity, whole.reader.offsets.affinity)
    for (name, first), (_, second) in zip(whole.model.named_parameters(), again.model.named_parameters(), strict=True):
        assert torch.equal(first, second), name


def test_the_head_of_a_stack_is_fitted_to_the_selected_body(tiny_model_folder, examples):
    options = replace(QUICK, stack=True, head_histories=10**6)
    training = AlignmentTrainer(tiny_model_folder, LABELS, options, k=2)
    served = group_by_history(examples, len(LABELS))
    training.fit(served["train"], served["validation"], silent)
    read = {part: ([row.history for row in rows], [row.clusters for row in rows]) for part, rows in served.items()}
    cells, validation = (
        JointCells.of(training.reader.read(*read[part]).array(), served[part], len(LABELS))
        for part in ("train", "validation")
    )
    spreads = choose_spreads(cells, validation, 2)
    assert training.selected.spreads == asdict(spreads)
    joint = fit_joint_head(cells, spreads)
    np.testing.assert_allclose(training.reader.heads.detach().numpy()[0], joint.head, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(training.reader.offsets.affinity, joint.offsets.affinity)
    histories, candidates = [[0, 1]], [[3, 4]]
    read = training.reader.read(histories, candidates)
    with_both, alone = (score(read)[0] for score in (training.score, training.score_alone))
    words = training.reader.states(histories, candidates).detach().numpy() @ training.alone.head
    np.testing.assert_allclose(alone, expit(words + training.alone.offsets.bias[[3, 4]]), rtol=1e-4)
    np.testing.assert_array_equal(training.score(read)[0], with_both)
    with pytest.raises(ValueError, match="no stack"):
        AlignmentTrainer(tiny_model_folder, LABELS, QUICK, k=2).score_alone(read)


def test_every_history_is_shown_before_any_comes_again():
    options = replace(QUICK, epochs=2.5, histories_per_batch=5, histories_per_pass=3)
    passes = training_passes(20, options)
    assert sorted(index for each in passes for index in each) == list(range(20))
    assert [len(each) for each in passes] == [3] * 6 + [2]
    steps = list(step_passes(20, options))
    assert len(steps) == total_steps(20, options) == 10  # 4 steps show all 7 passes
    assert {len(numbers) for numbers in steps} == {2}
    shown = [number for numbers in steps for number in numbers]
    for start in range(0, 14, 7):
        assert sorted(shown[start : start + 7]) == list(range(7))
    assert shown[:7] != shown[7:14]
    assert looks(20, replace(options, looks_per_epoch=2)) == {2, 4, 6, 8, 10}
    assert looks(20, replace(options, looks_per_epoch=1)) == {4, 8, 10}
    assert looks(20, replace(options, epochs=0.1, looks_per_epoch=4)) == {1}


@pytest.mark.parametrize("loss", ["pointwise", "pairwise"])
def test_what_frozen_layers_say_is_kept_over_the_epochs_and_changes_nothing(loss, tiny_model_folder, monkeypatch):
    served = group_by_history(examples := toy_examples(), len(LABELS), toy_pairs(examples))
    options = replace(QUICK, loss=loss, tune="top:1", epochs=2.0, histories_per_batch=4, histories_per_pass=2)

    def trained(most_bytes):
        lines, calls = [], []
        monkeypatch.setattr(frozen_layers, "MOST_BYTES", most_bytes)
        trainer = AlignmentTrainer(tiny_model_folder, LABELS, options, k=2)
        decoder_layers(trainer.model)[0].self_attn.register_forward_hook(
            lambda *_: calls.append(torch.is_grad_enabled())
        )
        trainer.fit(served["train"], served["validation"], lines.append)
        weights = torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()])
        return weights, sum(calls), [line for line in lines if "no room" in line]

    passes = len(training_passes(len(served["train"]), options))
    kept, calls, told = trained(2**30)
    assert (calls, told) == (passes, [])
    anew, calls, told = trained(2**14)
    assert passes < calls < 2 * total_steps(len(served["train"]), options)
    assert len(told) == 1
    assert torch.equal(kept, anew)
