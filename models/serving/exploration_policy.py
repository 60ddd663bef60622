"""How serving chooses a cluster from a published table, with the propensity of every choice.

Most traffic takes one of the k planned clusters, each with the same chance; a slice is drawn from the whole label
distribution of the novelty model, so that clusters outside the table are seen too and off-policy estimates have
support. Clusters that a user knows are left out of both, and the chances of the others grow in proportion.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.arrays import BoolArray, Float64Array, IntArray
from models.serving.transition_table import TransitionTable

TABLE_POLICY, SLICE_POLICY = "table", "label_distribution"
NOTHING_NEW = -1
"""Served to a user who knows every cluster that may be served, or whose history is not planned."""


class Served(NamedTuple):
    """What was chosen for each request: [n] each.

    Attributes:
        clusters: ``NOTHING_NEW`` where there was none to choose.
        propensities: the probability with which each was served; not a number where there was none.
        policies: which part of the traffic chose it.
    """

    clusters: IntArray
    propensities: Float64Array
    policies: list[str]


class TablePolicy:
    """Serves a published table, and a slice of the traffic from the label distribution behind it.

    Args:
        table: the published version.
        distributions: of labels, of every history: ``history``, ``clusters``, and their ``probabilities``, which sum to
            1.
        slice_share: share of requests drawn from the label distribution, in [0, 1].
        item_clusters: cluster of every item under the table's taxonomy.
        skip_known: whether clusters that a user knows are left out.
    """

    def __init__(
        self,
        table: TransitionTable,
        distributions: pl.DataFrame,
        slice_share: float,
        item_clusters: Mapping[str, int],
        *,
        skip_known: bool,
    ) -> None:
        self.table_version = table.version
        self.taxonomy_version = str(table.manifest["taxonomy"])
        self.K = int(table.manifest["history_clusters"])
        self.item_clusters = item_clusters
        self.slice_share = slice_share
        self.skip_known = skip_known
        self.cluster_count = table.clusters.height
        grouped = table.rows.sort("rank").group_by("history").agg("cluster_id")
        self.distributions = distributions.join(
            grouped.cast({"history": distributions.schema["history"]}), on="history", how="inner"
        )
        self.row_of = {tuple(history): row for row, history in enumerate(self.distributions["history"].to_list())}
        self.planned = np.array(self.distributions["cluster_id"].to_list(), dtype=np.int64)

    def serve(self, histories: NDArray[np.integer], known: BoolArray, rng: np.random.Generator) -> Served:
        """Choose a cluster for each request.

        With F the planned clusters that are open to the user, and p the label distribution over the clusters that are
        open to them, cluster C is served with the probability (1 - slice) [C in F] / |F| + slice p(C) / sum(p). Where F
        is empty the whole traffic is drawn from p. Nothing is served to a history that is not planned.

        Args:
            histories: [n, K] cluster ids, each row sorted.
            known: [n, N] the clusters that each user has interacted with.
            rng: source of randomness.
        """
        found = np.array([self.row_of.get(tuple(history), -1) for history in histories.tolist()], dtype=np.int64)
        rows, unplanned = np.maximum(found, 0), found < 0
        closed = unplanned[:, None] | (known if self.skip_known else np.zeros_like(known))
        chances = np.where(closed, 0.0, self._probabilities(rows))
        mass = chances.sum(axis=1)
        planned = self.planned[rows]
        is_open = ~np.take_along_axis(closed, planned, axis=1)
        places = is_open.sum(axis=1)
        share = np.where(places == 0, 1.0, np.where(mass > 0, self.slice_share, 0.0))
        sliced = rng.random(len(rows)) < share
        clusters = np.where(sliced, _drawn(chances, mass, rng), _picked(planned, is_open, places, rng))
        clusters[(places == 0) & (mass == 0)] = NOTHING_NEW
        in_table = (is_open & (planned == clusters[:, None])).any(axis=1)
        from_table = np.divide(in_table, places, out=np.zeros(len(rows)), where=places > 0)
        drawn = chances[np.arange(len(rows)), np.maximum(clusters, 0)]
        from_slice = np.divide(drawn, mass, out=np.zeros(len(rows)), where=mass > 0)
        propensities = (1 - share) * from_table + share * from_slice
        propensities[clusters == NOTHING_NEW] = np.nan
        return Served(clusters, propensities, [SLICE_POLICY if freely else TABLE_POLICY for freely in sliced])

    def _probabilities(self, rows: IntArray) -> Float64Array:
        """[n, N] of the histories of the requests. Those of all histories would take 1.8 GB with 761 clusters."""
        asked, place = np.unique(rows, return_inverse=True)
        laws = np.zeros((len(asked), self.cluster_count))
        gathered = self.distributions[asked].select("clusters", "probabilities")
        for row, (clusters, probabilities) in enumerate(gathered.iter_rows()):
            laws[row, clusters] = probabilities
        return np.asarray(laws[place])


def _drawn(chances: Float64Array, mass: Float64Array, rng: np.random.Generator) -> IntArray:
    """[n] a cluster of each row, by its chances [n, N]; whatever rounding says, one that has a chance."""
    cumulative = np.cumsum(chances, axis=1)
    last = chances.shape[1] - 1 - np.argmax(chances[:, ::-1] > 0, axis=1)
    thresholds = rng.random(len(chances)) * mass
    return np.asarray(np.minimum((cumulative <= thresholds[:, None]).sum(axis=1), last))


def _picked(planned: IntArray, is_open: BoolArray, places: IntArray, rng: np.random.Generator) -> IntArray:
    """[n] one of the open planned clusters of each row, each with the same chance."""
    open_first = np.argsort(~is_open, axis=1, kind="stable")
    place = np.minimum((rng.random(len(planned)) * places).astype(np.int64), np.maximum(places - 1, 0))
    chosen = np.take_along_axis(open_first, place[:, None], axis=1)
    return np.asarray(np.take_along_axis(planned, chosen, axis=1)[:, 0])
