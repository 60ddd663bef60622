"""The alignment model on a tiny random language model: exact gradients, honest selection, repeatable training."""

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import Ridge
from torch.nn.functional import binary_cross_entropy_with_logits

from models.alignment.candidate_reader import CandidateReader
from models.alignment.checkpoint_selection import ValidationPoint, merit
from models.alignment.examples import group_by_history
from models.alignment.joint_head import JointCells, choose_spreads, fit_joint_head
from models.alignment.linear_head import HEAD_PENALTIES, fit_head, ridge, working_logits
from models.alignment.losses import pairwise_loss, soft_label_loss
from models.alignment.options import AlignmentOptions
from models.alignment.predicted_rates import PredictedRates
from models.alignment.scoring import CandidateScorer
from models.alignment.trainer import AlignmentTrainer, training_batches
from models.alignment.training import train_alignment_model
from models.evaluation.metrics import evaluate_ranking
from models.files import content_hash
from models.language.fine_tuning import Optimiser, Schedule
from models.language.language_model import load_scoring_model, load_tokenizer
from models.language.prompts import alignment_prompt, label_text
from models.progress import silent

LABELS = [
    "football goals",
    "jazz piano",
    "chess openings",
    "wild life",
    "cooking",
    "space astronomy",
    "cards",
    "garden",
]
QUICK = AlignmentOptions(
    tune="full", learning_rate=3e-3, steps=20, histories_per_batch=4, evaluate_every=5, head_histories=8
)


def score_candidates(folder, labels, histories, candidates):
    return CandidateScorer(folder, labels).predict(histories, candidates).ranking


def toy_examples(seed=0):
    """All pairs as histories; odd clusters are liked, more so after an odd history."""
    generator = np.random.default_rng(seed)
    rows = []
    for index, (a, b) in enumerate(combinations(range(len(LABELS)), 2)):
        split = "test" if index % 4 == 1 else "validation" if index % 4 == 3 else "train"
        for cluster in range(len(LABELS)):
            if cluster not in (a, b) and generator.random() < 0.9:
                true = expit(-1.5 + 2.5 * (cluster % 2) + 0.7 * (a % 2 + b % 2 - 1))
                impressions = int(generator.integers(20, 60))
                rate = generator.binomial(impressions, true) / impressions
                rows.append(([a, b], cluster, round(rate * 20) / 20, impressions**0.5, rate, impressions, split))
    columns = ["history", "cluster_id", "score", "weight", "raw_rate", "impressions", "split"]
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    return frame.with_columns(unseen=pl.lit(value=False), shrunk_rate=pl.col("raw_rate"))


@pytest.fixture(scope="module")
def examples():
    return toy_examples()


@pytest.fixture(scope="module")
def reader(tiny_model_folder):
    return CandidateReader(load_scoring_model(tiny_model_folder), load_tokenizer(tiny_model_folder), LABELS)


@pytest.fixture(scope="module")
def trained(tiny_model_folder, examples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alignment") / "model"
    return folder, train_alignment_model(tiny_model_folder, folder, LABELS, examples, QUICK, k=2)


def toy_pairs(examples):
    """Every two served clusters of a history with different scores, all weights 1."""
    rows = [
        (history, a, b, 1.0, split) if first > second else (history, b, a, 1.0, split)
        for (history, split), group in examples.sort("cluster_id").group_by("history", "split")
        for (a, first), (b, second) in combinations(group.select("cluster_id", "score").iter_rows(), 2)
        if first != second
    ]
    return pl.DataFrame(rows, schema=["history", "better_id", "worse_id", "weight", "split"], orient="row")


def alone(reader, history, cluster):
    """The logit by the sequence classifier's own forward pass over one plain sequence."""
    text = reader.tokenizer(alignment_prompt([LABELS[c] for c in history])).input_ids
    label = reader.tokenizer(label_text(LABELS[cluster]), add_special_tokens=False).input_ids
    label += reader.tokenizer("\n", add_special_tokens=False).input_ids
    return reader.model(input_ids=torch.tensor([text + label])).logits[0, 0]


def test_packed_logits_equal_one_by_one(reader):
    histories, candidates = [[3, 0], [5, 6], [1, 2]], [[4, 1, 7], [0], [7, 6, 5, 4, 3]]
    expected = [[alone(reader, h, c).item() for c in cs] for h, cs in zip(histories, candidates, strict=True)]
    np.testing.assert_allclose(
        reader.logits(histories, candidates).detach(), np.concatenate(expected), rtol=1e-4, atol=1e-5
    )


def test_packed_gradient_equals_the_unpacked_computation(tiny_model_folder, examples):
    training = AlignmentTrainer(tiny_model_folder, LABELS, QUICK, k=2)
    served = group_by_history(examples, len(LABELS))["train"][:3]

    training.loss(served).backward()
    packed = {name: weight.grad.clone() for name, weight in training.model.named_parameters()}

    training.model.zero_grad()
    total, evidence = torch.zeros(()), 0.0
    for row in served:
        for cluster, score, weight in zip(row.clusters, row.scores, row.weights, strict=True):
            logit = alone(training.reader, row.history, cluster)
            total = total + weight * binary_cross_entropy_with_logits(logit, torch.tensor(float(score)))
            evidence += weight
    (total / evidence).backward()

    assert set(packed) == {name for name, _ in training.model.named_parameters()}
    for name, weight in training.model.named_parameters():
        torch.testing.assert_close(packed[name], weight.grad, rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize("loss", ["pointwise", "pairwise"])
def test_passes_add_up_to_the_gradient_of_the_whole_batch(loss, tiny_model_folder, examples):
    gradients = []
    for histories_per_pass in (1, 2, 5):
        options = replace(QUICK, loss=loss, histories_per_pass=histories_per_pass)
        training = AlignmentTrainer(tiny_model_folder, LABELS, options, k=2)
        served = group_by_history(examples, len(LABELS), toy_pairs(examples))["train"][:5]
        optimiser = Optimiser(training.model.parameters(), Schedule(1e-3, 1, 0.1, 0.0))
        value = training.accumulate_gradient(optimiser, served)
        assert value == pytest.approx(training.loss(served).item(), rel=1e-4)
        gradients.append([master.grad for master in optimiser.masters if master.grad is not None])
    for other in gradients[1:]:
        for first, second in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-6)


def test_pairwise_loss_by_hand():
    better, worse, weights = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0])
    expected = (np.log(1 + np.exp(-1)) + 3 * np.log(1 + np.exp(2))) / 4
    assert pairwise_loss(better, worse, weights).item() == pytest.approx(expected, rel=1e-5)


def test_pairwise_training_beats_random_too(tiny_model_folder, examples, tmp_path):
    options = replace(QUICK, loss="pairwise")
    folder = tmp_path / "model"
    pairs = toy_pairs(examples)
    report = train_alignment_model(tiny_model_folder, folder, LABELS, examples, options, k=2, pairs=pairs)
    figures = report.judgement.figures
    assert figures["ndcg_at_k"] > figures["ndcg_at_k_random"] + 0.1
    with pytest.raises(ValueError, match="no training pairs"):
        train_alignment_model(tiny_model_folder, folder, LABELS, examples, options, k=2, pairs=pairs.clear())


def test_pairs_of_clusters_that_were_not_served_are_refused(examples):
    history = examples["history"][0].to_list()
    pairs = pl.DataFrame({"history": [history], "better_id": [history[0]], "worse_id": [7], "weight": [1.0]})
    with pytest.raises(ValueError, match="is not among its served clusters"):
        group_by_history(examples, len(LABELS), pairs)


@pytest.mark.parametrize("tune, stack", [("full", False), ("lora", True)])
def test_a_training_that_was_killed_resumes_and_ends_with_the_same_weights(
    tune, stack, tiny_model_folder, examples, tmp_path
):
    options = replace(QUICK, tune=tune, stack=stack, steps=9, evaluate_every=4)
    served = group_by_history(examples, len(LABELS))
    whole = AlignmentTrainer(tiny_model_folder, LABELS, options, k=2)
    whole.fit(served["train"], served["validation"], silent)

    def kill(line):
        if line.startswith("step 4"):
            raise KeyboardInterrupt

    resume = tmp_path / "unfinished"
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
        np.testing.assert_array_equal(again.reader.offsets.affinity, whole.reader.offsets.affinity)
    for (name, first), (_, second) in zip(whole.model.named_parameters(), again.model.named_parameters(), strict=True):
        assert torch.equal(first, second), name


def test_multipliers_scale_what_is_ranked_and_travel_with_the_model(tiny_model_folder, examples, tmp_path):
    options, folder = replace(QUICK, steps=2), tmp_path / "model"
    multipliers = np.linspace(0.1, 0.8, len(LABELS))
    train_alignment_model(tiny_model_folder, folder, LABELS, examples, options, k=2, multipliers=multipliers)
    (with_them,) = score_candidates(folder, LABELS, [[0, 1]], [[2, 5]])
    learned = PredictedRates.load(folder)
    replace(learned, rate_map=replace(learned.rate_map, multipliers=np.ones(len(LABELS)))).save(folder)
    (without,) = score_candidates(folder, LABELS, [[0, 1]], [[2, 5]])
    np.testing.assert_allclose(with_them, without * multipliers[[2, 5]])


def test_a_stack_travels_with_the_model_and_is_judged_as_the_model(tiny_model_folder, examples, tmp_path):
    options, folder = replace(QUICK, steps=4, stack=True), tmp_path / "model"
    report = train_alignment_model(tiny_model_folder, folder, LABELS, examples, options, k=2)
    assert report.judgement.model == "language model + additive affinity"
    assert {"additive", "language_model"} <= set(report.judgement.leads)
    test = group_by_history(examples, len(LABELS))["test"]
    ranked = score_candidates(folder, LABELS, [row.history for row in test], [row.clusters for row in test])
    assert evaluate_ranking(ranked, [row.rates for row in test], 2).ndcg_at_k == pytest.approx(
        report.judgement.figures["ndcg_at_k"], abs=1e-6
    )


def test_the_head_of_a_stack_is_fitted_to_the_selected_body(tiny_model_folder, examples):
    options = replace(QUICK, stack=True, head_histories=10**6)
    training = AlignmentTrainer(tiny_model_folder, LABELS, options, k=2)
    served = group_by_history(examples, len(LABELS))
    training.fit(served["train"], served["validation"], silent)
    read = [row.history for row in served["train"]], [row.clusters for row in served["train"]]
    cells = JointCells.of(training.reader.read(*read).array(), served["train"], len(LABELS))
    joint = fit_joint_head(cells, choose_spreads(cells))
    np.testing.assert_allclose(training.reader.head.detach().numpy()[0], joint.head, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(training.reader.offsets.affinity, joint.offsets.affinity)
    histories, candidates = [[0, 1]], [[3, 4]]
    read = training.reader.read(histories, candidates)
    with_both, alone = (score(read)[0] for score in (training.score, training.score_alone))
    words = training.reader.states(histories, candidates).detach().numpy() @ training.alone.head
    np.testing.assert_allclose(alone, expit(words + training.alone.offsets.bias[[3, 4]]), rtol=1e-4)
    np.testing.assert_array_equal(training.score(read)[0], with_both)
    with pytest.raises(ValueError, match="no stack"):
        AlignmentTrainer(tiny_model_folder, LABELS, QUICK, k=2).score_alone(read)


def test_overtrained_arms_are_kept_at_two_and_three_times_the_selected_step(tiny_model_folder, examples, tmp_path):
    training = AlignmentTrainer(tiny_model_folder, LABELS, replace(QUICK, keep_overtrained=True), k=2)
    served = group_by_history(examples, len(LABELS))
    training.fit(served["train"], served["validation"], silent)
    assert sorted(training.evaluated_weights) == [0, 5, 10, 15, 20]
    steps = {}
    for selected in (0, 5, 10):
        training.selected = replace(training.curve[0], step=selected)
        steps[selected] = training.overtrained_steps()
    assert steps == {0: {}, 5: {2: 10, 3: 15}, 10: {2: 20}}
    report = train_alignment_model(
        tiny_model_folder, tmp_path / "model", LABELS, examples, replace(QUICK, keep_overtrained=True), k=2
    )
    for factor, arm in report.overtrained.items():
        assert arm["step"] >= factor * report.selected_step
        assert (tmp_path / f"model_overtrained_{factor}x" / "config.json").is_file()


def test_clusters_kept_from_training_are_judged_apart(tiny_model_folder, examples, tmp_path):
    kept = examples.with_columns(unseen=pl.col("cluster_id") >= 4)
    embeddings = np.eye(len(LABELS))
    report = train_alignment_model(
        tiny_model_folder, tmp_path / "model", LABELS, kept, QUICK, k=1, label_embeddings=embeddings
    )
    figures = report.judgement.figures
    assert {"unseen_ndcg_at_k", "unseen_ndcg_at_k_random", "unseen_ndcg_at_k_nearest_label"} <= set(figures)
    assert "label_regression" in report.judgement.leads
    # The yardsticks know nothing of them: turning their training rows around changes nothing.
    hidden = (pl.col("split") == "train") & pl.col("unseen")
    turned = kept.with_columns(raw_rate=pl.when(hidden).then(1 - pl.col("raw_rate")).otherwise("raw_rate"))
    again = train_alignment_model(
        tiny_model_folder, tmp_path / "again", LABELS, turned, QUICK, k=1, label_embeddings=embeddings
    )
    assert again.judgement.figures == figures


def test_loss_by_hand():
    loss = soft_label_loss(torch.tensor([0.0, 2.0]), torch.tensor([0.3, 1.0]), torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((np.log(2) + 3 * np.log(1 + np.exp(-2))) / 4, rel=1e-5)


def test_fitted_head_is_the_weighted_ridge_solution(tiny_model_folder, examples):
    reader = CandidateReader(load_scoring_model(tiny_model_folder), load_tokenizer(tiny_model_folder), LABELS)
    served = group_by_history(examples, len(LABELS))["train"]
    x = reader.states([row.history for row in served], [row.clusters for row in served]).detach().numpy()
    scores, weights = (np.concatenate([getattr(row, name) for row in served]) for name in ("scores", "weights"))
    target = working_logits(scores, weights)
    penalty = fit_head(reader, served)
    reference = Ridge(alpha=penalty * weights.sum(), fit_intercept=False).fit(x, target, sample_weight=weights)
    np.testing.assert_allclose(reader.head.detach().numpy()[0], reference.coef_, rtol=1e-3, atol=1e-4)


def test_working_logits_are_one_step_towards_the_logistic_fit():
    """From the constant model one least-squares step must lead where one Newton step of the likelihood does."""
    generator = np.random.default_rng(1)
    x = np.c_[generator.normal(size=(50, 2)), np.ones(50)]
    scores, weights = generator.uniform(size=50), generator.uniform(0.5, 2, 50)
    mean = np.average(scores, weights=weights)
    start = np.array([0, 0, np.log(mean / (1 - mean))])
    gradient = x.T @ (weights * (scores - mean))
    newton = start + np.linalg.solve((x * (weights * mean * (1 - mean))[:, None]).T @ x, gradient)
    least_squares = np.linalg.solve((x * weights[:, None]).T @ x, x.T @ (weights * working_logits(scores, weights)))
    np.testing.assert_allclose(least_squares, newton, atol=1e-10)
    assert np.isfinite(working_logits(np.zeros(3), np.ones(3))).all()


@pytest.mark.parametrize("noise", [0.01, 30.0])
def test_the_penalty_is_the_one_of_least_error_on_left_out_histories(noise):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(120, 30))
    target = x @ generator.normal(size=30) + noise * generator.normal(size=120)
    weights, folds = generator.uniform(0.5, 2, 120), np.arange(120) % 5
    errors = []
    for candidate in HEAD_PENALTIES:
        error = 0.0
        for fold in range(5):
            out, kept = folds == fold, folds != fold
            model = Ridge(alpha=candidate * weights.sum(), fit_intercept=False)
            model.fit(x[kept], target[kept], sample_weight=weights[kept])
            error += weights[out] @ (model.predict(x[out]) - target[out]) ** 2
        errors.append(error)
    penalty, _ = ridge(x, target, weights, folds)
    assert penalty == HEAD_PENALTIES[int(np.argmin(errors))] == (0.001 if noise < 1 else 1.0)


def test_training_beats_random(trained, examples):
    _, report = trained
    supported = examples.filter(split="test").group_by("history").len()
    assert report.judgement.held_out_histories == supported.filter(pl.col("len") >= 4).height >= 5
    assert report.judgement.figures["f1_at_k"] > report.judgement.figures["f1_at_k_random"] + 0.1
    assert report.judgement.figures["ndcg_at_k"] > report.judgement.figures["ndcg_at_k_random"] + 0.15
    assert report.curve[-1].training_loss < report.curve[1].training_loss
    assert report.notes == ()


def test_yardsticks_see_training_rows_only(trained, tiny_model_folder, examples, tmp_path):
    held_out = pl.col("split") != "train"
    turned = examples.with_columns(
        raw_rate=pl.when(held_out).then(1 - pl.col("raw_rate")).otherwise("raw_rate"),
        score=pl.when(held_out).then(1 - pl.col("score")).otherwise("score"),
    )
    options = replace(QUICK, steps=1)
    report = train_alignment_model(tiny_model_folder, tmp_path / "model", LABELS, turned, options, k=2)
    # What predicts the true rates well must rank the turned ones worse than chance.
    for name in ("f1_at_k_prior", "f1_at_k_training_means"):
        assert (
            report.judgement.figures[name]
            < report.judgement.figures["f1_at_k_random"]
            < trained[1].judgement.figures[name]
        )


def test_what_is_saved_is_the_best_look_at_the_validation_histories(tiny_model_folder, examples, tmp_path):
    # So high a learning rate that the last step is not the best.
    options = replace(QUICK, learning_rate=0.05, evaluate_every=2)
    report = train_alignment_model(tiny_model_folder, tmp_path / "model", LABELS, examples, options, k=2)
    best = max(report.curve, key=lambda point: (point.f1_at_k, point.ndcg_at_k, -point.step))
    assert report.selected_step == best.step < options.steps
    assert report.selected_by == "f1_at_k"

    served = group_by_history(examples, len(LABELS))["validation"]
    scores = score_candidates(
        tmp_path / "model", LABELS, [row.history for row in served], [row.clusters for row in served]
    )
    again = evaluate_ranking(scores, [row.rates for row in served], k=2)
    assert (again.f1_at_k, again.ndcg_at_k) == pytest.approx((best.f1_at_k, best.ndcg_at_k))


def test_the_better_point():
    def point(step, loss, f1, ndcg):
        return ValidationPoint(step, None, loss, f1, ndcg)

    assert merit(point(1, 9.0, 0.6, 0.1)) > merit(point(2, 0.1, 0.5, 0.9))
    assert merit(point(1, 9.0, 0.5, 0.9)) > merit(point(2, 0.1, 0.5, 0.8))
    assert merit(point(1, 0.3, None, None)) > merit(point(2, 0.4, None, None))
    assert merit(point(2, None, None, None)) > merit(point(1, None, None, None))


def test_same_seed_same_weights_whatever_the_order_of_rows(trained, tiny_model_folder, examples, tmp_path):
    folder, report = trained
    shuffled = examples.sample(fraction=1, shuffle=True, seed=3)
    again = train_alignment_model(tiny_model_folder, tmp_path / "again", LABELS, shuffled, QUICK, k=2)
    assert content_hash(tmp_path / "again" / "model.safetensors") == content_hash(folder / "model.safetensors")
    assert (again.curve, again.judgement.figures) == (report.curve, report.judgement.figures)

    train_alignment_model(tiny_model_folder, tmp_path / "other", LABELS, examples, replace(QUICK, seed=1), k=2)
    assert content_hash(tmp_path / "other" / "model.safetensors") != content_hash(folder / "model.safetensors")


def test_batches_show_every_history_before_any_comes_again():
    options = replace(QUICK, steps=10, histories_per_batch=4)
    shown = [index for batch in training_batches(7, options) for index in batch]
    assert len(shown) == 40
    for start in range(0, 35, 7):
        assert sorted(shown[start : start + 7]) == list(range(7))
    assert shown[:7] != shown[7:14]


@pytest.mark.parametrize("tune", ["top:1", "lora"])
def test_other_ways_to_tune_save_a_standard_model(tune, tiny_model_folder, examples, tmp_path):
    folder = tmp_path / "model"
    report = train_alignment_model(tiny_model_folder, folder, LABELS, examples, replace(QUICK, tune=tune), k=2)
    assert report.judgement.figures["ndcg_at_k"] > report.judgement.figures["ndcg_at_k_random"]
    test = group_by_history(examples, len(LABELS))["test"]
    scores = score_candidates(folder, LABELS, [row.history for row in test], [row.clusters for row in test])
    assert evaluate_ranking(scores, [row.rates for row in test], 2).ndcg_at_k == pytest.approx(
        report.judgement.figures["ndcg_at_k"], abs=1e-6
    )
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["LlamaForSequenceClassification"]


def test_without_enough_supported_clusters_the_loss_selects(tiny_model_folder, examples, tmp_path):
    report = train_alignment_model(tiny_model_folder, tmp_path / "model", LABELS, examples, QUICK, k=5)
    assert report.selected_by == "validation_loss"
    assert report.selected_step == min(report.curve, key=lambda point: point.validation_loss).step
    assert report.judgement.held_out_histories == 0
    rate_errors = {"ece", "predictive_coverage", "interval_width"}
    ranked = {name: value for name, value in report.judgement.figures.items() if name not in rate_errors}
    assert set(ranked.values()) == {None}
    assert any("10 supported clusters" in note for note in report.notes)


def test_without_held_out_histories_the_last_step_is_saved(tiny_model_folder, examples, tmp_path):
    only = examples.filter(split="train")
    report = train_alignment_model(tiny_model_folder, tmp_path / "model", LABELS, only, replace(QUICK, steps=7), k=2)
    assert (report.selected_by, report.selected_step) == ("last_step", 7)
    assert len(report.notes) == 2


ROW = {
    "history": [0, 1],
    "cluster_id": 2,
    "score": 0.5,
    "weight": 1.0,
    "raw_rate": 0.5,
    "impressions": 9,
    "split": "train",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([{"split": "holdout"}], "split other than"),
        ([{}, {"cluster_id": 3, "split": "test"}], "two splits"),
        ([{}, {}], "occurs twice"),
        ([{"cluster_id": 99}], "does not exist"),
        ([{"cluster_id": 1}], "its own history"),
        ([{"history": [0, 0]}], "names a cluster twice"),
        ([{"history": [0, 77]}], "does not exist"),
        ([{"score": 1.2}], "score outside"),
        ([{"score": None}], "score outside"),
        ([{"score": float("nan")}], "score outside"),
        ([{"weight": 0.0}], "weight"),
        ([{"weight": float("inf")}], "weight"),
        ([{"raw_rate": -0.1}], "raw rate"),
        ([{"split": "test"}], "no training examples"),
    ],
)
def test_unusable_examples_are_named(changes, message):
    frame = pl.DataFrame([{**ROW, **change} for change in changes])
    with pytest.raises(ValueError, match=message):
        group_by_history(frame, len(LABELS))


def test_scores_are_those_of_single_candidates(trained):
    folder, _ = trained
    histories = [[a, b] for a, b in combinations(range(6), 2)]
    candidates = [[c for c in range(len(LABELS)) if c not in history] for history in histories]
    candidates[4] = []
    scores = score_candidates(folder, LABELS, histories, candidates)
    reader = CandidateReader(load_scoring_model(folder), load_tokenizer(folder), LABELS)
    for history, clusters, values in zip(histories, candidates, scores, strict=True):
        expected = [torch.sigmoid(alone(reader, history, cluster)).item() for cluster in clusters]
        np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_a_history_is_read_as_a_set(trained):
    folder, _ = trained
    (one,), (other,) = (score_candidates(folder, LABELS, [history], [[4, 5]]) for history in ([1, 2], [2, 1]))
    assert one.tolist() == other.tolist()


def test_an_untrained_folder_and_unknown_candidates_are_refused(tiny_model_folder, trained, tmp_path):
    for folder in (tiny_model_folder, tmp_path):
        with pytest.raises(ValueError, match="holds no alignment model"):
            score_candidates(folder, LABELS, [[0, 1]], [[2]])
    with pytest.raises(ValueError, match="candidate 8 is no cluster"):
        score_candidates(trained[0], LABELS, [[0, 1]], [[8]])
