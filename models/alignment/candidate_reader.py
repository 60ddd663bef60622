"""From the words of a history and its candidates to one logit per candidate, with gradients where they are enabled.

The alignment model reads here, in training and in scoring alike: the candidates of one history are a trie under its
prompt, and several histories share a packed sequence with the tokens that their prompts begin with. ``trainer`` shows
how it learns. Where the model is a stack (``joint_head``), its offsets are added to what a head makes of the words, and
clusters that were never served have a head of their own.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.alignment.stack_offsets import StackOffsets
from models.arrays import BoolArray, Float64Array
from models.language.frozen_layers import FrozenReading
from models.language.label_trie import NODES_OF_A_ROW, after_prompts, label_trie, rows_of
from models.language.language_model import load_scoring_model, load_tokenizer, padding_token
from models.language.packed_pass import end_states, pack
from models.language.prompts import History, alignment_prompt, prompt_tokens, tokens_to_read
from models.progress import Log, Progress, silent
from models.shards import micro_batches

Clusters = Sequence[int]

HISTORIES_PER_PASS = 32  # fixed: bfloat16 results depend on micro-batches and their padding


@dataclass(frozen=True, eq=False)
class CandidateStates:
    """The last hidden states of the candidates of some histories: what a head scores.

    Attributes:
        histories: cluster ids, as they were read.
        candidates: cluster ids of each history; may be empty.
        batches: [candidates of a micro-batch, hidden], float32, in order.
    """

    histories: Sequence[History]
    candidates: Sequence[Clusters]
    batches: Sequence[Tensor]

    def array(self) -> Float64Array:
        """[candidates in all, hidden]."""
        return np.concatenate([states.cpu().numpy().astype(np.float64) for states in self.batches])

    def by_history(self, values: Float64Array) -> list[Float64Array]:
        """Cut values of all candidates into those of each history."""
        return np.split(values, np.cumsum([len(clusters) for clusters in self.candidates])[:-1])


class CandidateReader:
    """Reads candidate labels after the labels of a history, and gives one logit per candidate.

    A candidate is read at the line break after its label: the state at the last word describes mostly that word. On one
    simulated log, heads on the states at the line break ranked clusters that were never served far better (NDCG@3 0.77
    against 0.51 with 20 layers, 0.65 against 0.51 with 16).

    Attributes:
        tokens: of each label, with the line break.
        heads: [heads, hidden] the score layer: one head, and in a stack another one for clusters never served.
        offsets: of a stack; None: the language model alone.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.labels = labels
        self.tokens = tokens_to_read(tokenizer, labels)
        self.heads = model.get_parameter("score.weight")
        self.offsets: StackOffsets | None = None

    @classmethod
    def open(cls, folder: Path, labels: Sequence[str]) -> "CandidateReader":
        """The reader of a trained alignment model, with its offsets where it is a stack."""
        reader = cls(load_scoring_model(folder), load_tokenizer(folder), labels)
        reader.offsets = StackOffsets.load(folder)
        return reader

    def set_heads(self, heads: Float64Array) -> None:
        """Replace the heads [heads, hidden], in the precision of the model."""
        with torch.no_grad():
            self.heads.copy_(torch.from_numpy(heads))

    def head_weights(self) -> Float64Array:
        """[heads, hidden] the heads as they are."""
        weights: Float64Array = self.heads.detach().double().cpu().numpy()
        return weights

    def states(self, histories: Sequence[History], candidates: Sequence[Clusters]) -> Tensor:
        """Last hidden state at the line break after every candidate's label.

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
        trees = [label_trie([self.tokens[cluster] for cluster in clusters]) for clusters in candidates]
        rows = [
            after_prompts(prompts[row.start : row.stop], trees[row.start : row.stop])
            for row in rows_of(trees, NODES_OF_A_ROW)
        ]
        packed = pack([prompt for prompt, _ in rows], [tree for _, tree in rows], padding_token(self.tokenizer))
        return end_states(self.model, packed).float()

    def logits(self, histories: Sequence[History], candidates: Sequence[Clusters]) -> Tensor:
        """Logit of every candidate under the first head, [candidates in all], with gradients where they are enabled.

        It is float32, as bfloat16 would tie neighbours in a ranking.
        """
        return self._under_heads(self.states(histories, candidates))[:, 0]

    @torch.inference_mode()
    def read(
        self,
        histories: Sequence[History],
        candidates: Sequence[Clusters],
        log: Log = silent,
        frozen: FrozenReading | None = None,
    ) -> CandidateStates:
        """Read the candidates of many histories, in micro-batches by index. A history without candidates is skipped.

        Args:
            histories: cluster ids in the order to be shown.
            candidates: cluster ids of each.
            log: receives progress lines.
            frozen: of earlier readings of the same by the same model, whose upper layers may have been trained since.
        """
        batches: list[Tensor] = []
        progress = Progress(len(histories), "histories read", log)
        for batch in micro_batches(len(histories), HISTORIES_PER_PASS):
            filled = [index for index in batch if candidates[index]]
            if filled:
                with frozen.batch(len(batches)) if frozen else nullcontext():
                    batches.append(self.states([histories[i] for i in filled], [candidates[i] for i in filled]))
            progress.advance(len(batch))
        return CandidateStates(histories, candidates, batches)

    def score(self, read: CandidateStates) -> list[Float64Array]:
        """Logits of what was read, by history, under heads and offsets as they are now."""
        return self.own_logits(self.words(read), read.histories, read.candidates)

    def all_logits(
        self, histories: Sequence[History], candidates: Sequence[Clusters], log: Log = silent
    ) -> list[Float64Array]:
        """Read and score many histories, one micro-batch after the other, so that no states are kept."""
        return self.own_logits(self.all_words(histories, candidates, log), histories, candidates)

    def all_words(
        self, histories: Sequence[History], candidates: Sequence[Clusters], log: Log = silent
    ) -> list[Float64Array]:
        """[candidates, heads] of each history: what each head makes of what was read, without offsets.

        A candidate whose own head is 0 is not read, and has zeros.
        """
        words = [np.zeros((len(clusters), len(self.heads))) for clusters in candidates]
        read = self.reads(candidates)
        progress = Progress(len(histories), "histories", log)
        for batch in micro_batches(len(histories), HISTORIES_PER_PASS):
            asked = [np.array(candidates[i])[read[i]].tolist() for i in batch]
            found = self.words(self.read([histories[i] for i in batch], asked))
            for i, of_heads in zip(batch, found, strict=True):
                words[i][read[i]] = of_heads
            progress.advance(len(batch))
        return words

    def structure(self) -> str:
        """What scores candidates, in words."""
        offsets = self.offsets
        found = {
            "language model": offsets is None or self.head_weights().any(),
            "label vectors": offsets is not None and offsets.label_affinity.any(),
            "additive affinity": offsets is not None,
        }
        return " + ".join(name for name, used in found.items() if used)

    def reads(self, candidates: Sequence[Clusters]) -> list[BoolArray]:
        """Whether each candidate of each history has to be read: the head that scores it is not 0."""
        alive = np.asarray(self.head_weights().any(axis=1))
        if self.offsets is None:
            return [np.full(len(clusters), alive[0]) for clusters in candidates]
        heads = self.offsets.heads
        return [alive[heads([clusters])] for clusters in candidates]

    def own_logits(
        self, words: Sequence[Float64Array], histories: Sequence[History], candidates: Sequence[Clusters]
    ) -> list[Float64Array]:
        """Logits from words [candidates, heads] of each history: under each candidate's own head, with its offset."""
        if self.offsets is None:
            return [of_heads[:, 0] for of_heads in words]
        offsets = self.offsets.scores(histories, candidates)
        return [
            of_heads[range(len(clusters)), self.offsets.heads([clusters])] + known
            for of_heads, clusters, known in zip(words, candidates, offsets, strict=True)
        ]

    @torch.inference_mode()
    def words(self, read: CandidateStates) -> list[Float64Array]:
        """[candidates, heads] of each history that was read: what each head makes of it, without offsets."""
        if not read.batches:
            return [np.zeros((0, len(self.heads))) for _ in read.candidates]
        words = torch.cat([self._under_heads(states) for states in read.batches])
        return read.by_history(words.cpu().numpy().astype(np.float64))

    def _under_heads(self, states: Tensor) -> Tensor:
        logits: Tensor = states @ self.heads.float().T
        return logits
