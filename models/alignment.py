"""The alignment model: a language model with one linear projection, trained to predict how much users like a cluster.

All candidates of one history are separate branches under its prompt in one packed sequence, so a history with m served
clusters costs one prompt and m labels. The target is the score L, a soft label, with binary cross-entropy (pointwise).
The checkpoint that ranks the validation histories best is the one that is saved. What it ranks against stands in
``yardsticks``, how rankings are judged in ``metrics``.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.files import new_folder
from models.fine_tuning import Optimiser, Schedule
from models.label_trie import separate_branches
from models.language_model import (
    load_scoring_model,
    load_tokenizer,
    padding_token,
    save_checkpoint,
    select_trainable,
)
from models.metrics import RankingEvaluation, evaluate_ranking
from models.packed_pass import end_states, micro_batches, pack
from models.progress import Log, Progress, silent
from models.prompts import History, alignment_prompt, check_histories, label_tokens, prompt_tokens
from models.yardsticks import TrainingMeans, random_scores

Array = NDArray[np.float64]
Clusters = Sequence[int]

HISTORIES_PER_PASS = 8  # of scoring: fixed, because micro-batches and their padding move bfloat16 results
LARGEST_LOGIT = 4.0  # of a soft label in the head's first fit: scores of 0 and 1 have no finite logit
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class AlignmentOptions:
    """How the alignment model is trained.

    Attributes:
        tune: which weights change: ``full``, ``top:<layers>`` or ``lora``; the head always does.
        learning_rate: the highest rate of the schedule.
        steps: optimiser steps.
        histories_per_batch: histories in one step, each with all its served clusters.
        evaluate_every: steps between two looks at the validation histories.
        warmup_share: share of the steps in which the learning rate rises.
        weight_decay: as in AdamW.
        head_histories: training histories that the head is fitted to before the first step, see :func:`fit_head`.
        head_penalty: L2 penalty of that fit.
        seed: of the order of histories and of the clusters within a prompt.
    """

    tune: str = "full"
    learning_rate: float = 5e-5
    steps: int = 60
    histories_per_batch: int = 8
    evaluate_every: int = 10
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    head_histories: int = 64
    head_penalty: float = 0.01
    seed: int = 0


@dataclass(frozen=True, eq=False)
class ServedHistory:
    """One history and the clusters served to its users.

    Attributes:
        history: the K cluster ids, sorted.
        clusters: [m] ids of the served clusters.
        scores: [m] soft labels L in [0, 1].
        weights: [m] evidence of each, above 0.
        rates: [m] raw rates, the truth of held-out histories.
    """

    history: list[int]
    clusters: list[int]
    scores: Array
    weights: Array
    rates: Array


@dataclass(frozen=True)
class CurvePoint:
    """One look at the validation histories; a figure is None where it could not be measured.

    ``training_loss`` is the mean over the steps since the point before (None at step 0).
    """

    step: int
    training_loss: float | None
    validation_loss: float | None
    f1_at_k: float | None
    ndcg_at_k: float | None


@dataclass(frozen=True)
class AlignmentReport:
    """What training did, and how the selected checkpoint ranks the test histories.

    Attributes:
        curve: the looks at the validation histories; step 0 is the pretrained body under the fitted head.
        figures: ``f1_at_k``, ``f1_at_k_random``, ``f1_at_k_prior``, ``f1_at_k_training_means`` and the same four for
            ``ndcg_at_k``, on the test histories; None where no history qualifies.
        held_out_histories: test histories that qualify (at least 2k supported clusters).
        selected_step: the step whose weights were saved.
        selected_by: ``f1_at_k``, ``validation_loss``, or ``last_step`` where there was nothing to validate on.
        notes: every reason why a figure is missing or another rule was used.
        seconds: the whole call.
    """

    curve: tuple[CurvePoint, ...]
    figures: dict[str, float | None]
    held_out_histories: int
    selected_step: int
    selected_by: str
    notes: tuple[str, ...]
    seconds: float


class CandidateReader:
    """Reads candidate labels after the labels of a history, and gives one logit per candidate."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.labels = labels
        self.tokens = label_tokens(tokenizer, labels)
        self.head = model.get_parameter("score.weight")

    def states(self, histories: Sequence[History], candidates: Sequence[Clusters]) -> Tensor:
        """Last hidden state at the end of every candidate's label.

        Args:
            histories: cluster ids in the order to be shown.
            candidates: cluster ids, at least one for each history.

        Returns:
            [candidates in all, hidden], float32, histories in order.
        """
        prompts = [
            prompt_tokens(self.tokenizer, alignment_prompt([self.labels[cluster] for cluster in history]))
            for history in histories
        ]
        trees = [separate_branches([self.tokens[cluster] for cluster in clusters]) for clusters in candidates]
        return end_states(self.model, pack(prompts, trees, padding_token(self.tokenizer))).float()

    def logits(self, histories: Sequence[History], candidates: Sequence[Clusters]) -> Tensor:
        """Logit of every candidate, [candidates in all]; float32, for bfloat16 would tie neighbours in a ranking."""
        return self.states(histories, candidates) @ self.head.float().squeeze(0)

    @torch.inference_mode()
    def all_logits(
        self, histories: Sequence[History], candidates: Sequence[Clusters], log: Log = silent
    ) -> list[Array]:
        """Logits of every history's candidates, in micro-batches by index. A history without candidates is skipped."""
        result = [np.zeros(0) for _ in histories]
        progress = Progress(len(histories), "histories", log)
        for batch in micro_batches(len(histories), HISTORIES_PER_PASS):
            filled = [index for index in batch if candidates[index]]
            if filled:
                logits = self.logits([histories[i] for i in filled], [candidates[i] for i in filled])
                sizes = [len(candidates[index]) for index in filled]
                parts = np.split(logits.cpu().numpy().astype(np.float64), np.cumsum(sizes)[:-1])
                for index, part in zip(filled, parts, strict=True):
                    result[index] = part
            progress.advance(len(batch))
        return result


def soft_label_loss(logits: Tensor, scores: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of the binary cross-entropy -(L log p + (1 - L) log(1 - p)) with p = sigmoid(logit)."""
    losses = binary_cross_entropy_with_logits(logits, scores, reduction="none")
    return (losses * weights).sum() / weights.sum()


def group_by_history(examples: pl.DataFrame, clusters: int) -> dict[str, list[ServedHistory]]:
    """Gather the examples of each history, by split; histories sorted, so that the order of rows does not matter.

    Raises:
        ValueError: naming the first example that no training can use.
    """
    _check_examples(examples, clusters)
    grouped = (
        examples.sort("history", "cluster_id")
        .group_by("split", "history", maintain_order=True)
        .agg("cluster_id", "score", "weight", "raw_rate")
    )
    served: dict[str, list[ServedHistory]] = {split: [] for split in SPLITS}
    for split, history, candidates, scores, weights, rates in grouped.iter_rows():
        served[split].append(
            ServedHistory(history, candidates, np.array(scores), np.array(weights, dtype=float), np.array(rates))
        )
    if not served["train"]:
        raise ValueError("there are no training examples: collect feedback first, or lower the filters of the scores")
    return served


def _check_examples(examples: pl.DataFrame, clusters: int) -> None:
    check_histories(examples["history"].to_list(), clusters)
    pair = ("history", "cluster_id")
    splits = pl.col("split").n_unique().over("history")
    faults = {
        f"has a split other than {', '.join(SPLITS)}": ~pl.col("split").is_in(SPLITS),
        "has a history that stands in two splits": splits > 1,
        "occurs twice": pl.struct(pair).is_duplicated(),
        "offers a cluster that does not exist": ~pl.col("cluster_id").is_between(0, clusters - 1),
        "offers a cluster of its own history": pl.col("history").list.contains(pl.col("cluster_id")),
        "has a score outside 0 to 1": ~pl.col("score").is_between(0, 1),
        "has a weight that is not above 0": ~(pl.col("weight").is_finite() & (pl.col("weight") > 0)),
        "has a raw rate outside 0 to 1": ~pl.col("raw_rate").is_between(0, 1),
    }
    for fault, condition in faults.items():
        rows = examples.filter(condition.fill_null(value=True)).select(pair)
        if rows.height:
            history, cluster = rows.row(0)
            raise ValueError(f"the example of history {history} and cluster {cluster} {fault}")


def fit_head(reader: CandidateReader, served: Sequence[ServedHistory], penalty: float, log: Log = silent) -> None:
    """Start the head from a weighted ridge regression of logit(L) on the pretrained body's states, in place.

    A random head first pulls the body towards itself and spoils its features; a fitted one does not (Kumar et al., 2022,
    "Fine-Tuning can Distort Pretrained Features"). It saved about half of the steps here. The minimised sum is
    mean(w (x.v - logit L)^2) + penalty |v|^2, with logits cut at 4 and weights of mean 1.
    """
    states: list[Array] = []
    progress = Progress(len(served), "histories read for the head", log)
    with torch.inference_mode():
        for batch in micro_batches(len(served), HISTORIES_PER_PASS):
            rows = [served[index] for index in batch]
            read = reader.states([row.history for row in rows], [row.clusters for row in rows])
            states.append(read.cpu().numpy().astype(np.float64))
            progress.advance(len(batch))
    x = np.concatenate(states)
    scores = np.concatenate([row.scores for row in served])
    weights = np.concatenate([row.weights for row in served])
    with np.errstate(divide="ignore"):
        target = np.clip(np.log(scores) - np.log1p(-scores), -LARGEST_LOGIT, LARGEST_LOGIT)
    weighted = x * (weights / weights.sum())[:, None]
    solution = np.linalg.solve(weighted.T @ x + penalty * np.eye(x.shape[1]), weighted.T @ target)
    with torch.no_grad():
        reader.head.copy_(torch.from_numpy(solution)[None, :])


def _training_batches(histories: int, size: int, generator: np.random.Generator) -> Iterator[list[int]]:
    """Indices of endless batches: every history once in a seeded order, then again in another."""
    queue: list[int] = []
    while True:
        while len(queue) < size:
            queue.extend(generator.permutation(histories).tolist())
        batch, queue = queue[:size], queue[size:]
        yield batch


def _validate(
    reader: CandidateReader, served: Sequence[ServedHistory], k: int, step: int, training_loss: float | None
) -> CurvePoint:
    if not served:
        return CurvePoint(step, training_loss, None, None, None)
    logits = reader.all_logits([row.history for row in served], [row.clusters for row in served])
    loss = soft_label_loss(
        torch.from_numpy(np.concatenate(logits)),
        torch.from_numpy(np.concatenate([row.scores for row in served])),
        torch.from_numpy(np.concatenate([row.weights for row in served])),
    )
    ranking = evaluate_ranking(logits, [row.rates for row in served], k)
    return CurvePoint(step, training_loss, float(loss), ranking.f1_at_k, ranking.ndcg_at_k)
