"""Filter, shrink, normalise, round: from counted cells to scores, all steps together."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cells import SCHEMA, affine_cells, cells, counted, simulated
from support.options import SCORES

from models.feedback.splits import split_histories
from models.feedback.transition_scores import filter_cells, normalise_scores, scores_of_signal, transition_scores

OPEN = replace(SCORES, minimum_impressions=1, minimum_users=1, minimum_share_of_mean=0.0)


def test_filter_by_hand():
    frame = cells(([1, 2], 3, 100, 50, 10), ([1, 2], 4, 12, 9, 1), ([1, 2], 5, 11, 11, 1), ([1, 2], 6, 37, 2, 1))
    result = filter_cells(frame, minimum_impressions=5, minimum_users=3, minimum_share_of_mean=0.3)
    assert result.minimum_impressions == 12  # 0.3 times the mean of 40
    assert result.kept["cluster_id"].to_list() == [3, 4]
    assert result.cell_share == 0.5
    assert result.impression_share == pytest.approx(112 / 160)


@pytest.mark.parametrize(("impressions", "users", "kept"), [(5, 3, 1), (4, 3, 0), (5, 2, 0)])
def test_a_cell_at_the_bars_is_kept(impressions, users, kept):
    assert filter_cells(cells(([1, 2], 3, impressions, users, 1)), 5, 3, 0.0).kept.height == kept


def test_the_bar_scales_with_the_log_above_its_floor():
    frame, _, _ = simulated(clusters=3, cells_each=2)
    tenfold = frame.with_columns(pl.col("impressions", "users", "positives") * 10)
    bars = [filter_cells(log, 10, 1, 0.5).minimum_impressions for log in (frame, tenfold, frame.head(0))]
    assert bars == [25, 250, 10]


@settings(deadline=None)
@given(counted, st.sampled_from(["quantile", "rate"]), st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.3, 1.0]))
def test_scores_are_bounded_monotone_and_on_the_grid(rows, method, interval):
    frame = cells(*(([10 + i, 90 + i], c, n, n, y) for i, (c, n, y) in enumerate(rows)))
    options = replace(OPEN, normalisation=method, interval=interval)
    scores = transition_scores(frame, options).scores
    assert scores["score"].is_between(0, 1).all()
    assert scores.filter(
        (pl.col("lower") > pl.col("shrunk_rate")) | (pl.col("shrunk_rate") > pl.col("upper"))
    ).is_empty()
    ordered = scores.sort("shrunk_rate")["score"].to_numpy()
    assert (np.diff(ordered) >= 0).all()
    steps = scores["score"].to_numpy() / interval
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)


@pytest.mark.parametrize(
    ("frame", "note"),
    [
        (cells(), "no cells"),
        (cells(([1, 2], 3, 20, 20, 8)), "one cell"),
        (cells(([1, 2], 3, 20, 20, 0), ([1, 2], 4, 30, 30, 0)), "no positive"),
        (cells(([1, 2], 3, 2, 2, 1)), "none of 1 cells"),
    ],
)
def test_degenerate_logs_work_and_say_so(frame, note):
    result = transition_scores(frame, SCORES)
    assert any(note in line for line in result.notes)
    assert result.scores.columns == [*SCHEMA, "raw_rate", "prior_rate", "shrunk_rate", "lower", "upper", "score"]
    assert result.scores["score"].is_finite().all()


def sparse_likes():
    """Likes at a percent: 1,200 cells of 15 impressions, of 60 clusters."""
    frame, _, _ = simulated(clusters=60, cells_each=20, impressions=15, mean=0.01, tau=1000.0, kappa=5000.0, seed=1)
    return frame


def test_sparse_likes_have_one_level_by_rate_and_fixed_interval_and_the_note_says_so(comes_out):
    scored = transition_scores(sparse_likes(), replace(OPEN, normalisation="rate", interval=0.05))
    assert scored.scores["score"].unique().to_list() == [0.0]
    assert scored.notes == ["all 1,200 scores are 0 by rate and interval 0.05: they tell no cells apart"]
    assert scored.scores["positives"].sum() > 100
    comes_out(
        "one level", "1,200 cells of likes at 1%, `rate` and interval 0.05, another signal teaches", scored.notes[0]
    )


def test_sparse_likes_have_levels_that_rise_with_their_rates_by_quantile_and_the_posteriors():
    scored = transition_scores(sparse_likes(), replace(OPEN, normalisation="quantile", interval=None))
    assert scored.notes == []
    levels = scored.scores.group_by("score").agg(
        pl.col("shrunk_rate").min().alias("least"), pl.col("shrunk_rate").max()
    )
    levels = levels.sort("score")
    assert levels.height >= 4
    assert (levels["least"][1:] > levels["shrunk_rate"][:-1]).all()


def test_one_cell_is_no_signal_of_one_level():
    two = cells(([1, 2], 3, 1, 1, 1), ([1, 2], 4, 30, 30, 3))
    options = replace(OPEN, minimum_impressions=0, normalisation="rate")
    assert transition_scores(two, options).scores.height == 2  # a cell with one impression has a rate
    (note,) = transition_scores(cells(([1, 2], 3, 20, 20, 8)), options).notes
    assert "one level" not in note
    assert "tell no cells apart" not in note


def test_two_cells_of_one_level_are_told():
    two = cells(([1, 2], 3, 20, 20, 2), ([1, 2], 4, 20, 20, 2))
    notes = transition_scores(two, replace(OPEN, normalisation="rate", interval=0.5)).notes
    assert any("all 2 scores are" in note for note in notes)


@pytest.mark.parametrize(("histories", "told"), [(5, False), (4, True)])
def test_five_histories_show_affinities_and_four_do_not(histories, told):
    rows = [([n, n + 1], 9 + c, 20, 20, 2 + (n + c) % 5) for n in range(histories) for c in range(3)]
    notes = transition_scores(cells(*rows), replace(OPEN, prior="affinity")).notes
    assert any("fewer than 5 histories" in note for note in notes) == told


def test_a_sound_log_has_no_notes():
    assert transition_scores(simulated()[0], SCORES).notes == []


def test_held_out_rows_do_not_move_training_scores():
    frame, _, _ = simulated(clusters=4, cells_each=10)
    frame = frame.with_columns(
        split=pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("test")).otherwise(pl.lit("train"))
    )
    changed = frame.with_columns(
        positives=pl.when(pl.col("split") == "test").then(pl.col("impressions")).otherwise(pl.col("positives"))
    )
    before, after = (transition_scores(log, OPEN).scores.filter(pl.col("split") == "train") for log in (frame, changed))
    assert before.equals(after)


def test_the_order_of_cells_does_not_move_scores():
    frame, _, _ = simulated(clusters=4, cells_each=5)
    one, other = transition_scores(frame, OPEN).scores, transition_scores(frame.reverse(), OPEN).scores.reverse()
    np.testing.assert_allclose(one["shrunk_rate"], other["shrunk_rate"], rtol=1e-5)


@pytest.mark.parametrize("row", [([1, 2], 3, 5, 5, 6), ([1, 2], 3, 5, 5, -1)])
def test_impossible_counts_are_refused(row):
    with pytest.raises(ValueError, match="more positives than impressions"):
        transition_scores(cells(row), OPEN)


@pytest.mark.parametrize("method", ["quantile", "rate", "z_score", "lift"])
def test_every_method_scores_between_0_and_1_and_rises_within_a_cluster(method):
    frame = cells(*(([10 + i, 90 + i], i % 3, 40, 40, y) for i, y in enumerate([0, 4, 9, 13, 20, 31, 40, 2, 8])))
    scored = transition_scores(frame, replace(OPEN, normalisation=method, interval=None))
    assert scored.scores["score"].is_between(0, 1).all()
    assert scored.interval in (0.01, 0.02, 0.05, 0.1, 0.2)
    for _, cluster in scored.scores.group_by("cluster_id"):
        assert cluster.sort("shrunk_rate")["score"].is_sorted()


@pytest.mark.parametrize("method", ["quantile", "rate", "z_score", "lift"])
@pytest.mark.parametrize("interval", [0.05, None])
def test_normalising_anew_equals_scoring_anew_and_changes_nothing_else(method, interval):
    frame, _, _ = simulated(clusters=6, cells_each=12)
    splits = split_histories(frame["history"].to_list(), 0.2, 0.2, seed=1)
    frame = frame.with_columns(pl.Series("split", splits), (pl.col("cluster_id") == 2).alias("unseen"))
    standing = transition_scores(frame, OPEN).scores
    expected = transition_scores(frame, replace(OPEN, normalisation=method, interval=interval))
    again, rounding = normalise_scores(standing, method, interval)
    assert again.equals(expected.scores)
    assert rounding == expected.interval
    assert again.drop("score").equals(standing.drop("score"))


def test_affinities_bring_shrunken_rates_nearer_to_the_truth():
    frame = affine_cells()
    found = {}
    for prior in ("cluster", "affinity"):
        scores = transition_scores(frame, replace(OPEN, prior=prior)).scores
        found[prior] = float(np.abs(scores["shrunk_rate"] - frame["true"]).mean())
        inside = (scores["lower"] <= frame["true"]) & (frame["true"] <= scores["upper"])
        assert 0.84 < inside.mean() < 0.96, prior
    assert found["affinity"] < 0.75 * found["cluster"]


def test_affinities_are_learned_from_training_cells_alone():
    frame = affine_cells().with_columns(
        split=pl.when(pl.col("history").list.sum() % 4 == 0).then(pl.lit("test")).otherwise(pl.lit("train"))
    )
    turned = frame.with_columns(
        positives=pl.when(pl.col("split") == "test")
        .then(pl.col("impressions") - pl.col("positives"))
        .otherwise("positives")
    )
    first, second = (transition_scores(cells, replace(OPEN, prior="affinity")).scores for cells in (frame, turned))
    training = pl.col("split") == "train"
    assert first.filter(training)["shrunk_rate"].equals(second.filter(training)["shrunk_rate"])


def test_where_members_say_nothing_affinities_are_the_cluster_prior():
    generator = np.random.default_rng(4)
    frame = affine_cells().with_columns(
        positives=pl.Series([int(generator.binomial(n, 0.05 + 0.02 * c)) for n, c in
                             affine_cells().select("impressions", "cluster_id").iter_rows()])
    )  # fmt: skip
    by_cluster, by_affinity = (transition_scores(frame, replace(OPEN, prior=p)).scores for p in ("cluster", "affinity"))
    difference = (by_cluster["shrunk_rate"] - by_affinity["shrunk_rate"]).abs()
    assert difference.mean() < 0.03


def test_few_histories_are_shrunk_towards_their_clusters():
    frame = affine_cells().filter(pl.col("history").list.sum() <= 3)
    found = transition_scores(frame, replace(OPEN, prior="affinity"))
    assert found.scores.equals(transition_scores(frame, OPEN).scores)
    assert "fewer than 5 histories" in found.notes[-1]


def test_each_signal_is_scored_from_its_own_counts():
    frame, _, _ = simulated(clusters=3, cells_each=4)
    frame = frame.with_columns(novel_impressions=pl.col("impressions"))
    counted = frame.rename({"positives": "liked"}).with_columns(shared=pl.col("liked") // 2).cast({"liked": pl.Int128})
    liked, shared = (scores_of_signal(counted, signal, OPEN) for signal in ("liked", "shared"))
    expected = transition_scores(frame, OPEN).scores
    assert liked.scores.equals(expected.select(liked.scores.columns))
    halved = frame.with_columns(pl.col("positives") // 2)
    assert shared.scores.equals(transition_scores(halved, OPEN).scores.select(shared.scores.columns))
