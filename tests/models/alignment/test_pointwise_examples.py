"""Pointwise examples: the split, the evidence, the clusters kept from training, and training on less feedback."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from support.options import SCORES

from models.alignment.pointwise_examples import (
    PointwiseOptions,
    feedback_amount,
    histories_by_split,
    judged_histories,
    pointwise_examples,
    prior_rates,
    training_rows,
    with_less_feedback,
)
from models.feedback.transition_scores import transition_scores

OPTIONS = PointwiseOptions(
    holdout_share=0.4,
    report_share=0.75,
    unseen_cluster_share=0.0,
    prior="cluster",
    normalisation="rate",
    interval=0.01,
    seed=1,
)
BARS = {"minimum_impressions": 1, "minimum_users": 1, "minimum_share_of_mean": 0.0}


def cells(histories, clusters=(41,), impressions=9):
    rows = [(history, cluster) for history in histories for cluster in clusters]
    return pl.DataFrame(
        {
            "history": [history for history, _ in rows],
            "cluster_id": [cluster for _, cluster in rows],
            "impressions": impressions,
            "users": 9,
            "positives": [(sum(history) + cluster) % (impressions + 1) for history, cluster in rows],
        },
        schema_overrides={"impressions": pl.Int64, "users": pl.Int64},
    )


HISTORIES = [[a, b] for a in range(8) for b in range(a + 1, 8)]


def test_held_out_histories_are_divided_by_the_report_share():
    histories = [[a, b] for a in range(40) for b in range(a + 1, 40)]
    counts = histories_by_split(pointwise_examples(cells(histories), OPTIONS))
    assert sum(counts.values()) == len(histories)
    assert counts["test"] / len(histories) == pytest.approx(0.3, abs=0.05)
    assert counts["validation"] / len(histories) == pytest.approx(0.1, abs=0.04)


def test_histories_with_2k_clusters_that_are_not_kept_from_training_can_be_judged():
    served = {(0, 1): ("train", 6, 0), (0, 2): ("train", 5, 1), (0, 3): ("test", 9, 3), (0, 4): ("test", 5, 0)}
    rows = [
        (list(history), 10 + at, split, at >= seen)
        for history, (split, seen, unseen) in served.items()
        for at in range(seen + unseen)
    ]
    examples = pl.DataFrame(rows, schema=["history", "cluster_id", "split", "unseen"], orient="row")
    assert judged_histories(examples, 3) == {"test": 1, "train": 1}
    assert judged_histories(examples, 5) == {}
    assert judged_histories(examples.clear(), 3) == {}


def test_a_history_is_counted_once_however_many_clusters_it_was_served():
    counts = histories_by_split(pl.DataFrame({"history": [[0, 1], [0, 1], [1, 2]], "split": ["train"] * 2 + ["test"]}))
    assert counts == {"test": 1, "train": 1}


def test_held_out_feedback_does_not_move_training_scores():
    counted = cells(HISTORIES, (10, 11, 12))
    before = pointwise_examples(counted, OPTIONS)
    held_out = before["split"] != "train"
    changed = counted.with_columns(positives=pl.when(held_out).then(0).otherwise("positives"))
    after = pointwise_examples(changed, OPTIONS)
    assert after.filter(~held_out).equals(before.filter(~held_out))
    assert after.filter(held_out)["raw_rate"].unique().to_list() == [0.0]


def test_rates_are_shrunk_towards_the_prior_that_is_asked_for():
    counted = cells(HISTORIES, (10, 11, 12))
    found = {prior: pointwise_examples(counted, replace(OPTIONS, prior=prior)) for prior in ("cluster", "affinity")}
    for prior, rows in found.items():
        scored = transition_scores(
            counted.with_columns(rows["split"], rows["unseen"]),
            replace(SCORES, minimum_impressions=1, minimum_users=1, minimum_share_of_mean=0.0, prior=prior),
        ).scores
        assert rows["shrunk_rate"].equals(scored["shrunk_rate"])
    assert not found["cluster"]["shrunk_rate"].equals(found["affinity"]["shrunk_rate"])


def test_evidence_is_the_effective_impressions_and_grows_with_the_impressions():
    counted = pl.concat([cells(HISTORIES, (10, 11)), cells(HISTORIES, (12,), impressions=90)])
    rows = pointwise_examples(counted, OPTIONS)
    few, many = (rows.filter(pl.col("impressions") == n)["weight"].unique().to_list() for n in (9, 90))
    assert len(few) == len(many) == 1
    # n (kappa + 1) / (n + kappa): from both weights follows the same kappa.
    kappa = [n * (1 - weight) / (weight - n) for n, weight in ((9, few[0]), (90, many[0]))]
    assert kappa[0] == pytest.approx(kappa[1])
    assert 1 < few[0] < many[0] < 1 + kappa[0]


def test_a_cell_that_no_filter_would_keep_is_kept():
    counted = cells(HISTORIES, (10, 11)).with_columns(impressions=pl.lit(1), users=pl.lit(1), positives=pl.lit(1))
    assert pointwise_examples(counted, OPTIONS).height == counted.height


def test_clusters_kept_from_training_are_a_share_and_teach_nothing():
    counted = cells(HISTORIES, range(10, 18))
    rows = pointwise_examples(counted, replace(OPTIONS, unseen_cluster_share=0.25))
    unseen = rows.filter("unseen")["cluster_id"].unique().to_list()
    assert len(unseen) == 2
    changed = counted.with_columns(positives=pl.when(pl.col("cluster_id").is_in(unseen)).then(0).otherwise("positives"))
    after = pointwise_examples(changed, replace(OPTIONS, unseen_cluster_share=0.25))
    assert after.filter(~pl.col("unseen")).equals(rows.filter(~pl.col("unseen")))


def test_less_feedback_teaches_and_all_of_it_judges():
    everybody = cells(HISTORIES, range(10, 18))
    options = replace(OPTIONS, unseen_cluster_share=0.25)
    examples = pointwise_examples(everybody, options)
    some = everybody.with_columns(impressions=pl.lit(3, pl.Int64), positives=pl.lit(1), users=pl.lit(3))
    found = with_less_feedback(examples, some, options, **BARS)
    held_out = pl.col("split") != "train"
    assert found.filter(held_out).equals(examples.filter(held_out))
    taught = found.filter(~held_out)
    assert taught["impressions"].unique().to_list() == [3]
    assert taught["raw_rate"].unique().to_list() == pytest.approx([1 / 3])
    columns = ("history", "cluster_id", "unseen")
    assert taught.select(columns).equals(examples.filter(~held_out).select(columns))


def test_clusters_kept_from_training_stay_kept_where_some_users_saw_fewer_clusters():
    options = replace(OPTIONS, unseen_cluster_share=0.25)
    examples = pointwise_examples(cells(HISTORIES, range(10, 18)), options)
    unseen = set(examples.filter("unseen")["cluster_id"])
    seen = sorted({*range(10, 18)} - unseen)
    found = with_less_feedback(examples, cells(HISTORIES, seen[:4]), options, **BARS)
    assert not found.filter(pl.col("split") == "train")["unseen"].any()
    assert set(found.filter("unseen")["cluster_id"]) == unseen


def test_less_feedback_passes_the_filter_again():
    examples = pointwise_examples(cells(HISTORIES, (10, 11)), OPTIONS)
    some = cells(HISTORIES, (10,)).vstack(cells(HISTORIES, (11,), impressions=2))
    taught = with_less_feedback(examples, some, OPTIONS, **BARS | {"minimum_impressions": 3})
    assert taught.filter(pl.col("split") == "train")["cluster_id"].unique().to_list() == [10]


def test_what_teaches_and_how_much_of_it():
    examples = pl.DataFrame(
        {
            "cluster_id": [1, 2, 3, 4],
            "impressions": [10, 20, 40, 80],
            "unseen": [False, True, False, False],
            "split": ["train", "train", "test", "train"],
        }
    )
    assert training_rows(examples)["cluster_id"].to_list() == [1, 4]
    assert feedback_amount(examples) == {"training_cells": 2, "training_impressions": 90}
    assert feedback_amount(examples.clear()) == {"training_cells": 0, "training_impressions": 0}


def test_prior_rates_of_clusters_and_the_mean_where_there_is_none():
    examples = pl.DataFrame(
        {"cluster_id": [2, 2, 0, 3], "prior_rate": [0.3, 0.3, 0.5, 0.9], "unseen": [False, False, False, True]}
    )
    np.testing.assert_allclose(prior_rates(examples, 5), [0.5, 0.4, 0.3, 0.4, 0.4])
