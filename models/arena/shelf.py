"""The exploration shelf: places next to the feed that a policy fills, and what is logged about each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.arena.catalogue import Catalogue, GroupSampler
from models.arrays import BoolArray, Float64Array, IntArray


class ExplorationPolicy(Protocol):
    """What the shelf needs: which cluster to show to users of given histories."""

    @property
    def item_clusters(self) -> Mapping[str, int]:
        """Cluster of each item, in the pipeline's taxonomy."""

    @property
    def taxonomy_version(self) -> str:
        """Version of that taxonomy."""

    @property
    def table_version(self) -> str:
        """Version of the transition table that is served."""

    @property
    def K(self) -> int:  # noqa: N802 - the name of the definition
        """Length of a history."""

    def serve(
        self, histories: IntArray, known: BoolArray, rng: np.random.Generator
    ) -> tuple[IntArray, Float64Array, Sequence[str]]:
        """Cluster, propensity and policy name for each request: [n], [n], [n]; -1 where there is nothing to show.

        Args:
            histories: [n, K] cluster ids, each row distinct and sorted.
            known: [n, N] the clusters that each user has interacted with.
            rng: source of chance.
        """


@dataclass(frozen=True, eq=False)
class Offer:
    """What the shelf shows to some of the users who are present.

    Attributes:
        viewers: [n] indices among the users present, those of a user together.
        items: [n].
        positions: [n] from 1.
        columns: what is logged of each beside item, user and position.
    """

    viewers: IntArray
    items: IntArray
    positions: IntArray
    columns: dict[str, object]


class RandomShelf:
    """Shows any item with equal chance, as the random exposures of a platform that has no plan yet."""

    def __init__(self, catalogue: Catalogue, places: int) -> None:
        self.catalogue = catalogue
        self.places = places

    def offer(self, users: IntArray, rng: np.random.Generator) -> Offer:
        """The shelves of ``users`` [n]."""
        viewers, positions = _places(len(users), self.places)
        items = rng.integers(len(self.catalogue.item_ids), size=len(viewers))
        columns: dict[str, object] = {
            "history": None,
            "cluster_id": None,
            "policy": "random",
            "propensity": 1 / len(self.catalogue.item_ids),
            "table_version": None,
            "taxonomy_version": None,
        }
        return Offer(viewers, items, positions, columns)


class PlannedShelf:
    """Shows items of the clusters that a policy chooses by the user's history.

    Attributes:
        policy: chooses the cluster.
        clusters: [items], -1 where the policy does not know the item.
        last_positive: [users, clusters] time of the latest positive play in ms since the epoch; 0: never.
        known: [users, clusters] whether the user ever played an item of the cluster.
    """

    def __init__(self, catalogue: Catalogue, policy: ExplorationPolicy, places: int, users: int) -> None:
        self.policy = policy
        self.places = places
        self.clusters, count = cluster_of_items(catalogue, policy.item_clusters)
        self.last_positive: IntArray = np.zeros((users, count), dtype=np.int64)
        self.known: BoolArray = np.zeros((users, count), dtype=np.bool_)
        self._sampler = GroupSampler(self.clusters, count, catalogue.pick_weights)

    def offer(self, users: IntArray, rng: np.random.Generator) -> Offer:
        """The shelves of those of ``users`` [n] who have a history, all places planned at the same moment.

        A place for which the policy finds nothing new stays empty.

        Raises:
            ValueError: the policy serves a cluster that has no item.
        """
        histories, complete = recent_clusters(self.last_positive[users], self.policy.K)
        shelves, positions = _places(int(complete.sum()), self.places)
        viewers, asked = np.flatnonzero(complete)[shelves], histories[complete][shelves]
        if len(viewers) == 0:
            return Offer(viewers, viewers, positions, {})
        clusters, propensities, policies = self.policy.serve(asked, self.known[users[viewers]], rng)
        filled = clusters >= 0
        viewers, positions, clusters = viewers[filled], positions[filled], clusters[filled]
        self._check_served(clusters)
        columns = {
            "history": asked[filled].tolist(),
            "cluster_id": clusters,
            "policy": [name for name, is_shown in zip(policies, filled, strict=True) if is_shown],
            "propensity": propensities[filled],
            "table_version": self.policy.table_version,
            "taxonomy_version": self.policy.taxonomy_version,
        }
        return Offer(viewers, self._sampler.draw(clusters, rng), positions, columns)

    def learn(self, users: IntArray, items: IntArray, ts: IntArray, positive: BoolArray) -> None:
        """Note plays [n], and which were positive; ``ts`` in ms since the epoch."""
        clustered = self.clusters[items] >= 0
        self.known[users[clustered], self.clusters[items[clustered]]] = True
        liked = clustered & positive
        np.maximum.at(self.last_positive, (users[liked], self.clusters[items[liked]]), ts[liked])

    def _check_served(self, clusters: IntArray) -> None:
        sizes = self._sampler.sizes
        unknown = clusters >= len(sizes)
        empty = unknown | (sizes[np.where(unknown, 0, clusters)] == 0)
        if empty.any():
            raise ValueError(f"the policy served cluster {int(clusters[empty][0])}, which holds no item")


def recent_clusters(last_positive: IntArray, length: int) -> tuple[IntArray, BoolArray]:
    """Histories: the ``length`` clusters with the most recent positive play, sorted by id.

    Args:
        last_positive: [users, clusters], time of it; 0: never.
        length: K.

    Returns:
        [users, K] cluster ids, and [users] whether the user has that many; rows of other users have no meaning.
    """
    if last_positive.shape[1] < length:
        return np.zeros((len(last_positive), length), dtype=np.int64), np.zeros(len(last_positive), dtype=np.bool_)
    latest = np.argsort(-last_positive, axis=1, kind="stable")[:, :length]
    complete = np.take_along_axis(last_positive, latest, axis=1).min(axis=1, initial=np.iinfo(np.int64).max) > 0
    return np.sort(latest, axis=1), complete


def cluster_of_items(catalogue: Catalogue, item_clusters: Mapping[str, int]) -> tuple[IntArray, int]:
    """[items] cluster of each item of the catalogue, -1 where it has none, and the number of clusters."""
    clusters = np.array([item_clusters.get(item, -1) for item in catalogue.item_ids], dtype=np.int64)
    return clusters, max(item_clusters.values(), default=-1) + 1


def _places(shelves: int, places: int) -> tuple[IntArray, IntArray]:
    """[shelves * places] the shelf and the position, from 1, of every place."""
    return np.repeat(np.arange(shelves), places), np.tile(np.arange(1, places + 1), shelves)
