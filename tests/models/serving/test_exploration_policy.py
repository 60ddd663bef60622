import numpy as np
import polars as pl
import pytest
from scipy import stats

from models.serving.exploration_policy import NOTHING_NEW, SLICE_POLICY, TABLE_POLICY, TablePolicy
from models.serving.transition_table import TransitionTable

PROBABILITIES = [0.0, 0.0, 0.5, 0.3, 0.2]


def policy(slice_share, skip_known=True):
    rows = pl.DataFrame(
        {"history": [[0, 1], [0, 1]], "rank": [1, 2], "cluster_id": [4, 3]},
        schema_overrides={"history": pl.List(pl.Int32)},
    )
    manifest = {"taxonomy": "t", "history_clusters": 2}
    distributions = pl.DataFrame({"history": [[0, 1]], "clusters": [[2, 3, 4]], "probabilities": [PROBABILITIES[2:]]})
    clusters = pl.DataFrame({"cluster_id": range(len(PROBABILITIES))})
    return TablePolicy(
        TransitionTable("v", manifest, rows, clusters), distributions, slice_share, {"item": 2}, skip_known=skip_known
    )


@pytest.mark.parametrize("slice_share", [0.0, 0.3, 1.0])
def test_what_is_served_follows_the_logged_propensities(slice_share):
    requests = 20_000
    histories = np.tile([0, 1], (requests, 1))
    known = np.zeros((requests, 5), dtype=bool)
    served, propensities, names = policy(slice_share).serve(histories, known, np.random.default_rng(3))
    exact = np.array(PROBABILITIES) * slice_share + np.array([0, 0, 0, 0.5, 0.5]) * (1 - slice_share)
    assert propensities == pytest.approx(exact[served])
    possible = exact > 0
    counts = np.bincount(served, minlength=5)
    assert counts[~possible].sum() == 0
    assert stats.chisquare(counts[possible], exact[possible] * requests).pvalue > 1e-4
    share = names.count(SLICE_POLICY) / requests
    assert share == pytest.approx(slice_share, abs=0.02)
    assert set(names) <= {SLICE_POLICY, TABLE_POLICY}


@pytest.mark.parametrize(
    ("known", "slice_share", "exact"),
    [
        ([4], 0.3, [0, 0, 0.3 * 0.5 / 0.8, 0.7 + 0.3 * 0.3 / 0.8, 0]),
        ([2], 0.3, [0, 0, 0, 0.7 / 2 + 0.3 * 0.3 / 0.5, 0.7 / 2 + 0.3 * 0.2 / 0.5]),
        ([3, 4], 0.0, [0, 0, 1, 0, 0]),  # nothing planned is new: the label distribution serves all of it
        ([2, 3], 0.3, [0, 0, 0, 0, 1]),
    ],
)
def test_known_clusters_are_left_out_and_propensities_add_up_again(known, slice_share, exact):
    requests = 5_000
    histories, mask = np.tile([0, 1], (requests, 1)), np.zeros((requests, 5), dtype=bool)
    mask[:, known] = True
    served = policy(slice_share).serve(histories, mask, np.random.default_rng(4))
    exact = np.array(exact)
    assert served.propensities == pytest.approx(exact[served.clusters])
    counts = np.bincount(served.clusters, minlength=5)
    assert counts[exact == 0].sum() == 0
    possible = exact > 0
    if possible.sum() > 1:
        assert stats.chisquare(counts[possible], exact[possible] * requests).pvalue > 1e-4
    ignored = policy(slice_share, skip_known=False).serve(histories, mask, np.random.default_rng(4))
    assert set(ignored.clusters.tolist()) & set(known)


def test_who_knows_everything_is_served_nothing_and_the_others_are():
    histories, known = np.tile([0, 1], (2, 1)), np.array([[True] * 5, [True, True, False, True, True]])
    served = policy(0.3).serve(histories, known, np.random.default_rng(0))
    assert served.clusters.tolist() == [NOTHING_NEW, 2]
    assert np.isnan(served.propensities[0])
    assert served.propensities[1] == pytest.approx(1.0)


@pytest.mark.parametrize("skip_known", [True, False])
def test_a_history_that_is_not_planned_is_served_nothing(skip_known):
    histories, known = np.array([[1, 2], [0, 1]]), np.zeros((2, 5), dtype=bool)
    served = policy(0.0, skip_known).serve(histories, known, np.random.default_rng(0))
    assert served.clusters[0] == NOTHING_NEW
    assert served.clusters[1] in (3, 4)
    assert np.isnan(served.propensities[0])
    assert served.propensities[1] == pytest.approx(0.5)
