"""Where the alignment model's linear head starts: a ridge regression on what the pretrained body already knows."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit

from models.alignment_examples import ServedHistory
from models.candidate_reader import HISTORIES_PER_PASS, CandidateReader
from models.packed_pass import micro_batches
from models.progress import Log, Progress, silent

Array = NDArray[np.float64]

LARGEST_LOGIT = 4.0  # of a soft label: scores of 0 and 1 have no finite logit
HEAD_PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
HEAD_FOLDS = 5


def fit_head(reader: CandidateReader, served: Sequence[ServedHistory], log: Log = silent) -> float:
    """Start the head from a weighted ridge regression of logit(L) on the pretrained body's states, in place.

    A random head first pulls the body towards itself and spoils its features; a fitted one does not (Kumar et al.,
    2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution"). Logits are cut at 4.

    Returns:
        The penalty, chosen by cross-validation over histories: noisy scores need a stronger one.
    """
    states: list[Array] = []
    progress = Progress(len(served), "histories read for the head", log)
    with torch.inference_mode():
        for batch in micro_batches(len(served), HISTORIES_PER_PASS):
            rows = [served[index] for index in batch]
            read = reader.states([row.history for row in rows], [row.clusters for row in rows])
            states.append(read.cpu().numpy().astype(np.float64))
            progress.advance(len(batch))
    targets = np.clip(logit(np.concatenate([row.scores for row in served])), -LARGEST_LOGIT, LARGEST_LOGIT)
    weights = np.concatenate([row.weights for row in served])
    folds = np.repeat(np.arange(len(served)) % HEAD_FOLDS, [len(row.clusters) for row in served])
    penalty, head = ridge(np.concatenate(states), targets, weights, folds)
    with torch.no_grad():
        reader.head.copy_(torch.from_numpy(head)[None, :])
    return penalty


def ridge(x: Array, targets: Array, weights: Array, folds: NDArray[np.int64]) -> tuple[float, Array]:
    """Minimise mean(w (x.v - target)^2) + penalty |v|^2, with the penalty of least error on left-out folds.

    Args:
        x: [rows, hidden] states.
        targets: [rows].
        weights: [rows] above 0; they count relative to their mean.
        folds: [rows] the fold that each row is left out with. With one fold only, the middle penalty is taken.

    Returns:
        The penalty, and v [hidden] fitted to all rows.
    """
    weighted = x * (weights / weights.sum())[:, None]
    identity = np.eye(x.shape[1])
    present = np.unique(folds)
    errors = np.zeros(len(HEAD_PENALTIES))
    if len(present) > 1:
        for fold in present:
            out, kept = folds == fold, folds != fold
            gram, moment = weighted[kept].T @ x[kept], weighted[kept].T @ targets[kept]
            for index, penalty in enumerate(HEAD_PENALTIES):
                solution = np.linalg.solve(gram + penalty * identity, moment)
                errors[index] += weights[out] @ (x[out] @ solution - targets[out]) ** 2
        best = HEAD_PENALTIES[int(np.argmin(errors))]
    else:
        best = HEAD_PENALTIES[len(HEAD_PENALTIES) // 2]
    return best, np.linalg.solve(weighted.T @ x + best * identity, weighted.T @ targets)
