"""The alignment model: a language model with one linear projection, trained to predict how much users like a cluster.

All candidates of one history are separate branches under its prompt in one packed sequence, so a history with m served
clusters costs one prompt and m labels. The target is the score L, a soft label, with binary cross-entropy (pointwise).
The checkpoint that ranks the validation histories best is the one that is saved.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
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
from models.prompts import alignment_prompt, check_histories, label_tokens, prompt_tokens
from models.yardsticks import TrainingMeans, random_scores

Array = NDArray[np.float64]

HISTORIES_PER_PASS = 8  # of scoring: fixed, because micro-batches and their padding move bfloat16 results


@dataclass(frozen=True)
class AlignmentOptions:
    """How the alignment model is trained.

    Attributes:
        tune: which weights change: ``full``, ``top:<layers>`` or ``lora``; the head always does.
        learning_rate: the highest, see ``models.fine_tuning.Schedule``.
        steps: optimiser steps.
        histories_per_batch: histories in one step, each with all its served clusters.
        evaluate_every: steps between two looks at the validation histories.
        warmup_share: share of the steps in which the learning rate rises.
        weight_decay: of AdamW.
        head_penalty: L2 penalty of the linear fit that the head starts from, per cell.
        seed: of the order of histories and of the clusters within a prompt.
    """

    tune: str = "full"
    learning_rate: float = 5e-5
    steps: int = 60
    histories_per_batch: int = 8
    evaluate_every: int = 10
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    head_penalty: float = 0.01
    seed: int = 0


@dataclass(frozen=True, eq=False)
class ServedHistory:
    """One history and the clusters served to its users, with score, weight and raw rate of each."""

    history: list[int]
    clusters: list[int]
    scores: Array
    weights: Array
    rates: Array


class CandidateReader:
    """Reads candidates after a history: tokenises once, packs, and returns one logit per candidate."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.labels = labels
        self.tokens = label_tokens(tokenizer, labels)
        self.head = model.get_parameter("score.weight")

    def states(self, histories: Sequence[Sequence[int]], candidates: Sequence[Sequence[int]]) -> Tensor:
        """Last hidden state at the end of every candidate label, [candidates in all, hidden], histories in order."""
        prompts = [
            prompt_tokens(self.tokenizer, alignment_prompt([self.labels[cluster] for cluster in history]))
            for history in histories
        ]
        trees = [separate_branches([self.tokens[cluster] for cluster in clusters]) for clusters in candidates]
        return end_states(self.model, pack(prompts, trees, padding_token(self.tokenizer)))

    def logits(self, histories: Sequence[Sequence[int]], candidates: Sequence[Sequence[int]]) -> Tensor:
        """Logit of every candidate, [candidates in all], float32: bfloat16 would tie neighbours in the ranking."""
        return (self.states(histories, candidates).float() @ self.head.float().T).squeeze(1)
