"""The contest over later days: which cells take part, and what is ranked, by hand."""

import numpy as np
import polars as pl
import pytest
from support.alignment import LABELS, toy_examples

from models.alignment import later_days
from models.alignment.later_days import contest_of_later_days
from models.evaluation.metrics import f1_at_k


def later_cells(rows):
    return pl.DataFrame(
        rows,
        schema={
            "history": pl.List(pl.Int64),
            "cluster_id": pl.Int64,
            "impressions": pl.Int64,
            "positives": pl.Int64,
        },
        orient="row",
    )


@pytest.fixture
def contest():
    """A contest of a model that ranks clusters by their id; also what the model was asked for."""

    def hold(later, examples, k=1):
        asked = {}

        def rank(histories, candidates):
            asked.update(zip(map(tuple, histories), candidates, strict=True))
            return [np.array(clusters, dtype=float) for clusters in candidates]

        found = contest_of_later_days(
            later,
            examples,
            rank,
            minimum_impressions=5,
            clusters=len(LABELS),
            label_embeddings=np.eye(len(LABELS)),
            k=k,
            seed=0,
        )
        return found, asked

    return hold


def test_histories_clusters_and_cells_that_taught_take_part_alone(contest):
    examples = toy_examples().with_columns(unseen=pl.col("cluster_id") == 7)
    taught = examples.filter(pl.col("split") == "train")["history"].to_list()[0]
    held_out = examples.filter(pl.col("split") == "test")["history"].to_list()[0]
    others = [cluster for cluster in range(7) if cluster not in taught][:3]
    rates, shown = [0.2, 0.4, 0.8], [50, 10, 5]
    later = later_cells(
        [(taught, cluster, n, round(n * rate)) for cluster, n, rate in zip(others, shown, rates, strict=True)]
        + [(taught, 7, 10, 10)]  # kept from training
        + [(held_out, 6, 10, 10), (held_out, 5, 10, 0)]  # of a history that did not teach
    )
    found, asked = contest(later.vstack(later_cells([(taught, 6, 4, 4)])), examples)  # of too few impressions
    assert asked == {tuple(taught): others}
    assert found.histories == 1
    expected = f1_at_k(np.array(others, dtype=float), np.array(rates), 1)
    assert found.values["model"]["f1_at_k"] == expected == 1
    assert {"random", "prior", "additive", "label_regression"} <= set(found.values)
    assert found.values["random"]["f1_at_k"] == pytest.approx(1 / 3)


def test_of_many_histories_the_seed_chooses(contest, monkeypatch):
    monkeypatch.setattr(later_days, "MOST_HISTORIES", 3)
    examples = toy_examples().with_columns(unseen=pl.lit(value=False))
    rows = examples.filter(split="train").select("history", "cluster_id").iter_rows()
    later = later_cells([(history, cluster, 5, cluster % 5) for history, cluster in rows])
    (_, first), (_, again) = (contest(later, examples) for _ in range(2))
    assert first == again
    assert len(first) == 3
    assert later["history"].n_unique() >= 10
