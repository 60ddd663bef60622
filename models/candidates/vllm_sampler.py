"""vLLM as the second engine of the novelty model: free and structured samples, and the label that each is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.arrays import IntArray
from models.language.language_model import load_tokenizer
from models.language.prompts import History, label_text, label_tokens, novelty_prompt, prompt_tokens
from models.language.vllm_engine import LONGEST_HISTORY, closer, open_vllm


class VllmSampler:
    """Samples text after histories, and tells which label it is.

    Args:
        folder: the novelty model.
        labels: the label of cluster i at index i.
        temperature: T.
        structured: only labels are sampled: at every token, what begins no label is masked. Then any tokens that spell
            a label count; otherwise a sample has to be the label's own tokens and the terminator.

    Raises:
        ValueError: vLLM is not installed, there is no model, or labels are unusable.
    """

    def __init__(self, folder: Path, labels: Sequence[str], temperature: float, *, structured: bool) -> None:
        self.labels = labels
        self.temperature = temperature
        self.tokenizer = load_tokenizer(folder)
        tokens = label_tokens(self.tokenizer, labels)
        self._of_tokens = {tuple(own): cluster for cluster, own in enumerate(tokens)}
        self._of_text = {label_text(label): cluster for cluster, label in enumerate(labels)} if structured else {}
        # A label that is spelled byte by byte is longer than its own tokens.
        self._longest = (
            1 + max(len(text.encode()) for text in self._of_text) if structured else max(map(len, tokens)) + 1
        )
        prompts = [prompt_tokens(self.tokenizer, novelty_prompt([label] * LONGEST_HISTORY)) for label in labels]
        self._model = open_vllm(folder, max(map(len, prompts)) + self._longest)
        self.close = closer(self, self._model)

    def sample(self, histories: Sequence[History], draws: int, seeds: Sequence[int]) -> list[IntArray]:
        """[histories][draws] the label outside the history that each sample is; -1 where it is none."""
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        prompts = [
            {
                "prompt_token_ids": prompt_tokens(
                    self.tokenizer, novelty_prompt([self.labels[cluster] for cluster in sorted(history)])
                )
            }
            for history in histories
        ]
        choice = StructuredOutputsParams(choice=list(self._of_text)) if self._of_text else None
        how = [
            SamplingParams(
                n=draws,
                temperature=self.temperature,
                max_tokens=self._longest,
                seed=seed,
                structured_outputs=choice,
                detokenize=bool(self._of_text),
            )
            for seed in seeds
        ]
        found = self._model.generate(prompts, how, use_tqdm=False)
        return [
            np.array([self._label(sample, history) for sample in each.outputs], dtype=np.int64)
            for each, history in zip(found, histories, strict=True)
        ]

    def _label(self, sample: Any, history: History) -> int:
        if sample.finish_reason != "stop":
            return -1
        if self._of_text:
            label = self._of_text.get(sample.text, -1)
        else:
            label = self._of_tokens.get(tuple(sample.token_ids[:-1]), -1)  # the last one is the terminator
        return -1 if label in history else label
