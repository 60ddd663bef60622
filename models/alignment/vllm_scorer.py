"""vLLM as the second engine of the alignment model: scores of candidates, every pair as a sequence of its own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.alignment.candidate_reader import Clusters
from models.alignment.stack_offsets import StackOffsets
from models.arrays import BoolArray, Float64Array
from models.language.language_model import load_tokenizer
from models.language.prompts import History, alignment_prompt, prompt_tokens, tokens_to_read
from models.language.vllm_engine import LONGEST_HISTORY, closer, open_vllm
from models.progress import Log, Progress, silent
from models.shards import micro_batches

HISTORIES_PER_LINE = 256  # of the log; vLLM makes its own batches


class VllmScorer:
    """Scores candidates like ``candidate_reader.CandidateReader``, every pair as a sequence of its own.

    Args:
        folder: the alignment model.
        labels: the label of cluster i at index i.

    Raises:
        ValueError: vLLM is not installed, there is no model, or labels are unusable.
    """

    def __init__(self, folder: Path, labels: Sequence[str]) -> None:
        self.labels = labels
        self.tokenizer = load_tokenizer(folder)
        self.tokens = tokens_to_read(self.tokenizer, labels)
        self.offsets = StackOffsets.load(folder)
        prompts = [prompt_tokens(self.tokenizer, alignment_prompt([label] * LONGEST_HISTORY)) for label in labels]
        self._model = open_vllm(folder, max(map(len, prompts)) + max(map(len, self.tokens)), runner="pooling")
        self.close = closer(self, self._model)

    def reads(self, candidates: Sequence[Clusters]) -> list[BoolArray]:
        """Whether each candidate is read: all of them."""
        return [np.ones(len(clusters), dtype=np.bool_) for clusters in candidates]

    def all_logits(
        self, histories: Sequence[History], candidates: Sequence[Clusters], log: Log = silent
    ) -> list[Float64Array]:
        """Logits of every history's candidates; a history may have none."""
        progress = Progress(len(histories), "histories", log)
        result: list[Float64Array] = []
        for batch in micro_batches(len(histories), HISTORIES_PER_LINE):
            some = [histories[index] for index in batch]
            result += self._logits(some, [candidates[index] for index in batch])
            progress.advance(len(batch))
        if self.offsets is None:
            return result
        offsets = self.offsets.scores(histories, candidates)
        return [logits + own for logits, own in zip(result, offsets, strict=True)]

    def _logits(self, histories: Sequence[History], candidates: Sequence[Clusters]) -> list[Float64Array]:
        from vllm import PoolingParams

        prompts = []
        for history, clusters in zip(histories, candidates, strict=True):
            text = alignment_prompt([self.labels[cluster] for cluster in history])
            prompt = prompt_tokens(self.tokenizer, text)
            prompts += [{"prompt_token_ids": [*prompt, *self.tokens[cluster]]} for cluster in clusters]
        found = self._model.classify(prompts, pooling_params=PoolingParams(use_activation=False), use_tqdm=False)
        heads = np.zeros(len(found), dtype=np.int64) if self.offsets is None else self.offsets.heads(candidates)
        own = [each.outputs.probs[head] for each, head in zip(found, heads, strict=True)]
        logits = np.array(own, dtype=np.float64)
        return np.split(logits, np.cumsum([len(clusters) for clusters in candidates])[:-1])
