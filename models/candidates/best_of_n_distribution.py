"""The exact distribution of best-of-n: which clusters n independent draws and a choice by score select, and how often.

It helps to choose n and the temperature. But for :func:`first_distinct`, everything is exact, for the k best by score
of the distinct clusters among n draws. Where n draws show fewer than k clusters, ``best_of_n.draw_pool`` draws more;
that is left out here, and :func:`shortfall` says how often it happens.
"""

import numpy as np
from scipy.stats import binom

from models.arrays import Float64Array


def selection_probabilities(probabilities: Float64Array, scores: Float64Array, draws: int, k: int) -> Float64Array:
    """The chance that each cluster is among the k best of those that n draws show.

    Cluster j is selected if it is drawn and fewer than k better ones are. From the best cluster to the worst, the state
    is how many draws are left for the clusters that follow, and how many distinct clusters were drawn so far: given m
    left, cluster j takes Binomial(m, p_j / (p_j + what follows)) of them. Cost: N n^2 k.

    Args:
        probabilities: [N] of one draw; need not sum to 1 exactly.
        scores: [N]; of two equal ones the first counts as better.
        draws: n.
        k: how many are selected.

    Returns:
        [N] probabilities; they sum to k less the expected shortfall.
    """
    _check(probabilities, draws, k)
    order = np.argsort(-scores, kind="stable")
    p = probabilities[order] / probabilities.sum()
    following = np.cumsum(p[::-1])[::-1]
    counts = np.arange(draws + 1)
    state = np.zeros((draws + 1, k))  # draws left for this cluster and the worse ones, distinct better ones drawn
    state[draws, 0] = 1.0
    selected = np.zeros(len(p))
    for place, own in enumerate(p):
        if own == 0.0:
            continue
        share = min(own / following[place], 1.0)
        taken = binom.pmf(counts[:, None] - counts[None, :], counts[:, None], share)  # [left before, left after]
        stays = np.diag(taken).copy()
        selected[place] = ((1 - stays) @ state).sum()
        np.fill_diagonal(taken, 0.0)
        moved = taken.T @ state
        state = stays[:, None] * state
        state[:, 1:] += moved[:, :-1]
    result = np.empty(len(p))
    result[order] = selected
    return result


def expected_top_score(probabilities: Float64Array, scores: Float64Array, draws: int) -> float:
    """Expected highest score of n draws: sum of s_j (F_j^n - F_(j-1)^n), F_j being the mass of scores up to s_j."""
    _check(probabilities, draws, 1)
    order = np.argsort(scores, kind="stable")
    mass = np.cumsum(probabilities[order]) / probabilities.sum()
    powers = np.concatenate([[0.0], np.minimum(mass, 1.0) ** draws])
    return float(scores[order] @ np.diff(powers))


def coverage(probabilities: Float64Array, draws: int) -> float:
    """Expected number of distinct clusters that n draws show: sum of 1 - (1 - p)^n."""
    _check(probabilities, draws, 1)
    return float((1 - (1 - probabilities / probabilities.sum()) ** draws).sum())


def shortfall(probabilities: Float64Array, draws: int, k: int) -> float:
    """Expected number of the k clusters that n draws do not show."""
    return k - float(selection_probabilities(probabilities, np.zeros(len(probabilities)), draws, k).sum())


def first_distinct(probabilities: Float64Array, k: int, streams: int, seed: int) -> Float64Array:
    """How the first k distinct clusters of a stream of draws are shared out, estimated from seeded streams.

    Clusters in the order in which draws first show them are those of log p plus Gumbel noise in falling order (Kool,
    van Hoof and Welling 2019, "Stochastic Beams and Where to Find Them", section 2.2), so no draw is repeated.

    Args:
        probabilities: [N] of one draw; need not sum to 1.
        k: how many are taken; all that can be drawn where those are fewer.
        streams: how many are followed.
        seed: of the noise.

    Returns:
        [N] shares; they sum to 1.
    """
    _check(probabilities, 1, k)
    (possible,) = np.nonzero(probabilities)
    noise = np.random.default_rng(seed).gumbel(size=(streams, len(possible)))
    order = np.argsort(-(np.log(probabilities[possible]) + noise), axis=1)[:, :k]
    counts = np.bincount(possible[order].ravel(), minlength=len(probabilities))
    return np.asarray(counts / counts.sum())


def _check(probabilities: Float64Array, draws: int, k: int) -> None:
    if draws < 1 or k < 1:
        raise ValueError(f"{draws} draws and {k} selected: both must be at least 1")
    if not (np.isfinite(probabilities).all() and (probabilities >= 0).all() and probabilities.any()):
        raise ValueError("the probabilities are not a distribution: they must be finite, not negative, and not all 0")
