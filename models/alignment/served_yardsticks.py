"""The yardsticks that may rank a table in place of the alignment model: judged in its contest, saved beside it.

Both are a bias of the candidate plus an affinity for each member of the history, so they score every candidate of
every history from ids alone. Of a cluster without training cells, never served or kept from training, they know
nothing: it has the mean of all cells, and so ranks among the clusters of middling rates.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from models.alignment.examples import with_raw_rates
from models.arrays import Float64Array
from models.evaluation.proven_ranking import YARDSTICKS
from models.feedback.affinity import AdditiveAffinity
from models.files import replacing

FILE = "yardsticks.npz"
SCORE = "yardstick_score"


def fit_yardsticks(rows: pl.DataFrame, clusters: int) -> dict[str, AdditiveAffinity]:
    """The prior of the cluster and the additive affinity, by name.

    Args:
        rows: training rows of clusters that were served, at least one.
        clusters: N.
    """
    return {
        "prior": AdditiveAffinity(_pooled_rates(rows, clusters), np.zeros((clusters, clusters))),
        "additive": AdditiveAffinity.fit(with_raw_rates(rows), clusters),
    }


def save_yardsticks(yardsticks: Mapping[str, AdditiveAffinity], folder: Path) -> None:
    """Write ``yardsticks.npz`` into the folder of the checkpoint."""
    arrays = {f"{name}_bias": yardsticks[name].bias for name in YARDSTICKS}
    arrays |= {f"{name}_affinity": yardsticks[name].affinity for name in YARDSTICKS}
    with replacing(folder / FILE) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_yardstick(folder: Path, name: str) -> AdditiveAffinity:
    """Read one of what :func:`save_yardsticks` wrote.

    Raises:
        FileNotFoundError: the folder holds no such file.
    """
    with np.load(folder / FILE) as arrays:
        return AdditiveAffinity(arrays[f"{name}_bias"], arrays[f"{name}_affinity"])


def with_yardstick_scores(candidates: pl.DataFrame, yardstick: AdditiveAffinity) -> pl.DataFrame:
    """Candidates (``history``, all of one length, and ``cluster_id``) with the column :data:`SCORE`."""
    histories = candidates["history"].explode().to_numpy().reshape(candidates.height, -1)
    scores = yardstick.scores_of_rows(histories, candidates["cluster_id"].to_numpy())
    return candidates.with_columns(pl.Series(SCORE, scores))


def _pooled_rates(rows: pl.DataFrame, clusters: int) -> Float64Array:
    """[clusters] positives over impressions of all cells of each cluster; without cells, of all cells of all."""
    cluster, impressions = rows["cluster_id"].to_numpy(), rows["impressions"].to_numpy()
    positives = np.bincount(cluster, weights=impressions * rows["raw_rate"].to_numpy(), minlength=clusters)
    shown = np.bincount(cluster, weights=impressions, minlength=clusters)
    mean = np.full(clusters, positives.sum() / shown.sum())
    np.divide(positives, shown, out=mean, where=shown > 0)
    return mean
