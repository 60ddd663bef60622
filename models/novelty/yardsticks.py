"""What a novelty model must beat: laws of the next cluster by counting, from the transitions of training users alone.

*Uniform*; *popularity*: how often a cluster came next; *co-occurrence*: how often it came after the same history, after
one of its members, or at all, each backing off to the next; *additive affinity*: a multinomial logistic regression on
the members of the history, with a ridge; *factorisation*: the same with affinities of low rank. Penalties are those of
least loss on validation users; then each law is fitted to all training users.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import TypeVar

import numpy as np
import polars as pl
from scipy.optimize import minimize

from models.arrays import Float64Array
from models.language.prompts import History
from models.novelty.affinity_law import (
    BIAS_SPREAD,
    TOLERANCE,
    Spreads,
    choose_spreads,
    fit_affinity_law,
)
from models.novelty.transitions import (
    BothWays,
    Law,
    TransitionCounts,
    masked_log_softmax,
    mean_loss,
    member_matrix,
)
from models.progress import Log, Progress, silent

BACK_OFFS = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 1e9)  # transitions that the shorter history counts for
RIDGES = (0.05, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0)
FACTOR_SPREADS = (0.1, 0.15, 0.2, 0.3, 0.45, 0.7)
RANK = 8
ITERATIONS = 200
Choice = TypeVar("Choice")


def fit_yardsticks(
    taught: pl.DataFrame, validation: pl.DataFrame, clusters: int, seed: int, log: Log = silent
) -> dict[str, Law]:
    """Fit all of them.

    Args:
        taught: ``history``, ``cluster_id`` of the training users, one row for each transition.
        validation: likewise of other training users; the laws are fitted to both in the end. Without any, the middle
            penalties count.
        clusters: N.
        seed: of where the factorisation starts.
        log: receives progress lines.
    """
    both_ways, everything = (BothWays.of(rows, clusters) for rows in (taught, pl.concat([taught, validation])))
    validating = TransitionCounts.of(validation, clusters)

    def least_loss(choices: Sequence[Choice], fit: Callable[[TransitionCounts, Choice], Law]) -> Law:
        best = choices[len(choices) // 2]
        progress = Progress(len(choices), "penalties", log)
        losses = []
        for choice in choices if validating.histories else []:
            losses.append(mean_loss(fit(both_ways.came, choice), validating))
            progress.advance(note=f"validation loss {losses[-1]:.4f}")
        return fit(everything.came, choices[int(np.argmin(losses))] if losses else best)

    start = Spreads(RIDGES[len(RIDGES) // 2])
    ridge = choose_spreads(both_ways, validating, start, [("mutual", RIDGES)], log=log)
    return {
        "uniform": lambda histories: uniform(histories, clusters),
        "popularity": Popularity(everything.came),
        "cooccurrence": least_loss(
            list(product(BACK_OFFS, BACK_OFFS)), lambda counted, weights: CoOccurrence(counted, *weights)
        ),
        "additive": fit_affinity_law(everything, ridge).log_probabilities,
        "factorisation": least_loss(FACTOR_SPREADS, lambda counted, spread: Factorisation(counted, spread, seed)),
    }


def uniform(histories: Sequence[History], clusters: int) -> Float64Array:
    """[histories, clusters] each cluster outside the history alike."""
    members = member_matrix(histories, clusters)
    return masked_log_softmax(np.zeros(members.shape), members)


class Popularity:
    """The share of each cluster among what came next, with one more transition to each.

    Args:
        counted: transitions.
    """

    def __init__(self, counted: TransitionCounts) -> None:
        self.scores = counted.log_popularity()

    def __call__(self, histories: Sequence[History]) -> Float64Array:
        """[histories, clusters] log probabilities."""
        members = member_matrix(histories, len(self.scores))
        return masked_log_softmax(np.broadcast_to(self.scores, members.shape), members)


class CoOccurrence:
    """Shares of what came next after the same history, smoothed by those after its members, smoothed by popularity.

    A share from n transitions is (count + weight * shorter share) / (n + weight): the mean under a Dirichlet prior.

    Args:
        counted: transitions.
        of_popularity: the weight of popularity beside the transitions after one member.
        of_members: the weight of the members' mean share beside the transitions after the same history.
    """

    def __init__(self, counted: TransitionCounts, of_popularity: float, of_members: float) -> None:
        self.of_members = of_members
        self.counts = dict(zip(counted.histories, counted.counts, strict=True))
        after = (counted.members.T @ counted.counts).toarray()
        popularity = np.exp(counted.log_popularity())
        self.after_member = (after + of_popularity * popularity) / (after.sum(axis=1, keepdims=True) + of_popularity)

    def __call__(self, histories: Sequence[History]) -> Float64Array:
        """[histories, clusters] log probabilities."""
        shares = np.stack([self.after_member[list(history)].mean(axis=0) for history in histories])
        for row, history in enumerate(histories):
            own = self.counts.get(tuple(sorted(history)))
            if own is not None:
                shares[row] = (own.toarray()[0] + self.of_members * shares[row]) / (own.sum() + self.of_members)
        return masked_log_softmax(np.log(shares), member_matrix(histories, shares.shape[1]))


class Factorisation:
    """Softmax of bias[C] + (sum over c in S of u[c]) . v[C], by L-BFGS from a seeded start.

    Args:
        counted: transitions.
        spread: prior standard deviation of each coordinate of u and v.
        seed: of the start.
    """

    def __init__(self, counted: TransitionCounts, spread: float, seed: int) -> None:
        clusters = counted.clusters
        base, shape = counted.log_popularity(), (2, clusters, RANK)

        def posterior(flat: Float64Array) -> tuple[float, Float64Array]:
            bias, (left, right) = flat[:clusters], flat[clusters:].reshape(shape)
            value, slopes = 0.0, [np.zeros_like(bias), np.zeros_like(left), np.zeros_like(right)]
            popular, before, after = (part.astype(np.float32) for part in (base + bias, left, right))
            for block in counted.blocks:
                embedded = block.members @ before
                loss, excess = block.loss_and_excess(popular + embedded @ after.T)
                value += loss
                parts = (excess.sum(axis=0), block.members.T @ (excess @ after), excess.T @ embedded)
                slopes = [slope + part for slope, part in zip(slopes, parts, strict=True)]
            precisions = np.concatenate([np.full(clusters, BIAS_SPREAD**-2), np.full(left.size * 2, spread**-2)])
            gradient = np.concatenate([slope.ravel() for slope in slopes])
            return value + float(precisions @ flat**2) / 2, gradient + precisions * flat

        start = np.concatenate([np.zeros(clusters), np.random.default_rng(seed).normal(0, 0.1, np.prod(shape))])
        found = minimize(
            posterior, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS, "ftol": TOLERANCE}
        ).x
        self.scores = base + found[:clusters]
        self.left, self.right = found[clusters:].reshape(shape)

    def __call__(self, histories: Sequence[History]) -> Float64Array:
        """[histories, clusters] log probabilities."""
        members = member_matrix(histories, len(self.scores))
        return masked_log_softmax(self.scores + members @ self.left @ self.right.T, members)
