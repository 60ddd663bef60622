"""Changes of scores: what is written day by day gives the scores as of any day."""

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from models.feedback.score_changes import COMPARED, score_changes

SCHEMA = {
    "history": pl.List(pl.Int32),
    "cluster_id": pl.Int32,
    "signal": pl.String,
    "impressions": pl.Int64,
    "novel_impressions": pl.Int64,
    "users": pl.Int64,
    "positives": pl.Int64,
    "score": pl.Float64,
    "lower": pl.Float64,
}
cells = st.tuples(
    st.sampled_from([(0, 1), (0, 11), (1, 1)]), st.sampled_from([2, 12]), st.sampled_from(["positive", "liked"])
)
figures = st.tuples(
    st.integers(1, 3), st.integers(0, 1), st.integers(1, 2), st.integers(0, 1), st.sampled_from([0.0, 0.05, 1.0])
)
states = st.dictionaries(cells, figures, max_size=6)


def frame(state):
    rows = [(list(history), cluster, signal, *counts, 0.1) for (history, cluster, signal), counts in state.items()]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def cell_of(row):
    return (tuple(row["history"]), row["cluster_id"], row["signal"])


@example(days=[{((0, 1), 12, "liked"): (1, 1, 1, 1, 0.0)}, {((0, 11), 2, "liked"): (1, 1, 1, 1, 0.0)}])
@given(days=st.lists(states, min_size=1, max_size=5))
def test_the_latest_rows_up_to_a_day_are_its_scores(days):
    standing, before = {}, frame({})
    for state in days:
        now = frame(state)
        for row in score_changes(before, now).iter_rows(named=True):
            figures = tuple(row[name] for name in COMPARED)
            assert standing.get(cell_of(row)) != figures or not row["standing"]  # nothing is written that stands
            if row["standing"]:
                standing[cell_of(row)] = figures
            else:
                del standing[cell_of(row)]
        assert standing == state
        before = now


def test_a_moved_interval_alone_is_no_change():
    cell = {((0, 1), 2, "positive"): (3, 3, 2, 1, 0.5)}
    assert score_changes(frame(cell), frame(cell).with_columns(lower=pl.lit(0.2))).is_empty()
    unscored = frame(cell).with_columns(score=pl.lit(None, pl.Float64))
    assert score_changes(unscored, unscored).is_empty()
    gone = score_changes(frame(cell), frame({}))
    assert gone.select("standing", "impressions", "score").rows() == [(False, 3, 0.5)]
