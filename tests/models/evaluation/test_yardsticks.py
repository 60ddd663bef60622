"""Training means and priors, computed by hand and against a direct reading of their definition."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation.yardsticks import TrainingMeans, random_scores


def cells(*rows):
    schema = {
        "history": pl.List(pl.Int64),
        "cluster_id": pl.Int64,
        "impressions": pl.Int64,
        "raw_rate": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


TRAINING = cells(
    ([1, 2], 9, 10, 0.5),
    ([1, 3], 9, 30, 0.1),
    ([2, 4], 9, 10, 0.9),
    ([5, 6], 9, 50, 0.0),
    ([5, 6], 8, 100, 0.3),
)


@pytest.mark.parametrize(
    ("history", "cluster", "expected"),
    [
        ([1, 2], 9, 0.5),  # the history itself
        ([2, 1], 9, 0.5),  # as a set
        ([1, 4], 9, (5 + 3 + 9) / 50),  # shares 1 with two cells, 4 with the third
        ([3, 7], 9, 0.1),  # shares 3 with one cell
        ([7, 8], 9, (5 + 3 + 9 + 0) / 100),  # shares none: the prior of the cluster
        ([1, 2], 7, (5 + 3 + 9 + 0 + 30) / 200),  # an unseen cluster: the global rate
    ],
)
def test_hand_computed(history, cluster, expected):
    assert TrainingMeans(TRAINING).scores([history], [[cluster]])[0] == pytest.approx([expected])


def test_longer_shared_parts_come_first():
    means = TrainingMeans(cells(([1, 2, 3], 9, 10, 0.8), ([1, 5, 6], 9, 10, 0.2)))
    assert means.scores([[1, 2, 7]], [[9]])[0][0] == pytest.approx(0.8)  # two shared clusters beat one
    assert means.scores([[1, 8, 7]], [[9]])[0][0] == pytest.approx(0.5)


def test_without_training_rows_every_rate_is_zero():
    means = TrainingMeans(cells())
    assert means.scores([[1, 2]], [[3, 4]])[0].tolist() == [0.0, 0.0]


def test_histories_without_candidates_are_refused():
    with pytest.raises(ValueError, match="argument"):
        TrainingMeans(TRAINING).scores([[1, 2], [2, 3]], [[9]])


def test_random_scores_tie_all_candidates():
    assert [scores.tolist() for scores in random_scores([[4, 5], [6]])] == [[0.0, 0.0], [0.0]]


histories = st.frozensets(st.integers(0, 5), min_size=3, max_size=3).map(sorted)
rows = st.tuples(histories, st.integers(6, 8), st.integers(1, 50), st.floats(0, 1))


@settings(deadline=None)
@given(st.lists(rows, max_size=15), histories, st.integers(6, 9))
def test_equals_the_definition(training, history, cluster):
    expected, pool = None, training
    for shared in (3, 2, 1, 0):
        pool = [row for row in training if row[1] == cluster and len(set(row[0]) & set(history)) >= shared]
        if pool:
            break
    pool = pool or training
    expected = sum(row[2] * row[3] for row in pool) / sum(row[2] for row in pool) if pool else 0.0
    assert TrainingMeans(cells(*training)).scores([history], [[cluster]])[0][0] == pytest.approx(expected)
