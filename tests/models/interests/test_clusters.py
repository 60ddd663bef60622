"""Clusters: exactly N, none empty, balanced where the data allow, repeatable; assignment against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from models.interests.clusters import LARGEST_SHARE, SMALLEST_SHARE, assign, cluster_sizes, fit_clusters


def blobs(sizes, dimensions=16, spread=0.1, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(sizes), dimensions))
    points = np.repeat(centres, sizes, axis=0) + spread * rng.normal(size=(sum(sizes), dimensions))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def test_assignment_is_the_nearest_centroid_by_brute_force():
    embeddings, centroids = blobs([40, 30, 20]), blobs([1] * 7, seed=1)
    ids, distances = assign(embeddings, centroids, batch=17)
    table = cdist(embeddings, centroids)
    np.testing.assert_array_equal(ids, table.argmin(axis=1))
    np.testing.assert_allclose(distances, table.min(axis=1), atol=1e-3)


def test_well_separated_groups_are_found_and_numbered_by_size():
    sizes = [50, 90, 70, 30]
    embeddings = blobs(sizes, spread=0.01)
    ids, _ = assign(embeddings, fit_clusters(embeddings, 4, seed=0))
    assert cluster_sizes(ids, 4).tolist() == [90, 70, 50, 30]
    assert ids.tolist() == [2] * 50 + [0] * 90 + [1] * 70 + [3] * 30


def test_one_huge_group_and_tiny_ones_still_give_balanced_clusters():
    embeddings = blobs([3_000, *[4] * 12])
    sizes = cluster_sizes(assign(embeddings, fit_clusters(embeddings, 20, seed=0))[0], 20)
    mean = len(embeddings) / 20
    assert sizes.min() >= SMALLEST_SHARE * mean
    assert sizes.max() <= LARGEST_SHARE * mean


def test_the_same_seed_gives_the_same_centroids_to_the_last_bit():
    embeddings = blobs([200, 100, 300])
    np.testing.assert_array_equal(fit_clusters(embeddings, 9, seed=4), fit_clusters(embeddings, 9, seed=4))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(1, 12), st.booleans(), st.integers(0, 2**31 - 1)
)
def test_exactly_n_clusters_none_empty_largest_first(sizes, clusters, duplicates, seed):
    embeddings = blobs(sizes, dimensions=4, spread=0.0 if duplicates else 0.3, seed=seed)
    if len(np.unique(embeddings, axis=0)) < clusters:
        with pytest.raises(ValueError, match=r"interests\.clusters"):
            fit_clusters(embeddings, clusters, seed)
        return
    centroids = fit_clusters(embeddings, clusters, seed)
    found = cluster_sizes(assign(embeddings, centroids)[0], clusters)
    assert centroids.shape == (clusters, 4)
    assert found.min() >= 1
    assert (np.diff(found) <= 0).all()


def test_fewer_items_than_clusters_names_both_numbers_and_the_setting():
    with pytest.raises(
        ValueError, match=r"5 items cannot form 6 clusters: lower the setting `interests.clusters` to 5"
    ):
        fit_clusters(blobs([5]), 6, seed=0)


def test_fewer_distinct_items_than_clusters_is_said_too():
    with pytest.raises(ValueError, match=r"only 2 distinct embeddings, too few for 3 clusters"):
        fit_clusters(blobs([5, 5], spread=0.0), 3, seed=0)


def test_large_inputs_are_sampled_and_every_item_is_assigned():
    embeddings = blobs([1_500, 1_500], dimensions=4)
    centroids = fit_clusters(embeddings, 3, seed=0)  # more than 3 x 256 items
    sizes = cluster_sizes(assign(embeddings, centroids)[0], 3)
    assert sizes.sum() == 3_000
    assert sizes.min() > 0
