"""Leaks: what is held out changes nothing that is learned, by a bit; one row that teaches does.

Here everything begins with counted cells. What may depend on what:

- examples, pairs, multipliers, yardsticks: on cells of training histories, without the clusters kept from training;
- the weights of every step, and the rates that scores mean: likewise;
- which of these weights are saved, the spreads of a stack, the concentration around predicted rates: on validation
  histories too, again without those clusters;
- trials of a search, and which of them wins: likewise;
- figures, and nothing else: on test histories, and on clusters kept from training.
"""

from dataclasses import replace
from functools import partial
from hashlib import blake2b
from itertools import product

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from support.alignment import LABELS, QUICK
from support.leaks import TEACHES, one_of, other_counts, split_cells

from models.alignment import joint_head, later_days, report, users_apart
from models.alignment.apart_examples import APART
from models.alignment.candidate_reader import CandidateReader
from models.alignment.examples import group_by_history
from models.alignment.pairs import pairs_for_loss
from models.alignment.pointwise_examples import PointwiseOptions, pointwise_examples, prior_rates, with_less_feedback
from models.alignment.predicted_rates import PredictedRates, RateMap
from models.alignment.search import AlignmentSearch
from models.alignment.snapshots import offset_tensors
from models.alignment.trainer import AlignmentTrainer
from models.alignment.training import train_alignment_model
from models.alignment.trial_data import trial_preparation
from models.alignment.trials import LOSSES, NORMALISATIONS, SearchOptions
from models.language.language_model import load_tokenizer, new_scoring_model
from models.progress import silent

OPTIONS = PointwiseOptions(
    holdout_share=0.4,
    report_share=0.5,
    unseen_cluster_share=0.125,
    prior="cluster",
    normalisation="quantile",
    interval=None,
    seed=1,
)
CELLS = split_cells().drop("split", "unseen")
EXAMPLES = pointwise_examples(CELLS, OPTIONS)
SELECTS = (pl.col("split") == "validation") & ~pl.col("unseen")
REPORTS = (pl.col("split") == "test") | pl.col("unseen")
SHORT = replace(QUICK, epochs=1.5, looks_per_epoch=2)
EMBEDDINGS = np.random.default_rng(0).normal(size=(len(LABELS), 5))


def examples_after(changed, options=OPTIONS):
    """Examples of the same cells, with other counts where the examples are ``changed``."""
    return pointwise_examples(other_counts(CELLS, EXAMPLES.select(changed.alias("changed"))["changed"]), options)


def test_every_part_is_there_to_be_changed():
    for part in (TEACHES, SELECTS, REPORTS):
        before, after = (rows.filter(part)["raw_rate"] for rows in (EXAMPLES, examples_after(part)))
        assert len(before) > 5
        assert (before != after).any()


@pytest.mark.parametrize(("prior", "normalisation"), list(product(("cluster", "affinity"), NORMALISATIONS)))
def test_examples_are_scored_by_what_teaches(prior, normalisation):
    options = replace(OPTIONS, prior=prior, normalisation=normalisation)
    before, after, taught = (
        examples_after(changed, options).filter(TEACHES)
        for changed in (pl.lit(value=False), ~TEACHES, one_of(EXAMPLES))
    )
    assert after.equals(before)
    assert not taught[1:]["shrunk_rate"].equals(before[1:]["shrunk_rate"])


def test_less_feedback_takes_nothing_of_what_is_held_out():
    some = CELLS.with_columns(pl.col("impressions", "positives") // 2)
    bars = {"minimum_impressions": 1, "minimum_users": 1, "minimum_share_of_mean": 0.0}
    less = partial(with_less_feedback, options=OPTIONS, **bars)
    before = less(EXAMPLES, some).filter(TEACHES)
    held_out = EXAMPLES.select((~TEACHES).alias("changed"))["changed"]
    assert less(examples_after(~TEACHES), other_counts(some, held_out)).filter(TEACHES).equals(before)
    assert not less(EXAMPLES, other_counts(some, ~held_out)).filter(TEACHES).equals(before)


@pytest.mark.parametrize(
    "learner",
    [
        lambda examples: pairs_for_loss(examples, "pairwise", 6, seed=1).filter(pl.col("split") == "train").rows(),
        lambda examples: prior_rates(examples, len(LABELS)).tobytes(),
    ],
    ids=["pairs", "multipliers"],
)
def test_pairs_and_multipliers_are_made_of_what_teaches(learner):
    before = learner(EXAMPLES)
    assert learner(examples_after(~TEACHES)) == before
    assert learner(examples_after(one_of(EXAMPLES))) != before


@pytest.mark.parametrize(("normalisation", "loss"), list(product(NORMALISATIONS, LOSSES)))
def test_trials_are_prepared_from_what_teaches(normalisation, loss):
    def prepared(changed):
        found = trial_preparation(examples_after(changed), len(LABELS), None, 6, seed=1)(normalisation, loss)
        teaching = found.pairs.filter(pl.col("split") == "train").rows(), found.examples.filter(TEACHES).rows()
        return *teaching, None if found.multipliers is None else found.multipliers.tobytes()

    before = prepared(pl.lit(value=False))
    assert prepared(~TEACHES) == before
    assert prepared(one_of(EXAMPLES)) != before


@pytest.fixture
def ranked(monkeypatch):
    """What every contestant of every contest made of the histories that were judged; the contests are held."""
    seen = []
    for module in (report, later_days, users_apart):

        def hold(predictions, *arguments, held=module.hold_contest):
            seen.append({name: np.concatenate(scores).tobytes() for name, scores in predictions.items()})
            return held(predictions, *arguments)

        monkeypatch.setattr(module, "hold_contest", hold)
    return seen


@pytest.fixture(scope="module")
def untrained(tiny_model_folder):
    """A model that learned nothing, ready to be judged."""
    model = new_scoring_model(tiny_model_folder, seed=0, layers=None)
    reader = CandidateReader(model, load_tokenizer(tiny_model_folder), LABELS)
    rates = PredictedRates(RateMap(np.array([0.0, 1.0]), np.array([0.1, 0.9]), np.ones(len(LABELS))), 20.0)
    return report.JudgedModel(reader.read, lambda read: [expit(logits) for logits in reader.score(read)], rates)


LEARNING_YARDSTICKS = {"prior", "training_means", "additive", "factorisation", "label_regression"}


def test_yardsticks_on_test_histories_know_what_teaches_alone(untrained, ranked):
    def popularity(examples):
        judged = report.judge(untrained, examples, LABELS, 2, EMBEDDINGS, 0)
        return [(group["low"], group["high"]) for group in judged.errors["popularity"]]

    parts = (pl.lit(value=False), ~TEACHES, one_of(EXAMPLES, at=3))
    groups = [popularity(examples_after(part)) for part in parts]
    before, after, taught = ranked
    assert after == before
    assert {name for name in before if taught[name] != before[name]} == LEARNING_YARDSTICKS
    assert groups[0] == groups[1] != groups[2]


def test_yardsticks_on_later_days_know_what_teaches_alone(ranked):
    later = CELLS.with_columns(pl.col("impressions", "positives") * 2)

    def contest(cells, examples):
        later_days.contest_of_later_days(
            cells,
            examples,
            lambda _, candidates: [np.array(clusters, dtype=float) for clusters in candidates],
            minimum_impressions=1,
            clusters=len(LABELS),
            label_embeddings=EMBEDDINGS,
            k=2,
            seed=0,
        )

    contest(later, EXAMPLES)
    contest(other_counts(later, pl.lit(value=True)), examples_after(~TEACHES))
    contest(later, examples_after(one_of(EXAMPLES, at=3)))
    before, after, taught = ranked
    assert after == before
    assert {name for name in before if taught[name] != before[name]} == LEARNING_YARDSTICKS


def test_where_users_are_kept_apart_those_who_judge_teach_nothing(untrained, ranked):
    """Models and yardsticks follow from the counts of those who teach; counts of all users are not looked at."""

    def contest(examples, apart):
        both = examples.with_columns(**{name: apart[whole] for name, whole in APART.items()}).filter(~pl.col("unseen"))
        read = [
            untrained.read([row.history for row in served], [row.clusters for row in served])
            for served in group_by_history(both, len(LABELS)).values()
        ]
        users_apart.contest_of_users_apart(
            both, read, stack=True, label_vectors=True, clusters=len(LABELS), label_embeddings=EMBEDDINGS, k=2, seed=0
        )

    contest(EXAMPLES, EXAMPLES)
    contest(examples_after(pl.lit(value=True)), examples_after(REPORTS))
    contest(EXAMPLES, examples_after(one_of(EXAMPLES, at=3)))
    before, after, taught = ranked
    assert after == before
    learned = {name for name in before if taught[name] != before[name]}
    assert learned == LEARNING_YARDSTICKS | {"model", "language_model"}


KINDS = {
    "pointwise": SHORT,
    "pairwise": replace(SHORT, loss="pairwise"),
    "stack": replace(SHORT, stack=True),
}


def pairs_of(examples, options):
    return pairs_for_loss(examples, options.loss, 6, seed=1)


def curve_of(curve):
    return [replace(point, seconds=0.0) for point in curve]


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_follows_from_what_teaches_and_what_selects(kind, tiny_model_folder, tmp_path):
    options = KINDS[kind]

    def trained(name, changed):
        examples = examples_after(changed)
        found = train_alignment_model(
            tiny_model_folder, tmp_path / name, LABELS, examples, options, 2, pairs=pairs_of(examples, options)
        )
        files = {path.name: blake2b(path.read_bytes()).hexdigest() for path in (tmp_path / name).iterdir()}
        assert {"model.safetensors", "predicted_rates.npz"} <= set(files)
        assert ("offsets.npz" in files) == (kind == "stack")
        return files, curve_of(found.curve), found.selected_step

    def rates_of_scores(name):
        learned = PredictedRates.load(tmp_path / name).rate_map
        return learned.levels.tobytes(), learned.rates.tobytes()

    before = trained("before", pl.lit(value=False))
    assert trained("after", REPORTS) == before
    assert trained("selected", SELECTS) != before
    assert rates_of_scores("selected") == rates_of_scores("before")
    files = trained("taught", one_of(EXAMPLES))[0]
    assert all(files[name] != before[0][name] for name in files if name.endswith((".safetensors", ".npz")))


@pytest.mark.parametrize("kind", KINDS)
def test_validation_histories_select_and_tell_how_sure_predictions_are(kind, tiny_model_folder, monkeypatch):
    """The weights of every evaluation stay as they are; of a stack where they leave no choice of spreads."""
    for spreads in ("HEAD_SPREADS", "EMBEDDING_SPREADS", "AFFINITY_SPREADS"):
        monkeypatch.setattr(joint_head, spreads, (0.1, 0.1, 0.1))
    options = replace(KINDS[kind], keep_overtrained=True)

    def trained(changed):
        examples = examples_after(changed)
        served = group_by_history(examples.filter(~pl.col("unseen")), len(LABELS), pairs_of(examples, options))
        trainer = AlignmentTrainer(tiny_model_folder, LABELS, options, 2)
        trainer.fit(served["train"], served["validation"], silent)
        weights = {
            (step, name): value.numpy().tobytes()
            for step, snapshot in trainer.evaluated.items()
            for name, value in (*snapshot.weights.items(), *enumerate(offset_tensors(snapshot.offsets)))
        }
        learned = trainer.calibrate(examples.filter(TEACHES), served["validation"])
        rate_map = learned.rate_map.levels.tobytes(), learned.rate_map.rates.tobytes()
        losses = [point.training_loss for point in trainer.curve]
        return (weights, rate_map, losses), learned.concentration

    (before, concentration), (after, other) = trained(pl.lit(value=False)), trained(SELECTS)
    assert {step for step, _ in before[0]} == {0, 2, 4, 6}
    assert after == before
    assert other != concentration
    assert trained(one_of(EXAMPLES))[0] != before


def test_trials_of_a_search_and_its_winner_follow_from_what_teaches_and_what_selects(tiny_model_folder, tmp_path):
    def searched(name, changed):
        prepare = trial_preparation(examples_after(changed), len(LABELS), None, 6, seed=1)
        options = SearchOptions("quantile", replace(SHORT, epochs=0.5), 2, None, 0)
        found = AlignmentSearch(
            tiny_model_folder, tmp_path / name, "s", LABELS, prepare, options, 2, label_embeddings=EMBEDDINGS
        ).run()
        weights = {
            str(path.relative_to(tmp_path / name)): blake2b(path.read_bytes()).hexdigest()
            for path in (tmp_path / name).glob("s-*/model/*")
        }
        trials = [
            (trial.parameters, {name: value for name, value in trial.figures.items() if name != "seconds"})
            for trial in found.trials
        ]
        return (weights, trials, found.winner.number), found.test["figures"]

    before, figures = searched("before", pl.lit(value=False))
    after, other_figures = searched("after", REPORTS)
    assert after == before
    assert other_figures != figures
    assert searched("taught", one_of(EXAMPLES))[0] != before
