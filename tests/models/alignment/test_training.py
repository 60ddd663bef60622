"""The alignment model on a tiny random language model: honest selection, repeatable training, arms beside it."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from support.alignment import LABELS, QUICK, score_candidates, toy_examples, toy_pairs

from models.alignment.candidate_reader import CandidateReader
from models.alignment.checkpoint_selection import ValidationPoint, validation_point
from models.alignment.examples import group_by_history, with_raw_rates
from models.alignment.joint_head import HEAD_SPREADS
from models.alignment.passes import steps_of_an_epoch
from models.alignment.predicted_rates import PredictedRates
from models.alignment.scoring import CandidateScorer
from models.alignment.trainer import AlignmentTrainer
from models.alignment.training import train_alignment_model
from models.evaluation.metrics import evaluate_ranking
from models.files import content_hash
from models.progress import silent

RATES = ("score", "raw_rate")
UNSERVED = 5


@pytest.fixture(scope="module")
def examples():
    return toy_examples()


@pytest.fixture(scope="module")
def trained(tiny_model_folder, examples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alignment") / "model"
    return folder, train_alignment_model(tiny_model_folder, folder, LABELS, examples, QUICK, k=2)


def test_pairwise_training_beats_random_too(tiny_model_folder, examples, tmp_path):
    options = replace(QUICK, loss="pairwise")
    folder = tmp_path / "model"
    pairs = toy_pairs(examples)
    report = train_alignment_model(tiny_model_folder, folder, LABELS, examples, options, k=2, pairs=pairs)
    figures = report.judgement.figures
    assert figures["ndcg_at_k"] > figures["ndcg_at_k_random"] + 0.1
    with pytest.raises(ValueError, match="no training pairs"):
        train_alignment_model(tiny_model_folder, folder, LABELS, examples, options, k=2, pairs=pairs.clear())


def test_multipliers_scale_what_is_ranked_and_travel_with_the_model(tiny_model_folder, examples, tmp_path):
    options, folder = replace(QUICK, epochs=0.5), tmp_path / "model"
    multipliers = np.linspace(0.1, 0.8, len(LABELS))
    train_alignment_model(tiny_model_folder, folder, LABELS, examples, options, k=2, multipliers=multipliers)
    (with_them,) = score_candidates(folder, LABELS, [[0, 1]], [[2, 5]])
    learned = PredictedRates.load(folder)
    replace(learned, rate_map=replace(learned.rate_map, multipliers=np.ones(len(LABELS)))).save(folder)
    (without,) = score_candidates(folder, LABELS, [[0, 1]], [[2, 5]])
    np.testing.assert_allclose(with_them, without * multipliers[[2, 5]])


def test_a_stack_travels_with_the_model_and_is_judged_as_the_model(tiny_model_folder, examples, tmp_path):
    options, folder = replace(QUICK, epochs=1.0, stack=True), tmp_path / "model"
    report = train_alignment_model(tiny_model_folder, folder, LABELS, examples, options, k=2)
    assert report.judgement.model == "language model + additive affinity"
    assert {"additive", "language_model"} <= set(report.judgement.leads)
    figures, intervals = report.judgement.figures, report.judgement.intervals
    assert figures["words_share"] == pytest.approx(figures["spread_of_words"] / figures["spread_of_scores"])
    assert 0 < figures["words_share"] < 1
    assert -1 < figures["spearman_without_words"] < 1
    for name in ("ndcg_at_k", "ndcg_at_k_language_model", "ndcg_at_k_additive"):
        low, high = report.facts()["intervals"][name]
        assert low <= figures[name] <= high
    assert set(intervals) == {name for name in figures if "_at_k" in name and "split_half" not in name}
    test = group_by_history(examples, len(LABELS))["test"]
    ranked = score_candidates(folder, LABELS, [row.history for row in test], [row.clusters for row in test])
    assert evaluate_ranking(ranked, [row.rates for row in test], 2).ndcg_at_k == pytest.approx(
        report.judgement.figures["ndcg_at_k"], abs=1e-6
    )


def test_where_label_vectors_tell_everything_the_language_model_reads_nothing(
    tiny_model_folder, examples, tmp_path, monkeypatch
):
    """Odd clusters are liked, more so after odd histories: the vectors say so. All training histories teach."""
    vectors = np.array([[cluster % 2, 1.0] for cluster in range(len(LABELS))])
    options = replace(QUICK, stack=True, label_vectors=True, epochs=2.0, head_histories=6)
    folder = tmp_path / "model"
    unserved = examples.filter(pl.col("cluster_id") != UNSERVED)
    rows = unserved.filter(pl.col("split") == "train")
    report = train_alignment_model(tiny_model_folder, folder, LABELS, unserved, options, k=2, label_embeddings=vectors)
    assert report.curve[-1].spreads["head"] == 0.0
    epoch = steps_of_an_epoch(rows["history"].n_unique(), options)
    assert report.curve[-1].step == epoch  # the second epoch would be for nothing
    ended = f"training ended after step {epoch} of {2 * epoch}: label vectors say what the words say"
    assert ended in report.facts()["notes"]
    assert report.judgement.model == "label vectors + additive affinity"
    assert report.judgement.figures["words_share"] > 0.2
    assert report.judgement.figures["ndcg_at_k"] > report.judgement.figures["ndcg_at_k_random"] + 0.1
    reader = CandidateReader.open(folder, LABELS)
    assert not reader.head_weights().any()
    monkeypatch.setattr(CandidateReader, "states", None)  # reading would fail
    scorer = CandidateScorer(folder, LABELS, "vllm")  # which is not needed either
    histories = [[1, 3], [0, 2]]
    found = scorer.predict(histories, [[4, UNSERVED, 7], [5, UNSERVED]])
    assert [mask.any() for mask in found.read] == [False, False]
    (_, after_odd, _), (_, after_even) = found.rates
    assert after_odd > after_even  # of an odd cluster that nobody was served
    taught = reader.offsets
    assert set(np.flatnonzero(taught.never_served)) == {UNSERVED} < set(range(len(LABELS)))
    assert rows["history"].n_unique() > options.head_histories


def test_vectors_of_labels_are_a_stacks_where_it_is_asked_for_them(tiny_model_folder):
    vectors = np.eye(len(LABELS))
    for asked in (True, False):
        options = replace(QUICK, stack=True, label_vectors=asked)
        trainer = AlignmentTrainer(tiny_model_folder, LABELS, options, 2, label_embeddings=vectors)
        assert (trainer.vectors is vectors) == asked


@pytest.mark.parametrize(
    ("heads", "now", "changed", "ends"),
    [
        ([0.0, 0.0], 0.0, {}, True),
        ([0.0, 0.1], 0.0, {}, False),  # the words had a head at one look
        ([0.0, 0.0], 0.1, {}, False),  # and have one for clusters never served
        ([0.0, 0.0], 0.0, {"keep_overtrained": True}, False),
        ([0.0, 0.0], 0.0, {"label_vectors": False}, False),
        ([0.0, 0.0], 0.0, {"stack": False}, False),
        ([0.0, 0.0], 0.0, {"epochs": 1.0, "histories_per_batch": 2, "histories_per_pass": 2}, False),
    ],
)
def test_words_earn_nothing_where_no_look_of_a_whole_epoch_reads(tiny_model_folder, heads, now, changed, ends):
    asked = {"stack": True, "label_vectors": True, "histories_per_batch": 4, "histories_per_pass": 4}
    trainer = AlignmentTrainer(tiny_model_folder, LABELS, replace(QUICK, **asked | changed), 2)
    trainer.reader.set_heads(np.full_like(trainer.reader.head_weights(), now))
    trainer.curve = [ValidationPoint(step, None, None, None, None, spreads={"head": h}) for step, h in enumerate(heads)]
    assert trainer.words_earn_nothing(2, histories=8) == ends  # two steps of four histories
    assert not trainer.words_earn_nothing(1, histories=8)


@pytest.mark.parametrize("loss", ["pointwise", "pairwise"])
def test_a_stack_learns_raw_rates_whatever_the_labels_and_multipliers_are(loss, tiny_model_folder, examples, tmp_path):
    by_rank = examples.with_columns(score=pl.col("raw_rate").rank() / examples.height)
    pairs = toy_pairs(examples)
    found = {}
    for stack in (True, False):
        options = replace(QUICK, epochs=0.5, looks_per_epoch=4, stack=stack, loss=loss)
        for name, rows, multipliers in (("L", examples, None), ("rank", by_rank, np.linspace(0.1, 0.8, len(LABELS)))):
            folder = tmp_path / f"{name}_{stack}"
            report = train_alignment_model(
                tiny_model_folder, folder, LABELS, rows, options, k=2, pairs=pairs, multipliers=multipliers
            )
            found[name, stack] = report.curve, report.judgement.figures, content_hash(*sorted(folder.rglob("*")))
    assert found["L", True] == found["rank", True]
    assert found["L", False] != found["rank", False]


def test_the_rates_of_a_stack_are_its_predictions(tiny_model_folder, examples, tmp_path):
    options, folder = replace(QUICK, epochs=0.5, stack=True), tmp_path / "model"
    sparse = examples.with_columns(score=pl.lit(0.5))  # one level: a map from L would have one rate for all
    train_alignment_model(tiny_model_folder, folder, LABELS, sparse, options, k=2)
    (histories, candidates) = [[0, 1], [2, 5]], [[2, 5, 7], [0, 1, 3]]
    predicted = CandidateScorer(folder, LABELS, "packed").predict(histories, candidates)
    for rates, ranking in zip(predicted.rates, predicted.ranking, strict=True):
        np.testing.assert_allclose(rates, ranking)
        assert len(set(rates)) == 3


def test_overtrained_arms_are_kept_at_two_and_three_times_the_selected_step(tiny_model_folder, examples, tmp_path):
    training = AlignmentTrainer(tiny_model_folder, LABELS, replace(QUICK, keep_overtrained=True), k=2)
    served = group_by_history(examples, len(LABELS))
    training.fit(served["train"], served["validation"], silent)
    assert sorted(training.evaluated) == [0, 4, 8, 12, 16, 20]
    steps = {}
    for selected in (0, 4, 8):
        training.selected = replace(training.curve[0], step=selected)
        steps[selected] = training.overtrained_steps()
    assert steps == {0: {}, 4: {2: 8, 3: 12}, 8: {2: 16}}
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


def test_training_beats_random(trained, examples):
    _, report = trained
    supported = examples.filter(split="test").group_by("history").len()
    assert report.judgement.held_out_histories == supported.filter(pl.col("len") >= 4).height >= 5
    assert report.judgement.figures["f1_at_k"] > report.judgement.figures["f1_at_k_random"] + 0.1
    assert report.judgement.figures["ndcg_at_k"] > report.judgement.figures["ndcg_at_k_random"] + 0.15
    assert report.curve[-1].training_loss < report.curve[1].training_loss
    assert report.notes == ()
    assert report.judgement.figures["words_share"] == 1.0


def test_yardsticks_see_training_rows_only(trained, tiny_model_folder, examples, tmp_path):
    held_out = pl.col("split") != "train"
    turned = examples.with_columns(
        raw_rate=pl.when(held_out).then(1 - pl.col("raw_rate")).otherwise("raw_rate"),
        score=pl.when(held_out).then(1 - pl.col("score")).otherwise("score"),
    )
    options = replace(QUICK, epochs=0.25)
    report = train_alignment_model(tiny_model_folder, tmp_path / "model", LABELS, turned, options, k=2)
    # What predicts the true rates well must rank the turned ones worse than chance.
    for name in ("f1_at_k_prior", "f1_at_k_training_means"):
        assert (
            report.judgement.figures[name]
            < report.judgement.figures["f1_at_k_random"]
            < trained[1].judgement.figures[name]
        )


@pytest.mark.parametrize(("multipliers", "seed"), [(None, 2), (np.where(np.arange(len(LABELS)) % 2, 0.2, 0.9), 5)])
def test_what_is_saved_is_the_best_look_at_the_validation_histories(
    multipliers, seed, tiny_model_folder, examples, tmp_path
):
    # So high a learning rate that the last step is not the best.
    options = replace(QUICK, learning_rate=0.02, epochs=3.0, looks_per_epoch=2, seed=seed)
    report = train_alignment_model(
        tiny_model_folder, tmp_path / "model", LABELS, examples, options, k=2, multipliers=multipliers
    )
    proven = [point for point in report.curve if point.lead and point.lead[0] > 0]
    best = max(proven, key=lambda point: (point.ndcg_at_k, -point.step))
    assert report.selected_step == best.step < report.curve[-1].step
    assert report.selected_by == "ndcg_at_k"

    served = group_by_history(examples, len(LABELS))["validation"]
    scores = score_candidates(
        tmp_path / "model", LABELS, [row.history for row in served], [row.clusters for row in served]
    )
    again = evaluate_ranking(scores, [row.rates for row in served], k=2)
    assert (again.f1_at_k, again.ndcg_at_k) == pytest.approx((best.f1_at_k, best.ndcg_at_k))


@pytest.mark.parametrize("stack", [False, True])
def test_what_was_judged_is_what_is_saved_to_the_last_bit(stack, tiny_model_folder, examples, tmp_path):
    options = replace(QUICK, learning_rate=0.03, epochs=3.0, looks_per_epoch=2, seed=2, stack=stack)
    folder = tmp_path / "model"
    report = train_alignment_model(tiny_model_folder, folder, LABELS, examples, options, k=2)
    judged = next(point for point in report.curve if point.step == report.selected_step)
    if stack:
        assert judged.step not in (0, report.curve[-1].step)  # neither the first fit nor the last one
        assert {point.validation_loss for point in report.curve} > {judged.validation_loss}
    served = group_by_history(with_raw_rates(examples) if stack else examples, len(LABELS))["validation"]
    reader = CandidateReader.open(folder, LABELS)
    logits = reader.all_logits([row.history for row in served], [row.clusters for row in served])
    again, _ = validation_point(logits, served, 2, judged.step, judged.training_loss, np.ones(len(LABELS)))
    assert replace(again, spreads=judged.spreads, lead=judged.lead) == judged


def test_validation_histories_choose_the_spreads_and_test_histories_nothing(tiny_model_folder, examples, tmp_path):
    options = replace(QUICK, epochs=1.0, looks_per_epoch=2, stack=True)

    def trained_on(name, split):
        """With the rates of a split turned around."""
        turned = [pl.when(split=split).then(1 - pl.col(rate)).otherwise(rate).alias(rate) for rate in RATES]
        folder = tmp_path / name
        report = train_alignment_model(tiny_model_folder, folder, LABELS, examples.with_columns(turned), options, k=2)
        return report, content_hash(folder / "model.safetensors", folder / "offsets.npz")

    plain, weights = trained_on("plain", "none")
    other_test, same_weights = trained_on("test", "test")
    other_validation, other_weights = trained_on("validation", "validation")
    assert (other_test.curve, same_weights) == (plain.curve, weights)
    assert other_test.judgement.figures != plain.judgement.figures
    assert other_weights != weights
    # What no longer foretells the validation rates is drawn to nothing.
    assert other_validation.curve[0].spreads["head"] == HEAD_SPREADS[0] < plain.curve[0].spreads["head"]


def test_looks_do_not_change_what_is_trained(tiny_model_folder, examples):
    served = group_by_history(examples, len(LABELS))
    ends = []
    for looks_per_epoch in (1, 3):
        options = replace(QUICK, epochs=3.0, looks_per_epoch=looks_per_epoch, stack=True)
        training = AlignmentTrainer(tiny_model_folder, LABELS, options, k=2)
        training.fit(served["train"], served["validation"], silent)
        # The interval of a lead holds for all looks together: it is of their number, not of what was trained.
        ends.append(replace(training.curve[-1], training_loss=None, lead=None))
    assert ends[0] == ends[1]


def test_same_seed_same_weights_whatever_the_order_of_rows(trained, tiny_model_folder, examples, tmp_path):
    folder, report = trained
    shuffled = examples.sample(fraction=1, shuffle=True, seed=3)
    again = train_alignment_model(tiny_model_folder, tmp_path / "again", LABELS, shuffled, QUICK, k=2)
    assert content_hash(tmp_path / "again" / "model.safetensors") == content_hash(folder / "model.safetensors")
    assert (again.curve, again.judgement.figures) == (report.curve, report.judgement.figures)

    train_alignment_model(tiny_model_folder, tmp_path / "other", LABELS, examples, replace(QUICK, seed=1), k=2)
    assert content_hash(tmp_path / "other" / "model.safetensors") != content_hash(folder / "model.safetensors")


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
    ranked = {name: value for name, value in report.judgement.figures.items() if "_at_k" in name or "_share" in name}
    ranked.pop("words_share")
    assert set(ranked.values()) == {None}
    assert any("10 supported clusters" in note for note in report.notes)


@pytest.mark.parametrize("stack", [False, True])
def test_without_held_out_histories_the_last_step_is_saved(stack, tiny_model_folder, examples, tmp_path):
    only = examples.filter(split="train")
    options = replace(QUICK, epochs=1.75, stack=stack)
    report = train_alignment_model(tiny_model_folder, tmp_path / "model", LABELS, only, options, k=2)
    assert (report.selected_by, report.selected_step) == ("last_step", 7)
    assert len(report.notes) == 2
