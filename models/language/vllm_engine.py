"""vLLM as the second engine, for models that need an accelerator: samples of the novelty model, scores of the other.

It reads the checkpoints as they are: standard model folders, adapters merged, the head of the alignment model as the
``score`` layer of a sequence classifier. On a CPU it runs through vLLM's CPU build (`make vllm`).
"""

import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.alignment.candidate_reader import Clusters, candidate_tokens, load_offsets
from models.arrays import Float64Array, IntArray
from models.language.language_model import arithmetic, load_tokenizer
from models.language.packed_pass import micro_batches
from models.language.prompts import History, alignment_prompt, label_text, label_tokens, novelty_prompt, prompt_tokens
from models.progress import Log, Progress, silent

if TYPE_CHECKING:
    from vllm import LLM


LONGEST_HISTORY = 8  # clusters: what settings admit; it bounds the length that vLLM makes room for
HISTORIES_PER_LINE = 256  # of the log; vLLM makes its own batches
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "2",  # gigabytes
    "VLLM_LOGGING_LEVEL": "WARNING",
}


class VllmSampler:
    """Samples text after histories, and tells which label it is.

    Args:
        folder: the novelty model.
        labels: the label of cluster i at index i.
        temperature: T.
        structured: only labels are sampled, by masking at every token what begins none. Any tokens that spell a label
            count then; otherwise a sample has to be the label's own tokens and the terminator.

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
        # Spelled byte by byte a label is longer than its own tokens.
        self._longest = (
            1 + max(len(text.encode()) for text in self._of_text) if structured else max(map(len, tokens)) + 1
        )
        prompts = [prompt_tokens(self.tokenizer, novelty_prompt([label] * LONGEST_HISTORY)) for label in labels]
        self._model = _open(folder, max(map(len, prompts)) + self._longest)
        self.close = _closer(self, self._model)

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


class VllmScorer:
    """Scores candidates as ``candidate_reader.CandidateReader`` does, every pair as a sequence of its own.

    Args:
        folder: the alignment model.
        labels: the label of cluster i at index i.

    Raises:
        ValueError: vLLM is not installed, there is no model, or labels are unusable.
    """

    def __init__(self, folder: Path, labels: Sequence[str]) -> None:
        self.labels = labels
        self.tokenizer = load_tokenizer(folder)
        self.tokens = candidate_tokens(self.tokenizer, labels)
        self.offsets = load_offsets(folder)
        prompts = [prompt_tokens(self.tokenizer, alignment_prompt([label] * LONGEST_HISTORY)) for label in labels]
        self._model = _open(folder, max(map(len, prompts)) + max(map(len, self.tokens)), runner="pooling")
        self.close = _closer(self, self._model)

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
        logits = np.array([each.outputs.probs[0] for each in found], dtype=np.float64)
        return np.split(logits, np.cumsum([len(clusters) for clusters in candidates])[:-1])


def vllm_dtype(folder: Path) -> str:
    """vLLM's name of the arithmetic that the project's own engines use for a model folder."""
    from transformers import AutoConfig

    return str(arithmetic(AutoConfig.from_pretrained(folder).dtype)).removeprefix("torch.")


def _open(folder: Path, longest: int, runner: str = "generate") -> "LLM":
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from vllm import LLM
    except ImportError as error:
        raise ValueError(
            f"vLLM cannot be loaded ({error}): `make vllm` installs its CPU build, `pip install 'alignrec[vllm]'` the "
            "one for GPUs; or choose another engine"
        ) from None
    return LLM(
        str(folder),
        runner=runner,
        dtype=vllm_dtype(folder),
        max_model_len=longest,
        # A prompt read in two parts asks a seeded stream to step back, which streams on a CPU cannot (vLLM 0.32).
        enable_chunked_prefill=False,
        enforce_eager=True,
        seed=0,
    )


def _closer(owner: object, model: "LLM") -> Callable[[], object]:
    """Ends the model's process, at the latest when its owner goes: by itself it outlives the one that started it."""
    return weakref.finalize(owner, model.llm_engine.engine_core.shutdown)
