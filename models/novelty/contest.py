"""The contest on held-out transitions: the novelty model against laws by counting, each lead with its interval.

Losses are nats per transition: minus the log probability of what came next among the clusters outside the history.
Recall@k is the share of transitions whose cluster is among the k most probable; ties get their expected credit. Macro
recall is the mean over the clusters that came next: a list of popular clusters cannot win it. Of the k most probable
clusters, *coverage* is the share of all clusters that are among them after some held-out history; *surprise* is the
mean of minus log2 of their share of the training transitions, in bits (Vargas and Castells 2011, "Rank and Relevance in
Novelty and Diversity Metrics for Recommender Systems", section 3). Intervals are 95%, by bootstrap over users.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

from models.arrays import Float64Array, IntArray
from models.evaluation.ranking_contest import BOOTSTRAP_DRAWS, MODEL, central_interval
from models.novelty.transitions import Law, distinct_histories

RECALL_CUTS = (1, 3, 5, 10)
CUT = 3  # of macro recall, coverage and surprise
WORDS_ALONE, COUNTING_ALONE = "words", "counting"  # what a model is made of, each by itself: no yardsticks
NAMES = {
    MODEL: "novelty model",
    COUNTING_ALONE: "its counting alone",
    WORDS_ALONE: "its words alone",
    "cooccurrence": "co-occurrence",
    "additive": "additive affinity",
}
"""How contestants are shown, where it is not by their own name."""
LEADS = ("loss", f"recall_at_{CUT}", f"macro_recall_at_{CUT}")


@dataclass(frozen=True)
class NoveltyContest:
    """How the contestants propose what came next.

    Attributes:
        transitions: how many were measured.
        users: of how many users.
        values: by contestant and measure; the model is ``model``.
        intervals: of the values, where they are means over transitions.
        leads: of the model over each other contestant, the 95% interval; above 0 the model is better, in losses too.
    """

    transitions: int
    users: int
    values: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, Mapping[str, tuple[float, float]]]
    leads: Mapping[str, Mapping[str, tuple[float, float]]]

    @property
    def yardsticks(self) -> list[str]:
        """All contestants but the model and what it is made of."""
        return [name for name in self.leads if name not in (WORDS_ALONE, COUNTING_ALONE)]

    @property
    def best_yardstick(self) -> str:
        """The yardstick of least loss."""
        return min(self.yardsticks, key=lambda name: self.values[name]["loss"])

    @property
    def beaten_share(self) -> float:
        """Share of the yardsticks over which the leads in loss and in macro recall lie above 0."""
        asked = ("loss", f"macro_recall_at_{CUT}")
        beaten = [all(self.leads[name][measure][0] > 0 for measure in asked) for name in self.yardsticks]
        return sum(beaten) / len(beaten)


def hold_novelty_contest(
    laws: Mapping[str, Law], held_out: pl.DataFrame, popularity: Float64Array, seed: int
) -> NoveltyContest:
    """Judge all laws on held-out transitions.

    Args:
        laws: of each contestant; the model's under ``model``.
        held_out: ``user_id``, ``history``, ``cluster_id``, one row for each transition.
        popularity: [clusters] the share of each among the training transitions, all above 0.
        seed: of the bootstrap.
    """
    histories, places = distinct_histories(held_out)
    targets = held_out["cluster_id"].to_numpy()
    users = held_out["user_id"].rank("dense").to_numpy().astype(np.int64) - 1
    judged = {name: _Judged.of(law(histories), places, targets) for name, law in laws.items()}
    resampled = _Resampled(users, targets, len(popularity), seed)
    samples = {name: resampled.means(found) for name, found in judged.items()}
    leads = {
        name: {
            measure: central_interval((samples[MODEL][measure] - found[measure]) * (-1 if measure == "loss" else 1))
            for measure in LEADS
        }
        for name, found in samples.items()
        if name != MODEL
    }
    return NoveltyContest(
        transitions=held_out.height,
        users=int(users.max()) + 1,
        values={
            name: resampled.plain_means(found) | _proposals(found.best, popularity) for name, found in judged.items()
        },
        intervals={
            name: {measure: central_interval(values) for measure, values in found.items()}
            for name, found in samples.items()
        },
        leads=leads,
    )


@dataclass(frozen=True, eq=False)
class _Judged:
    """Of one contestant: measures of each transition [rows], and its best clusters [histories, ``CUT``]."""

    measures: dict[str, Float64Array]
    best: IntArray

    @classmethod
    def of(cls, log_p: Float64Array, places: IntArray, targets: IntArray) -> "_Judged":
        own = log_p[places, targets]
        before = (log_p[places] > own[:, None]).sum(axis=1)
        equal = (log_p[places] == own[:, None]).sum(axis=1)
        recalls = {f"recall_at_{k}": np.clip((k - before) / equal, 0.0, 1.0) for k in RECALL_CUTS}
        best = np.argsort(-log_p, axis=1, kind="stable")[:, :CUT]
        return cls({"loss": -own, **recalls}, best)


class _Resampled:
    """Means over transitions, and over the clusters that came next, under bootstrap samples of the users."""

    def __init__(self, users: IntArray, targets: IntArray, clusters: int, seed: int) -> None:
        rows = np.arange(len(users))
        self.of_user = csr_matrix((np.ones(len(rows)), (users, rows)))
        self.of_target = csr_matrix((np.ones(len(rows)), (rows, targets)), shape=(len(rows), clusters))
        count = self.of_user.shape[0]
        self.draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=BOOTSTRAP_DRAWS)

    def means(self, found: _Judged) -> dict[str, Float64Array]:
        """[samples] of each measure."""
        return self._means(found, self.draws.astype(np.float64))

    def plain_means(self, found: _Judged) -> dict[str, float]:
        """The measures with each user once."""
        return {
            name: float(values[0]) for name, values in self._means(found, np.ones((1, self.of_user.shape[0]))).items()
        }

    def _means(self, found: _Judged, weights: Float64Array) -> dict[str, Float64Array]:
        rows = weights @ self.of_user
        totals = rows.sum(axis=1)
        result = {name: rows @ values / totals for name, values in found.measures.items()}
        hits = self.of_target.multiply(found.measures[f"recall_at_{CUT}"][:, None]).tocsr()
        occurred = rows @ self.of_target
        shares = np.divide(rows @ hits, occurred, out=np.zeros_like(occurred), where=occurred > 0)
        result[f"macro_recall_at_{CUT}"] = shares.sum(axis=1) / (occurred > 0).sum(axis=1)
        return result


def _proposals(best: IntArray, popularity: Float64Array) -> dict[str, float]:
    return {
        f"coverage_at_{CUT}": len(np.unique(best)) / len(popularity),
        f"surprise_at_{CUT}": float(-np.log2(popularity[best]).mean()),
    }
