"""The exploration shelf: histories, draws within clusters, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from support.worlds import FIRST_DAY

from models.arena.catalogue import Catalogue
from models.arena.shelf import PlannedShelf, RandomShelf, cluster_of_items, recent_clusters
from models.arena.topics import load_topics

ITEMS = 40


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue(load_topics(24)[0], ITEMS, FIRST_DAY, seed=1)


class Serving:
    """A policy that always serves the same cluster; items 0 to 9 are in cluster 0, 10 to 19 in 1, and so on."""

    K = 2
    table_version = "table-1"
    taxonomy_version = "taxonomy-1"

    def __init__(self, catalogue, cluster=3):
        self.cluster = cluster
        self.item_clusters = {item: number // 10 for number, item in enumerate(catalogue.item_ids)}

    def serve(self, histories, known, rng):
        self.known = known
        return np.full(len(histories), self.cluster), np.full(len(histories), 0.25), ["fixed"] * len(histories)


def test_recent_clusters_by_hand():
    last = np.array([[5, 0, 9, 7], [0, 0, 3, 0], [1, 2, 3, 4]])
    histories, complete = recent_clusters(last, 2)
    assert complete.tolist() == [True, False, True]
    assert histories[complete].tolist() == [[2, 3], [2, 3]]
    histories, complete = recent_clusters(last, 3)
    assert complete.tolist() == [True, False, True]
    assert histories[complete].tolist() == [[0, 2, 3], [1, 2, 3]]
    assert not recent_clusters(last, 5)[1].any()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 10**12), min_size=5, max_size=5, unique=True), min_size=1, max_size=6),
    st.integers(1, 6),
)
def test_recent_clusters_are_those_of_a_sorted_list(rows, length):
    histories, complete = recent_clusters(np.array(rows), length)
    for row, history, whole in zip(rows, histories, complete, strict=True):
        pleased = sorted((cluster for cluster, time in enumerate(row) if time), key=lambda cluster: -row[cluster])
        assert whole == (len(pleased) >= length)
        if whole:
            assert history.tolist() == sorted(pleased[:length])


def test_clusters_of_items_by_hand(catalogue):
    ids = catalogue.item_ids.to_list()
    clusters, count = cluster_of_items(catalogue, {ids[3]: 2, ids[0]: 0, "i9999999": 6})
    assert clusters.tolist() == [0, -1, -1, 2] + [-1] * (ITEMS - 4)
    assert count == 7
    assert cluster_of_items(catalogue, {})[1] == 0


def test_a_random_shelf_shows_any_item_with_equal_chance(catalogue):
    offer = RandomShelf(catalogue, 3).offer(np.arange(4_000), np.random.default_rng(2))
    assert (offer.viewers == np.repeat(np.arange(4_000), 3)).all()
    assert (offer.positions == np.tile([1, 2, 3], 4_000)).all()
    assert stats.chisquare(np.bincount(offer.items, minlength=ITEMS)).pvalue > 0.001
    assert offer.columns == {
        "history": None,
        "cluster_id": None,
        "policy": "random",
        "propensity": 1 / ITEMS,
        "table_version": None,
        "taxonomy_version": None,
    }


def test_a_planned_shelf_serves_users_with_a_history_items_of_the_cluster_by_their_weight(catalogue):
    shelf = PlannedShelf(catalogue, Serving(catalogue), places=4, users=6_000)
    present = np.arange(0, 6_000, 2)
    first, second = present[:2_500], present[:2_000]  # pleased by cluster 0; and later by cluster 2
    shelf.learn(first, np.full(len(first), 5), np.full(len(first), 100), np.full(len(first), True))
    shelf.learn(second, np.full(len(second), 25), np.full(len(second), 200), np.full(len(second), True))
    offer = shelf.offer(present, np.random.default_rng(3))
    assert (offer.viewers == np.repeat(np.arange(2_000), 4)).all()
    assert (offer.positions == np.tile([1, 2, 3, 4], 2_000)).all()
    assert offer.columns["history"] == [[0, 2]] * 8_000
    assert (offer.columns["cluster_id"] == 3).all()
    assert (offer.columns["propensity"] == 0.25).all()
    assert set(offer.columns["policy"]) == {"fixed"}
    assert (offer.columns["table_version"], offer.columns["taxonomy_version"]) == ("table-1", "taxonomy-1")
    weights = catalogue.pick_weights[30:].astype(np.float64)
    observed = np.bincount(offer.items, minlength=ITEMS)
    assert observed[:30].sum() == 0
    assert stats.chisquare(observed[30:], weights / weights.sum() * 8_000).pvalue > 0.001


def test_the_latest_play_of_a_cluster_counts_in_whatever_order_plays_arrive(catalogue):
    shelf = PlannedShelf(catalogue, Serving(catalogue), places=1, users=1)
    users = np.zeros(4, dtype=np.int64)
    shelf.learn(users, np.array([1, 11, 2, 21]), np.array([400, 300, 100, 200]), users == 0)  # clusters 0, 1, 0, 2
    assert shelf.last_positive.tolist() == [[400, 300, 200, 0]]
    assert shelf.offer(np.array([0]), np.random.default_rng(0)).columns["history"] == [[0, 1]]


def test_items_that_the_policy_does_not_know_are_neither_learned_from_nor_shown(catalogue):
    policy = Serving(catalogue)
    del policy.item_clusters[catalogue.item_ids[35]]
    shelf = PlannedShelf(catalogue, policy, places=1, users=3_000)
    everyone = np.arange(3_000)
    shelf.learn(everyone, np.full(3_000, 35), np.full(3_000, 50), everyone >= 0)
    assert not shelf.last_positive.any()
    assert not shelf.known.any()
    for item in (5, 15):
        shelf.learn(everyone, np.full(3_000, item), np.full(3_000, item), everyone >= 0)
    shown = set(shelf.offer(everyone, np.random.default_rng(4)).items.tolist())
    assert shown <= set(range(30, 40)) - {35}
    assert len(shown) > 5


def test_nobody_with_a_history_means_an_empty_offer(catalogue):
    shelf = PlannedShelf(catalogue, Serving(catalogue), places=4, users=5)
    assert len(shelf.offer(np.arange(5), np.random.default_rng(0)).viewers) == 0


def test_any_play_makes_a_cluster_known_and_the_policy_hears_of_it(catalogue):
    policy = Serving(catalogue)
    shelf = PlannedShelf(catalogue, policy, places=2, users=2)
    plays = np.array([[0, 5, 1], [0, 15, 1], [0, 25, 0], [1, 5, 1], [1, 15, 1]])  # user, item, positive
    shelf.learn(plays[:, 0], plays[:, 1], np.arange(1, 6), plays[:, 2] == 1)
    offer = shelf.offer(np.array([0, 1]), np.random.default_rng(0))
    assert offer.columns["history"] == [[0, 1]] * 4  # the play of cluster 2 pleased nobody
    assert policy.known.tolist() == [[True, True, True, False]] * 2 + [[True, True, False, False]] * 2


def test_a_place_without_anything_new_stays_empty(catalogue):
    class Exhausted(Serving):
        def serve(self, histories, known, rng):
            clusters = np.where(known[:, 2], -1, 3)
            return clusters, np.where(clusters < 0, np.nan, 0.5), ["fixed"] * len(histories)

    shelf = PlannedShelf(catalogue, Exhausted(catalogue), places=2, users=2)
    users, items = np.array([0, 0, 0, 1, 1]), np.array([5, 15, 25, 5, 15])
    shelf.learn(users, items, np.arange(1, 6), items < 20)
    offer = shelf.offer(np.array([0, 1]), np.random.default_rng(0))
    assert offer.viewers.tolist() == [1, 1]
    assert offer.positions.tolist() == [1, 2]
    assert offer.columns["propensity"].tolist() == [0.5, 0.5]
    assert (len(offer.columns["policy"]), len(offer.columns["history"])) == (2, 2)


@pytest.mark.parametrize("cluster", [3, 4, 77])
def test_a_cluster_without_items_is_refused(catalogue, cluster):
    policy = Serving(catalogue, cluster)
    policy.item_clusters = {
        item: min(number // 10, 2) for item, number in zip(catalogue.item_ids, range(40), strict=True)
    }
    policy.item_clusters["i9999999"] = 4  # cluster 3 has no item, cluster 4 none that is published
    shelf = PlannedShelf(catalogue, policy, places=1, users=1)
    shelf.learn(np.zeros(2, dtype=int), np.array([0, 10]), np.array([1, 2]), np.array([True, True]))
    with pytest.raises(ValueError, match=f"served cluster {cluster}, which holds no item"):
        shelf.offer(np.array([0]), np.random.default_rng(0))
