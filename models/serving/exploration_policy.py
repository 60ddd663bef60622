"""How serving chooses a cluster from a published table, with the propensity of every choice.

Most traffic takes one of the k planned clusters, each with the same chance; a slice is drawn from the whole label
distribution of the novelty model, so that clusters outside the table are seen too and off-policy estimates have
support.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.arrays import Float64Array, IntArray
from models.serving.transition_table import TransitionTable

TABLE_POLICY, SLICE_POLICY = "table", "label_distribution"


class TablePolicy:
    """Serves a published table, and a slice of the traffic from the label distribution behind it.

    Args:
        table: the published version.
        distributions: of labels, of every history: ``history``, ``clusters``, and their ``probabilities``, which sum to
            1.
        slice_share: share of requests drawn from the label distribution, in [0, 1].
        item_clusters: cluster of every item under the table's taxonomy.
    """

    def __init__(
        self,
        table: TransitionTable,
        distributions: pl.DataFrame,
        slice_share: float,
        item_clusters: Mapping[str, int],
    ) -> None:
        self.table_version = table.version
        self.taxonomy_version = str(table.manifest["taxonomy"])
        self.K = int(table.manifest["history_clusters"])
        self.item_clusters = item_clusters
        self.slice_share = slice_share
        grouped = table.rows.sort("rank").group_by("history").agg("cluster_id")
        joined = distributions.join(
            grouped.cast({"history": distributions.schema["history"]}), on="history", how="inner"
        )
        self.row_of = {tuple(history): row for row, history in enumerate(joined["history"].to_list())}
        self.planned = np.array(joined["cluster_id"].to_list(), dtype=np.int64)
        self.probabilities = np.zeros((joined.height, table.clusters.height))
        for row, (clusters, probabilities) in enumerate(joined.select("clusters", "probabilities").iter_rows()):
            self.probabilities[row, clusters] = probabilities

    def serve(
        self, histories: NDArray[np.integer], rng: np.random.Generator
    ) -> tuple[IntArray, Float64Array, list[str]]:
        """Choose a cluster for each request.

        Args:
            histories: [n, K] cluster ids, each row sorted.
            rng: source of randomness.

        Returns:
            Clusters [n], the probability with which each was served [n], and the policy that chose it [n].
        """
        rows = np.array([self.row_of[tuple(history)] for history in histories.tolist()], dtype=np.int64)
        k = self.planned.shape[1]
        sliced = rng.random(len(rows)) < self.slice_share
        planned = self.planned[rows, rng.integers(0, k, len(rows))]
        thresholds = rng.random(len(rows))[:, None]
        cumulative = np.cumsum(self.probabilities, axis=1)[rows]
        drawn = np.minimum((cumulative < thresholds).sum(axis=1), self.probabilities.shape[1] - 1)
        clusters = np.where(sliced, drawn, planned)
        in_table = (self.planned[rows] == clusters[:, None]).any(axis=1)
        propensities = (1 - self.slice_share) * in_table / k + self.slice_share * self.probabilities[rows, clusters]
        return clusters, propensities, [SLICE_POLICY if drawn_freely else TABLE_POLICY for drawn_freely in sliced]
