"""From the words of a history and its candidates to one logit per candidate, with gradients where they are enabled.

The alignment model reads here, in training and in scoring alike: all candidates of one history are separate branches
under its prompt in one packed sequence. How it learns stands in ``alignment``.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.label_trie import separate_branches
from models.language_model import padding_token
from models.packed_pass import end_states, micro_batches, pack
from models.progress import Log, Progress, silent
from models.prompts import History, alignment_prompt, label_tokens, prompt_tokens

Array = NDArray[np.float64]
Clusters = Sequence[int]

HISTORIES_PER_PASS = 8  # fixed: micro-batches and their padding move bfloat16 results


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
        logits: Tensor = self.states(histories, candidates) @ self.head.float().squeeze(0)
        return logits

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
