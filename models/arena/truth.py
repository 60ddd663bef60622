"""What users of the simulated world would truly do: for evaluation code only. Nothing that learns may read it.

All rates are those of a rested user (no topic has tired them) on the exploration shelf: the mean over the items of a
cluster, as they are picked there, and over the places of the shelf.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from scipy.optimize import brentq
from scipy.sparse import csr_array
from scipy.special import expit, logit

from models.arena.catalogue import Catalogue
from models.arena.responses import SIGNALS, response_probabilities
from models.arena.shelf import cluster_of_items, recent_clusters
from models.arena.traffic import id_numbers
from models.arrays import BoolArray, Float32Array, Float64Array, IntArray
from models.evaluation.metrics import RankingEvaluation, evaluate_ranking
from models.evaluation.ranking_contest import MEASURES, OF_HISTORIES, bootstrap_interval

BASE = -2.0  # log-odds of a positive play at average taste and quality, in the first place
TASTE = 1.4  # log-odds per unit of taste
PLACE = 0.06  # log-odds lost per place
USERS_AT_ONCE = 32  # with 15,360 items what is computed for them stays in the cache: 250 took three times as long
LOGS = 20  # drawn for a noise ceiling


class Truth:
    """The tastes of all users at one moment, and every rate that follows from them.

    The tastes are a copy; items and histories are shared with the world, so use this before the next day is simulated.

    Args:
        tastes: [users, topics], grown interests included.
        catalogue: the items.
        places: of the exploration shelf.
        start_rate: of impressions that do not please.
        plays: gives users, items and times of all plays, and which were positive, in order of time.
    """

    def __init__(
        self,
        tastes: Float32Array,
        catalogue: Catalogue,
        places: int,
        start_rate: float,
        plays: Callable[[], Iterator[tuple[IntArray, IntArray, IntArray, BoolArray]]],
    ) -> None:
        self.tastes = tastes
        self.catalogue = catalogue
        self.places = places
        self.start_rate = start_rate
        self._plays = plays

    @property
    def item_topics(self) -> dict[str, int]:
        """The main topic of every item: the clusters that a perfect taxonomy would find."""
        return dict(zip(self.catalogue.item_ids, self.catalogue.main_topics.tolist(), strict=True))

    def user_rates(
        self, users: IntArray, item_clusters: Mapping[str, int], signals: Sequence[str] = ("positive",)
    ) -> dict[str, Float64Array]:
        """[users, clusters] the probability of each signal when the shelf shows an item of the cluster to the user.

        Costs users x items x places x signals: 20,000 users, 15,360 items and one place take 10 s for one signal and
        40 s for all.
        """
        clusters, count = cluster_of_items(self.catalogue, item_clusters)
        known = np.flatnonzero(clusters >= 0)
        picked = csr_array(
            (self.catalogue.pick_weights[known].astype(np.float64), (clusters[known], np.arange(len(known)))),
            shape=(count, len(known)),
        )
        total = np.maximum(picked.sum(axis=1)[:, None], 1e-12)
        duration_s = self.catalogue.duration_s[known, None].astype(np.float64)
        rates = {signal: np.zeros((len(users), count)) for signal in signals}
        for start in range(0, len(users), USERS_AT_ONCE):
            part = slice(start, start + USERS_AT_ONCE)
            rested = self._log_odds(users[part], known)
            for place in range(1, self.places + 1):
                probabilities = response_probabilities(rested - PLACE * place, duration_s, self.start_rate, signals)
                for signal in signals:
                    rates[signal][part] += (picked @ probabilities[signal] / total).T / self.places
        return rates

    def history_rates(
        self, item_clusters: Mapping[str, int], length: int, histories: Collection[tuple[int, ...]] | None = None
    ) -> pl.DataFrame:
        """The rates of every signal by cluster and by history that a user has now.

        Args:
            item_clusters: cluster of each item.
            length: K, of the histories.
            histories: sorted; only these are asked for, and only their holders cost anything. None: all.

        Returns:
            ``history`` (sorted list), ``cluster_id``, ``users`` (who have it), ``novel_users`` (those of them who never
            played the cluster), ``<signal>_rate``, the mean over the users, and ``novel_positive_rate``, that over the
            novel users, 0 where there are none; a row for each history that a user has and each cluster.
        """
        clusters, count = cluster_of_items(self.catalogue, item_clusters)
        last_positive, known = self._past(clusters, count)
        held, complete = recent_clusters(last_positive, length)
        if histories is not None:
            asked = set(histories)
            complete &= np.fromiter((tuple(history) in asked for history in held.tolist()), np.bool_, len(held))
        holders = np.flatnonzero(complete)
        found, group = np.unique(held[holders], axis=0, return_inverse=True)
        member = csr_array(
            (np.ones(len(holders)), (group.ravel(), np.arange(len(holders)))), shape=(len(found), len(holders))
        )
        novel = (~known[holders]).astype(np.float64)
        users, novel_users = member.sum(axis=1)[:, None], member @ novel
        rates = self.user_rates(holders, item_clusters, SIGNALS)
        means = {f"{signal}_rate": member @ each / users for signal, each in rates.items()}
        means["novel_positive_rate"] = member @ (rates["positive"] * novel) / np.maximum(novel_users, 1)
        return _cells(found, count).with_columns(
            pl.Series("users", np.repeat(users.ravel(), count), dtype=pl.Int64),
            pl.Series("novel_users", novel_users.ravel(), dtype=pl.Int64),
            *(pl.Series(name, mean.ravel()) for name, mean in means.items()),
        )

    def shown_history_rates(self, shown: pl.DataFrame, item_clusters: Mapping[str, int]) -> pl.DataFrame:
        """The positive rates of histories over the users who saw something while they had them.

        What a log can teach about a history is the mean over these users, not over the few who have it at one moment.

        Args:
            shown: ``history``, ``user_id`` and ``impressions``, by which users count.
            item_clusters: cluster of each item.

        Returns:
            ``history``, ``cluster_id`` and ``positive_rate``; a row for each history and each cluster.
        """
        histories = sorted({tuple(history) for history in shown["history"].to_list()})
        place = {history: index for index, history in enumerate(histories)}
        rows = np.array([place[tuple(history)] for history in shown["history"].to_list()])
        users, column = np.unique(id_numbers(shown["user_id"]), return_inverse=True)
        counts = shown["impressions"].to_numpy().astype(np.float64)
        weights = csr_array((counts, (rows, column)), shape=(len(histories), len(users)))
        rates = weights @ self.user_rates(users, item_clusters)["positive"] / weights.sum(axis=1)[:, None]
        return _cells(np.array(histories), rates.shape[1]).with_columns(pl.Series("positive_rate", rates.ravel()))

    def _log_odds(self, users: IntArray, items: IntArray) -> Float64Array:
        """[items, users] of a positive play by a rested user, before the place on the shelf."""
        pairs = np.repeat(np.arange(len(items)), 2), self.catalogue.topics[items].ravel()
        weights = csr_array((self.catalogue.weights[items].ravel(), pairs), shape=(len(items), self.tastes.shape[1]))
        liking = weights @ np.ascontiguousarray(self.tastes[users].T)
        return np.asarray(BASE + TASTE * liking + self.catalogue.quality[items, None], dtype=np.float64)

    def _past(self, clusters: IntArray, count: int) -> tuple[IntArray, BoolArray]:
        """[users, clusters] time of the last positive play (0: never), and whether there was any play."""
        last = np.zeros((len(self.tastes), count), dtype=np.int64)
        known = np.zeros(last.shape, dtype=np.bool_)
        for users, items, ts, positive in self._plays():
            clustered = clusters[items] >= 0
            known[users[clustered], clusters[items[clustered]]] = True
            liked = clustered & positive
            np.maximum.at(last, (users[liked], clusters[items[liked]]), ts[liked])
        return last, known


def _cells(histories: IntArray, count: int) -> pl.DataFrame:
    """``history`` and ``cluster_id`` of every pair of one of ``histories`` [n, K] and one of ``count`` clusters."""
    each = pl.Series("history", histories.astype(np.int32)).cast(pl.List(pl.Int32))
    return pl.DataFrame(
        {
            "history": each.gather(np.repeat(np.arange(len(histories)), count)),
            "cluster_id": pl.Series(np.tile(np.arange(count), len(histories)), dtype=pl.Int32),
        }
    )


def oracle_ranking(rates: pl.DataFrame, k: int, signal: str) -> pl.DataFrame:
    """The k best clusters outside each history, by their true rate.

    Args:
        rates: as :meth:`Truth.history_rates` returns them.
        k: how many.
        signal: by whose rate.

    Returns:
        The rows of the k best, with ``rank`` from 1.
    """
    return _best_outside(rates, k, signal).sort("history", "rank")


def rates_of_plans(rates: pl.DataFrame, before: pl.DataFrame, after: pl.DataFrame, k: int) -> dict[str, float]:
    """Mean true positive rate of what two tables plan, over the users of each history to whom the cluster is novel.

    Args:
        rates: as :meth:`Truth.history_rates` returns them.
        before: ``history`` and ``cluster_id`` of one table.
        after: likewise, of the other.
        k: clusters that are planned for a history.

    Returns:
        ``true_rate_before`` and ``true_rate_after``; beside them ``true_rate_random``, of all clusters outside each
        history, and ``true_rate_oracle``, of the k best of them. Likewise ``novel_share_...``: the share of the users
        who hold a history to whom a cluster planned for it is novel.
    """
    outside = _outside(rates)
    planned = {
        name: outside.join(rows, on=["history", "cluster_id"], how="semi")
        for name, rows in (("before", before), ("after", after))
    }
    cells = {**planned, "random": outside, "oracle": _best_outside(rates, k, "novel_positive")}
    novel = pl.col("novel_users").sum()
    mean = (pl.col("novel_positive_rate") * pl.col("novel_users")).sum() / novel
    figures = {f"true_rate_{name}": float(rows.select(mean).item()) for name, rows in cells.items()}
    shares = {name: float(rows.select(novel / pl.col("users").sum()).item()) for name, rows in cells.items()}
    return figures | {f"novel_share_{name}": share for name, share in shares.items()}


def _best_outside(rates: pl.DataFrame, k: int, signal: str) -> pl.DataFrame:
    rank = pl.col(f"{signal}_rate").rank("ordinal", descending=True).over("history").alias("rank")
    return _outside(rates).with_columns(rank).filter(pl.col("rank") <= k)


def _outside(rates: pl.DataFrame) -> pl.DataFrame:
    return rates.filter(~pl.col("history").list.contains(pl.col("cluster_id")))


def at_the_level_of(rates: Float64Array, observed: Float64Array, impressions: IntArray) -> Float64Array:
    """True rates of rested users, moved by one constant on log-odds so that their mean is the mean of a log.

    Users of a log are tired of what they have just seen. That does not change rankings, but it does change rates.

    Args:
        rates: [cells] of rested users, in (0, 1).
        observed: [cells] of the log, not all 0 or all 1.
        impressions: [cells], the weights of both means.

    Returns:
        [cells] rates.
    """
    target = np.average(observed, weights=impressions)
    log_odds = logit(rates)
    shift = brentq(lambda constant: np.average(expit(log_odds + constant), weights=impressions) - target, -10.0, 10.0)
    return np.asarray(expit(log_odds + shift))


def noise_ceiling(cells: pl.DataFrame, k: int, seed: int, logs: int = LOGS) -> dict[str, float]:
    """What a model that knew the true rates would score on the noisy rates of a finite log.

    Args:
        cells: ``history``, ``cluster_id``, ``impressions`` (of the log) and ``positive_rate`` (the truth).
        k: the cut of the metrics.
        seed: of the logs.
        logs: how many are drawn.

    Returns:
        ``f1_at_k`` and ``ndcg_at_k``, means over ``logs`` logs with the same impressions and freshly drawn responses.

    Raises:
        ValueError: no history has 2k cells.
    """
    judged = _judged_logs(cells, k, seed, logs)
    return {measure: float(np.mean([getattr(found, measure) for found in judged])) for measure in MEASURES}


def _judged_logs(cells: pl.DataFrame, k: int, seed: int, logs: int) -> list[RankingEvaluation]:
    """How the truth ranks each of some logs with freshly drawn responses."""
    rng = np.random.default_rng(seed)
    grouped = cells.group_by("history", maintain_order=True).agg("impressions", "positive_rate")
    true = [np.array(rates, dtype=np.float64) for rates in grouped["positive_rate"].to_list()]
    impressions = [np.array(counts) for counts in grouped["impressions"].to_list()]
    judged = []
    for _ in range(logs):
        noisy = [rng.binomial(counts, rates) / counts for counts, rates in zip(impressions, true, strict=True)]
        found = evaluate_ranking(true, noisy, k)
        if found.f1_at_k is None or found.ndcg_at_k is None:
            raise ValueError(f"there is no noise ceiling: {found.reason}")
        judged.append(found)
    return judged


def ceiling_intervals(examples: pl.DataFrame, rates: pl.DataFrame, k: int) -> dict[str, tuple[float, float]]:
    """The 95% intervals of :func:`ceiling_of_examples` over histories, by the same names; empty where it has none."""
    cells = _test_cells(examples, rates)
    try:
        judged = _judged_logs(cells, k, 0, LOGS)
    except ValueError:
        return {}
    found = {}
    for measure, name in OF_HISTORIES.items():
        values = np.stack([getattr(log, name) for log in judged])
        values = values[:, np.isfinite(values).any(axis=0)]
        found[f"{measure}_ceiling"] = bootstrap_interval(np.nanmean(values, axis=0), seed=0)
    return found


def _test_cells(examples: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    return examples.filter(pl.col("split") == "test").join(rates, on=["history", "cluster_id"])


def ceiling_of_examples(examples: pl.DataFrame, rates: pl.DataFrame, k: int) -> dict[str, float | None]:
    """:func:`noise_ceiling` of the test examples as ``f1_at_k_ceiling`` and ``ndcg_at_k_ceiling``.

    Args:
        examples: of the alignment model: ``history``, ``cluster_id``, ``impressions``, ``split``.
        rates: ``history``, ``cluster_id``, ``positive_rate``.
        k: the cut of the metrics.

    Returns:
        None of both where no history has 2k cells; the metrics themselves are missing then, and say why.
    """
    cells = _test_cells(examples, rates)
    ceiling: dict[str, float | None]
    try:
        ceiling = dict(noise_ceiling(cells, k, seed=0))
    except ValueError:
        ceiling = dict.fromkeys(("f1_at_k", "ndcg_at_k"))
    return {f"{measure}_ceiling": value for measure, value in ceiling.items()}
