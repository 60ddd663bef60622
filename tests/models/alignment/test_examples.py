"""Examples and pairs that no training can use are named."""

import polars as pl
import pytest
from support.alignment import LABELS, toy_examples

from models.alignment.examples import group_by_history


def test_pairs_of_clusters_that_were_not_served_are_refused():
    examples = toy_examples()
    history = examples["history"][0].to_list()
    pairs = pl.DataFrame({"history": [history], "better_id": [history[0]], "worse_id": [7], "probability": [1.0]})
    with pytest.raises(ValueError, match="is not among its served clusters"):
        group_by_history(examples, len(LABELS), pairs)


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
        ([{"cluster_id": len(LABELS)}], "does not exist"),
        ([{"cluster_id": 1}], "its own history"),
        ([{"history": [0, 0]}], "names a cluster twice"),
        ([{"history": [0, 77]}], "does not exist"),
        ([{"score": 1.2}], "score outside"),
        ([{"score": None}], "score outside"),
        ([{"score": float("nan")}], "score outside"),
        ([{"weight": 0.0}], "weight"),
        ([{"weight": float("inf")}], "weight"),
        ([{"raw_rate": -0.1}], "raw rate"),
        ([{"raw_rate": 1.1}], "raw rate"),
        ([{"split": "test"}], "no training examples"),
    ],
)
def test_unusable_examples_are_named(changes, message):
    frame = pl.DataFrame([{**ROW, **change} for change in changes])
    with pytest.raises(ValueError, match=message):
        group_by_history(frame, len(LABELS))
