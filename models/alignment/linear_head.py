"""The start of the alignment model's linear head: a ridge regression on the states of the pretrained body."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from models.alignment.candidate_reader import CandidateReader
from models.alignment.examples import ServedHistory
from models.arrays import Float64Array, IntArray
from models.progress import Log, silent

LEAST_MEAN = 1e-3  # scores that are all 0, or all 1, have no finite logit
HEAD_PENALTIES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
HEAD_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Ridge:
    """A fitted ridge regression.

    Attributes:
        penalty: that was chosen.
        head: [hidden] fitted to all rows.
        errors: [rows] weighted squared error of each row by a fit without its fold, with the same penalty; 0 with one
            fold only.
    """

    penalty: float
    head: Float64Array
    errors: Float64Array


def fit_head(reader: CandidateReader, served: Sequence[ServedHistory], log: Log = silent) -> float:
    """Start the head from a weighted ridge regression on the pretrained body's states, in place.

    A random head first distorts the features of the body; a fitted one does not (Kumar et al.,
    2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution"). The targets are
    :func:`working_logits`: scores of 0 and 1, which few impressions give, have no finite logit.

    Returns:
        The penalty, chosen by cross-validation over histories: noisy scores need a stronger one.
    """
    states = reader.read([row.history for row in served], [row.clusters for row in served], log).array()
    weights = np.concatenate([row.weights for row in served])
    targets = working_logits(np.concatenate([row.scores for row in served]), weights)
    folds = np.repeat(np.arange(len(served)) % HEAD_FOLDS, [len(row.clusters) for row in served])
    found = ridge(states, targets, weights, folds)
    reader.set_heads(found.head[None, :])
    return found.penalty


def working_logits(scores: Float64Array, weights: Float64Array) -> Float64Array:
    """logit(m) + (L - m) / (m (1 - m)), m being the weighted mean score: linear in the scores.

    A least-squares fit to them is the first Fisher-scoring step of a logistic regression, taken from the constant model
    (McCullagh and Nelder, Generalized Linear Models, section 2.5).
    """
    mean = float(np.clip(np.average(scores, weights=weights), LEAST_MEAN, 1 - LEAST_MEAN))
    return np.asarray(logit(mean) + (scores - mean) / (mean * (1 - mean)))


def ridge(x: Float64Array, targets: Float64Array, weights: Float64Array, folds: IntArray) -> Ridge:
    """Minimise mean(w (x.v - target)^2) + penalty |v|^2, with the penalty of least error on left-out folds.

    Args:
        x: [rows, hidden] states.
        targets: [rows].
        weights: [rows] above 0; they count relative to their mean.
        folds: [rows] the fold that each row is left out with. With one fold only, a middle penalty is taken.
    """
    weighted = x * (weights / weights.sum())[:, None]
    identity = np.eye(x.shape[1])
    present = np.unique(folds)
    errors, best = np.zeros((len(HEAD_PENALTIES), len(x))), len(HEAD_PENALTIES) // 2
    if len(present) > 1:
        for fold in present:
            out, kept = folds == fold, folds != fold
            gram, moment = weighted[kept].T @ x[kept], weighted[kept].T @ targets[kept]
            for index, penalty in enumerate(HEAD_PENALTIES):
                solution = np.linalg.solve(gram + penalty * identity, moment)
                errors[index, out] = weights[out] * (x[out] @ solution - targets[out]) ** 2
        best = int(np.argmin(errors.sum(axis=1)))
    penalty = HEAD_PENALTIES[best]
    return Ridge(penalty, np.linalg.solve(weighted.T @ x + penalty * identity, weighted.T @ targets), errors[best])
