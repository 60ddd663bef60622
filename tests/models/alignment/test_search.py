"""The search on a tiny random language model: resumable, thrifty with weights and with the test histories."""

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from support.options import ALIGNMENT

import models.alignment.search as searching
from models.alignment.examples import group_by_history
from models.alignment.pairs import PAIR_SCHEMA
from models.alignment.scoring import CandidateScorer
from models.alignment.search import AlignmentSearch
from models.alignment.trainer import AlignmentTrainer
from models.alignment.training import train_alignment_model
from models.alignment.trials import SearchOptions, TrialData
from models.evaluation.metrics import evaluate_ranking
from models.files import content_hash
from models.progress import silent

LABELS = ["football goals", "jazz piano", "chess openings", "wild life", "cooking", "space", "cards", "garden"]
STANDING = replace(
    ALIGNMENT, tune="top:1", learning_rate=3e-3, epochs=1.0, histories_per_batch=4, looks_per_epoch=4, head_histories=8
)
MULTIPLIERS = np.linspace(0.3, 0.5, len(LABELS))
POWERS = {"quantile": 1.0, "rate": 0.7, "z_score": 1.5, "lift": 2.0}


def toy_examples(seed=0):
    """All pairs as histories; odd clusters are liked, more so after an odd history."""
    generator = np.random.default_rng(seed)
    rows = []
    for index, (a, b) in enumerate(combinations(range(len(LABELS)), 2)):
        split = {1: "test", 3: "validation"}.get(index % 4, "train")
        for cluster in set(range(len(LABELS))) - {a, b}:
            rate = generator.binomial(20, expit(-1.5 + 2.5 * (cluster % 2) + 0.7 * (a % 2 + b % 2 - 1))) / 20
            rows.append(([a, b], cluster, rate, 4.0, rate, 20, split))
    columns = ["history", "cluster_id", "score", "weight", "raw_rate", "impressions", "split"]
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(
        unseen=pl.lit(value=False), prior_rate=pl.lit(0.4), shrunk_rate=pl.col("raw_rate")
    )


def prepare_from(examples):
    """Normalisations that are powers of the rate, and all pairs with different scores."""

    def prepare(normalisation, loss):
        rows = examples.with_columns(score=pl.col("raw_rate") ** POWERS[normalisation])
        pairs = [
            (history, *sorted((a, b), key=lambda c: -found[c]), 1.0, split)
            for (history, split), group in rows.group_by("history", "split", maintain_order=True)
            for found in [dict(group.select("cluster_id", "score").iter_rows())]
            for a, b in combinations(found, 2)
            if found[a] != found[b]
        ]
        multipliers = MULTIPLIERS if normalisation == "lift" else None
        paired = pl.DataFrame(pairs, schema=PAIR_SCHEMA, orient="row") if loss == "pairwise" else None
        return TrialData(rows, paired, multipliers)

    return prepare


@pytest.fixture(scope="module")
def examples():
    return toy_examples()


@pytest.fixture(scope="module")
def begin(tiny_model_folder, examples):
    def begin(folder, trials=8, log=silent, prepare=None, minutes=None, seed=0):
        chosen = SearchOptions("quantile", STANDING, trials, minutes, seed)
        return AlignmentSearch(
            tiny_model_folder, folder, "s", LABELS, prepare or prepare_from(examples), chosen, 2, log, {"model": "m"}
        )

    return begin


@pytest.fixture(scope="module")
def undisturbed(begin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, begin(folder).run()


@pytest.fixture
def unjudged(monkeypatch):
    """Leaves out the contest on the test histories, which takes a second."""
    monkeypatch.setattr(AlignmentSearch, "_judge", lambda *_: {})


def test_a_trial_of_lifts_is_judged_by_what_it_would_serve(tiny_model_folder, examples, tmp_path, unjudged):
    """Its predicted scores are multiplied by the rates that the lifts are of, in the search as in serving."""
    options = SearchOptions("lift", replace(STANDING, looks_per_epoch=1), 1, None, 0)
    search = AlignmentSearch(tiny_model_folder, tmp_path, "s", LABELS, prepare_from(examples), options, 2)
    (trial,) = search.run().trials
    served = group_by_history(examples, len(LABELS))["validation"]
    scorer = CandidateScorer(tmp_path / "s-001" / "model", LABELS, "packed")
    ranking = scorer.predict([row.history for row in served], [row.clusters for row in served]).ranking
    judged = evaluate_ranking(ranking, [row.rates for row in served], 2)
    assert (trial.figures["f1_at_k"], trial.figures["ndcg_at_k"]) == pytest.approx((judged.f1_at_k, judged.ndcg_at_k))
    np.testing.assert_array_equal(scorer.learned.rate_map.multipliers, MULTIPLIERS)
    scores = [values / MULTIPLIERS[row.clusters] for values, row in zip(ranking, served, strict=True)]
    assert evaluate_ranking(scores, [row.rates for row in served], 2).ndcg_at_k != pytest.approx(judged.ndcg_at_k)


def without_clock(curve):
    return [{name: value for name, value in point.items() if name != "seconds"} for point in curve]


def found(report):
    """What must not depend on the clock."""
    return [
        (trial.parameters, without_clock(trial.curve), {k: v for k, v in trial.figures.items() if k != "seconds"})
        for trial in report.trials
    ]


def weights(folder):
    return {path.parent.name for path in folder.glob("s-*/model")}


def test_the_first_trial_is_what_stands_and_is_trained_as_the_line_would(undisturbed, tiny_model_folder, tmp_path):
    _, report = undisturbed
    first = report.trials[0]
    assert first.parameters == {
        "normalisation": "quantile",
        "loss": "pointwise",
        "tune": "top:1",
        "learning_rate": 3e-3,
        "epochs": 1.0,
    }
    examples = prepare_from(toy_examples())("quantile", "pointwise").examples
    line = train_alignment_model(tiny_model_folder, tmp_path / "model", LABELS, examples, STANDING, k=2)
    assert without_clock(first.curve) == without_clock([vars(point) for point in line.curve])
    assert report.winner.rank >= first.rank


def test_the_winner_is_the_best_on_the_validation_histories(undisturbed):
    _, report = undisturbed
    best = max(report.trials, key=lambda t: (t.figures["f1_at_k"], t.figures["ndcg_at_k"], -t.number))
    assert report.winner == best
    for trial in report.trials:
        selected = next(point for point in trial.curve if point["step"] == trial.figures["selected_step"])
        assert trial.figures["f1_at_k"] == selected["f1_at_k"]
        assert selected["step"] == 0 or selected["lead"][0] > 0
    assert len({str(trial.parameters) for trial in report.trials}) == len(report.trials) == 8


def test_only_the_best_three_keep_their_weights(undisturbed):
    folder, report = undisturbed
    best = sorted(report.trials, key=lambda trial: trial.rank, reverse=True)[:3]
    assert weights(folder) == {trial.version for trial in best}
    for trial in report.trials:
        record = json.loads((folder / trial.version / "manifest.json").read_text())
        kept = sorted(path for path in (folder / trial.version / "model").rglob("*") if path.is_file())
        assert record["figures"] == trial.figures
        assert record["figures"]["weights_kept"] == bool(kept)
        assert record["content_hash"] == content_hash(*kept)
        assert (record["model"], record["parameters"]) == ("m", trial.parameters)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_weights_of_others_go_at_once(begin, unjudged, tmp_path):
    counts = []

    def count(line):
        if "the best is trial" in line:
            counts.append(len(weights(tmp_path)))

    report = begin(tmp_path, trials=6, log=count).run()
    assert len(counts) == len(report.trials)
    assert max(counts) <= 4  # the newest is whole on the disk before another goes


def test_an_interrupted_search_ends_with_the_same_trials(begin, undisturbed, tmp_path, monkeypatch):
    fit = AlignmentTrainer.fit
    monkeypatch.setattr(AlignmentTrainer, "fit", lambda *arguments: fit(*arguments, save_every_seconds=0.0))
    lines = []

    def kill_at(*beginnings):
        left = list(beginnings)

        def log(line):
            lines.append(line)
            if line.startswith(left[0]):
                left.pop(0)
                if not left:
                    raise KeyboardInterrupt

        return log

    for places in (["trial 1 of"], ["step 1"], ["trial 2:"], ["trial 3 of", "step 1"], ["trial 5 of", "step 2"]):
        with pytest.raises(KeyboardInterrupt):
            begin(tmp_path, log=kill_at(*places)).run()
    assert begin(tmp_path, trials=6, log=lines.append).run().trials[-1].number == 6
    report = begin(tmp_path, log=lines.append).run()
    assert sum(line.endswith("resumes") for line in lines) == 1
    assert found(report) == found(undisturbed[1])
    assert report.test["figures"] == undisturbed[1].test["figures"]
    assert weights(tmp_path) == weights(undisturbed[0])
    assert not list(tmp_path.glob(".*"))


def test_a_spent_budget_trains_nothing(begin, undisturbed):
    folder, report = undisturbed
    before = content_hash(*sorted(folder.glob("s-*/**/*.*")))
    lines = []
    assert begin(folder, log=lines.append).run() == report
    assert len(lines) == 1
    assert content_hash(*sorted(folder.glob("s-*/**/*.*"))) == before


def test_minutes_count_the_trials_of_all_sessions(begin, unjudged, tmp_path):
    first = begin(tmp_path, trials=2).run()
    seconds = sum(trial.figures["seconds"] for trial in first.trials)
    assert begin(tmp_path, minutes=seconds / 60 / 2).run() == first
    assert len(begin(tmp_path, minutes=seconds * 1.01 / 60).run().trials) == 3
    assert len(begin(tmp_path / "new", minutes=1e-9).run().trials) == 1


def test_another_seed_tries_other_settings(begin, undisturbed, unjudged, tmp_path):
    report = begin(tmp_path, trials=2, seed=1).run()
    assert report.trials[0].parameters == undisturbed[1].trials[0].parameters
    assert report.trials[1].parameters != undisturbed[1].trials[1].parameters


def test_the_test_histories_are_judged_once_and_never_select(begin, examples, undisturbed, tmp_path, monkeypatch):
    judged = []
    judge = searching.judge
    monkeypatch.setattr(searching, "judge", lambda *arguments: judged.append(1) or judge(*arguments))
    turned = pl.when(pl.col("split") == "test").then(1 - pl.col("raw_rate")).otherwise("raw_rate")
    prepare = prepare_from(examples.with_columns(raw_rate=turned))
    report = begin(tmp_path, prepare=prepare).run()
    assert found(report) == found(undisturbed[1])
    assert report.test["figures"]["f1_at_k"] < undisturbed[1].test["figures"]["f1_at_k"]
    assert begin(tmp_path, prepare=prepare).run().test == report.test
    assert len(judged) == 1
    assert report.test["judged"] == [report.winner.version]


def test_the_test_figures_are_those_of_the_winners_weights(undisturbed, examples, tiny_model_folder, tmp_path):
    _, report = undisturbed
    chosen = report.winner.parameters
    data = prepare_from(examples)(chosen["normalisation"], chosen["loss"])
    names = ("loss", "tune", "learning_rate", "epochs")
    line = train_alignment_model(
        tiny_model_folder,
        tmp_path / "model",
        LABELS,
        data.examples,
        replace(STANDING, **{name: chosen[name] for name in names}),
        k=2,
        pairs=data.pairs,
        multipliers=data.multipliers,
    )
    assert report.test["figures"] == pytest.approx(line.judgement.figures, nan_ok=True)


def test_a_training_that_fails_counts_and_loses(begin, examples, unjudged, tmp_path):
    def without_pairs(normalisation, loss):
        data = prepare_from(examples)(normalisation, loss)
        return replace(data, pairs=data.pairs.clear()) if loss == "pairwise" else data

    report = begin(tmp_path, prepare=without_pairs).run()
    failed = [trial for trial in report.trials if trial.failure]
    assert {trial.parameters["loss"] for trial in failed} == {"pairwise"}
    assert all("no training pairs" in trial.failure and not trial.figures["weights_kept"] for trial in failed)
    assert report.winner not in failed


def test_what_stands_must_work(begin, tmp_path, monkeypatch):
    def fail(*arguments):
        raise ValueError("a prediction is not finite")

    monkeypatch.setattr(AlignmentTrainer, "fit", fail)
    with pytest.raises(ValueError, match="not finite"):
        begin(tmp_path).run()


def test_data_that_cannot_tell_trials_apart_are_refused(begin, examples, tmp_path):
    few = examples.filter((pl.col("split") == "train") | (pl.col("cluster_id") < 3))
    with pytest.raises(ValueError, match=r"validation histories has 4 supported clusters"):
        begin(tmp_path, prepare=prepare_from(few))

    def other_splits(normalisation, loss):
        moved = pl.col("split").replace({"test": "train"}) if normalisation == "lift" else pl.col("split")
        return prepare_from(examples.with_columns(split=moved))(normalisation, loss)

    with pytest.raises(ValueError, match="examples of lift differ in more than their scores"):
        begin(tmp_path, prepare=other_splits)


def test_a_missing_record_is_named(begin, unjudged, tmp_path):
    begin(tmp_path, trials=1).run()
    (tmp_path / "s-001" / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"s-001/manifest\.json is missing.*delete .*s\.journal"):
        begin(tmp_path).run()


def test_a_stack_is_judged_with_its_language_model_alone(examples, tiny_model_folder, tmp_path):
    prepare, standing = prepare_from(examples), replace(STANDING, stack=True)
    options = SearchOptions("rate", standing, 1, None, 0)
    search = AlignmentSearch(tiny_model_folder, tmp_path / "search", "s", LABELS, prepare, options, 2)
    found = search.run().test["figures"]
    rows = prepare("rate", "pointwise").examples
    trained = train_alignment_model(tiny_model_folder, tmp_path / "model", LABELS, rows, standing, 2).judgement.figures
    assert {"ndcg_at_k_language_model", "words_share"} <= set(found)
    assert found == pytest.approx(trained, abs=1e-6)
