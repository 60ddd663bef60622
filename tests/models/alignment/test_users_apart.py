"""Users kept apart: counts by hand and by a plain count of users, and the contest that they judge."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from support.alignment import LABELS, QUICK, toy_examples

from models.alignment.apart_examples import APART, with_users_apart
from models.alignment.training import train_alignment_model
from models.feedback.priors import effective_impressions, fit_cluster_priors

CELLS = {"history": pl.List(pl.Int64), "cluster_id": pl.Int64}
COUNTS = {"impressions": pl.Int64, "users": pl.Int64, "positives": pl.Int64}
LEAST = {"minimum_impressions": 2, "minimum_users": 1, "minimum_share_of_mean": 0.0}
NAMES = ("f1_at_k", "ndcg_at_k")


def frame(rows, schema):
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_training_counts_are_of_those_who_teach_and_test_counts_of_the_others():
    cells = [([0, 1], 2), ([0, 1], 3), ([0, 2], 3), ([1, 2], 3), ([1, 2], 0)]
    splits = ["train", "train", "validation", "test", "test"]
    examples = frame(cells, CELLS).with_columns(pl.Series("split", splits), unseen=False)
    counted = frame(
        [([0, 1], 2, 9, 5, 4), ([0, 1], 3, 8, 4, 2), ([0, 2], 3, 5, 3, 2), ([1, 2], 3, 10, 6, 4), ([1, 2], 0, 4, 3, 1)],
        CELLS | COUNTS,
    )
    teaching = frame(
        [([0, 1], 2, 4, 2, 3), ([0, 1], 3, 1, 1, 0), ([0, 2], 3, 3, 2, 1), ([1, 2], 3, 7, 4, 4)], CELLS | COUNTS
    )
    found = with_users_apart(examples, counted, teaching, **LEAST)
    # One impression of (0, 1), 3 is too few; of (1, 2), 3 the others saw 3, and of (1, 2), 0 all 4.
    assert found["apart_impressions"].to_list() == [4, None, 3, 3, 4]
    assert found["apart_rate"].to_list() == [3 / 4, None, 1 / 3, 0.0, 1 / 4]
    taught = frame([([0, 1], 2, 4, 2, 3)], CELLS | COUNTS)
    concentration = fit_cluster_priors(taught).concentration
    assert found["apart_weight"][0] == pytest.approx(effective_impressions(np.array([4.0]), concentration)[0])
    assert found.drop(*APART).equals(examples)


def test_the_mean_cell_of_a_part_is_of_the_cells_that_its_users_saw():
    """Of the test cells the others saw 10, 1 and 0: a mean of 5.5, not of 3.7 or 10, and 0.55 of it are 4."""
    examples = frame([([0, 1], 2), ([0, 2], 3), ([0, 2], 4)], CELLS).with_columns(split=pl.lit("test"), unseen=False)
    counted = frame([([0, 1], 2, 14, 9, 4), ([0, 2], 3, 5, 5, 2), ([0, 2], 4, 4, 4, 2)], CELLS | COUNTS)
    teaching = frame([([0, 1], 2, 4, 2, 3), ([0, 2], 3, 4, 4, 1), ([0, 2], 4, 4, 4, 2)], CELLS | COUNTS)
    for share, kept in ((0.1, 1), (0.18, 1), (0.19, None)):
        least = {"minimum_impressions": 1, "minimum_users": 1, "minimum_share_of_mean": share}
        found = with_users_apart(examples, counted, teaching, **least)
        assert found["apart_impressions"].to_list() == [10, kept, None], share


def test_counts_are_those_of_a_plain_count_over_users():
    generator = np.random.default_rng(4)
    examples = toy_examples().select("history", "cluster_id", "split", "unseen")
    seen = defaultdict(list)
    for history, cluster in examples.select("history", "cluster_id").iter_rows():
        for user in generator.choice(30, 12, replace=False):
            seen[tuple(history), cluster, int(user)] = [int(generator.random() < 0.4) for _ in range(2)]

    def counted(users):
        cells = defaultdict(lambda: [0, 0, 0])
        for (history, cluster, user), outcomes in seen.items():
            if user in users:
                cell = cells[history, cluster]
                cells[history, cluster] = [cell[0] + 2, cell[1] + 1, cell[2] + sum(outcomes)]
        return cells

    def as_frame(cells):
        return frame([(list(history), cluster, *cell) for (history, cluster), cell in cells.items()], CELLS | COUNTS)

    everybody, teachers, others = counted(range(30)), counted(range(15)), counted(range(15, 30))
    found = with_users_apart(examples, as_frame(everybody), as_frame(teachers), **LEAST)
    for history, cluster, split, impressions, rate in found.select(
        "history", "cluster_id", "split", "apart_impressions", "apart_rate"
    ).iter_rows():
        expected = (others if split == "test" else teachers)[tuple(history), cluster]
        assert (impressions or 0) == expected[0]
        assert not expected[0] or rate == pytest.approx(expected[2] / expected[0])


@pytest.fixture(scope="module")
def as_they_are():
    """All users teach and judge alike: the contest beside must be the contest."""
    examples = toy_examples()
    return examples.with_columns(**{apart: pl.col(whole) for apart, whole in APART.items()})


def figures_of(tiny_model_folder, folder, examples, stack=True):
    options = replace(QUICK, epochs=0.5, looks_per_epoch=1, stack=stack, head_histories=10**6)
    return train_alignment_model(tiny_model_folder, folder, LABELS, examples, options, k=2).judgement.figures


@pytest.fixture(scope="module")
def contest(tiny_model_folder, as_they_are, tmp_path_factory):
    return figures_of(tiny_model_folder, tmp_path_factory.mktemp("apart") / "model", as_they_are)


def contest_histories(examples):
    """Test histories with 2k clusters or more."""
    return examples.filter(split="test").group_by("history").len().filter(pl.col("len") >= 4).height


def test_with_the_same_users_the_contest_beside_is_the_contest(contest, as_they_are):
    others = ("", "_random", "_prior", "_training_means", "_additive", "_factorisation", "_language_model")
    for name in NAMES:
        for other in others:
            assert contest[f"{name}_users_apart{other}"] == pytest.approx(contest[f"{name}{other}"], abs=1e-6), other
    assert contest["held_out_histories_users_apart"] == contest_histories(as_they_are) == 6


def test_those_who_judge_teach_nothing(tiny_model_folder, as_they_are, contest, tmp_path):
    """Other judges change the contest beside, and so do other teachers; they change nothing of the contest itself."""
    turned = as_they_are.with_columns(
        raw_rate=pl.when(split="test").then(1 - pl.col("raw_rate")).otherwise("raw_rate"),
        apart_rate=pl.when(split="test").then(1 - pl.col("apart_rate")).otherwise("apart_rate"),
    )
    found = figures_of(tiny_model_folder, tmp_path / "turned", turned)
    for name in NAMES:
        for other in ("", "_prior", "_additive"):
            assert found[f"{name}_users_apart{other}"] < contest[f"{name}_users_apart{other}"]
    taught_wrong = as_they_are.with_columns(
        apart_rate=pl.when(split="test").then("apart_rate").otherwise(1 - pl.col("apart_rate"))
    )
    wrong = figures_of(tiny_model_folder, tmp_path / "wrong", taught_wrong)
    for name in NAMES:
        for other in ("", "_prior", "_additive", "_language_model"):
            beside = f"{name}_users_apart{other}"
            assert wrong[beside] < contest[f"{name}_users_apart_random"] < contest[beside]
            assert wrong[f"{name}{other}"] == contest[f"{name}{other}"]


def test_without_the_stack_the_language_model_stands_in_the_contest(tiny_model_folder, as_they_are, tmp_path):
    found = figures_of(tiny_model_folder, tmp_path / "model", as_they_are, stack=False)
    assert found["ndcg_at_k_users_apart"] > found["ndcg_at_k_users_apart_random"]
    assert "ndcg_at_k_users_apart_language_model" not in found


def test_where_nobody_teaches_the_report_says_so(tiny_model_folder, as_they_are, tmp_path):
    nobody = as_they_are.with_columns(pl.when(split="test").then(pl.col(*APART)))
    options = replace(QUICK, epochs=0.5, looks_per_epoch=1, stack=True)
    report = train_alignment_model(tiny_model_folder, tmp_path / "model", LABELS, nobody, options, k=2)
    assert "no figures with users kept apart: those who teach give too little feedback" in report.notes
    assert not any("users_apart" in name for name in report.judgement.figures)
