import numpy as np
import polars as pl
import pytest
from scipy import stats

from models.serving.exploration_policy import SLICE_POLICY, TABLE_POLICY, TablePolicy
from models.serving.transition_table import TransitionTable

PROBABILITIES = [0.0, 0.0, 0.5, 0.3, 0.2]


def policy(slice_share):
    rows = pl.DataFrame(
        {"history": [[0, 1], [0, 1]], "rank": [1, 2], "cluster_id": [4, 3]},
        schema_overrides={"history": pl.List(pl.Int32)},
    )
    manifest = {"taxonomy": "t", "history_clusters": 2}
    distributions = pl.DataFrame({"history": [[0, 1]], "clusters": [[2, 3, 4]], "probabilities": [PROBABILITIES[2:]]})
    clusters = pl.DataFrame({"cluster_id": range(len(PROBABILITIES))})
    return TablePolicy(TransitionTable("v", manifest, rows, clusters), distributions, slice_share, {"item": 2})


@pytest.mark.parametrize("slice_share", [0.0, 0.3, 1.0])
def test_what_is_served_follows_the_logged_propensities(slice_share):
    requests = 20_000
    histories = np.tile([0, 1], (requests, 1))
    served, propensities, names = policy(slice_share).serve(histories, np.random.default_rng(3))
    exact = np.array(PROBABILITIES) * slice_share + np.array([0, 0, 0, 0.5, 0.5]) * (1 - slice_share)
    assert propensities == pytest.approx(exact[served])
    possible = exact > 0
    counts = np.bincount(served, minlength=5)
    assert counts[~possible].sum() == 0
    assert stats.chisquare(counts[possible], exact[possible] * requests).pvalue > 1e-4
    share = names.count(SLICE_POLICY) / requests
    assert share == pytest.approx(slice_share, abs=0.02)
    assert set(names) <= {SLICE_POLICY, TABLE_POLICY}
