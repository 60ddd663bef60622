"""One forward pass over a prompt and a whole tree of continuations: packing, the tree mask, and reading the result.

A prompt and its tree lie in one sequence. Each node sees the prompt and its own ancestors only (a boolean 4-D mask) and
has the position it would have if its branch stood alone, so every branch reads exactly as a sequence of its own while
the prompt, and in a trie every common beginning, is computed once. Nothing here knows the model family, the prompts'
text or the task.

Results must not depend on how histories are divided into shards. Padding alone can move bfloat16 results, so
micro-batches are cut by index (``shards.micro_batches``), and a shard has to hold whole micro-batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from models.language.label_trie import ROOT, TokenTree

PAD_TO = 8  # prompts are padded to a multiple of this: few distinct shapes, so the kernels' set-up is reused
LOGIT_ROWS_AT_ONCE = 32  # their float32 copy stays in the cache: 7 times as fast as 512 rows of 49,152


@dataclass(frozen=True, eq=False)
class PackedBatch:
    """Prompts, right-aligned in the first ``prompt_width`` columns, and their trees in the columns after them.

    Attributes:
        input_ids: [batch, length] token ids.
        position_ids: [batch, length] the position of each token within its own branch.
        attention_mask: [batch, 1, length, length] whether the row's token sees the column's.
        prompt_width: the first column of the trees; a prompt's last token is always one column before it.
        trees: the tree of each row.
    """

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor
    prompt_width: int
    trees: Sequence[TokenTree]

    def end_rows(self) -> Tensor:
        """[ends] the row of every sequence's last token, rows in order, the sequences of each in their tree's order."""
        return torch.from_numpy(np.repeat(np.arange(len(self.trees)), [len(tree.ends) for tree in self.trees]))

    def end_columns(self) -> Tensor:
        """[ends] the column of every sequence's last token, in the order of :meth:`end_rows`."""
        return torch.from_numpy(np.concatenate([tree.ends for tree in self.trees]) + self.prompt_width)


def pack(prompts: Sequence[Sequence[int]], trees: Sequence[TokenTree], padding: int) -> PackedBatch:
    """Pack one prompt and one tree per row.

    Args:
        prompts: [batch] token ids, none empty.
        trees: [batch] the continuations of each prompt.
        padding: any valid token id; no real token sees it.
    """
    width = -(-max(map(len, prompts)) // PAD_TO) * PAD_TO
    length = width + max(tree.nodes for tree in trees)
    input_ids = np.full((len(prompts), length), padding, dtype=np.int64)
    position_ids = np.zeros((len(prompts), length), dtype=np.int64)
    mask = np.zeros((len(prompts), 1, length, length), dtype=np.bool_)
    mask[:, :, range(length), range(length)] = True  # padding sees itself: a row without any column would turn to NaN
    for row, (prompt, tree) in enumerate(zip(prompts, trees, strict=True)):
        first, last = width - len(prompt), width + tree.nodes
        input_ids[row, first:last] = [*prompt, *tree.tokens]
        position_ids[row, first:width] = np.arange(len(prompt))
        position_ids[row, width:last] = len(prompt) + tree.depths
        mask[row, 0, first:width, first:width] = np.tri(len(prompt), dtype=np.bool_)
        mask[row, 0, width:last, first:width] = True
        mask[row, 0, width:last, width:last] = tree.ancestry
    return PackedBatch(
        torch.from_numpy(input_ids), torch.from_numpy(position_ids), torch.from_numpy(mask), width, tuple(trees)
    )


def next_token_logits(model: PreTrainedModel, batch: PackedBatch) -> Tensor:
    """Logits of what follows the prompt and of what follows each node, with gradients where they are enabled.

    Args:
        model: any causal language model of transformers.
        batch: what to read.

    Returns:
        [batch, 1 + nodes, vocabulary]: column 0 follows the prompt, column 1 + i follows node i. Values past
        the end of a row's own tree have no meaning.
    """
    # Columns are named one by one, so that torch copies them together. With a slice and a frozen head it would multiply
    # row by row, each time with a copy of the whole head (measured: the pass took twice as long).
    columns = torch.arange(batch.prompt_width - 1, batch.input_ids.shape[1], device=model.device)
    logits: Tensor = model(**_inputs(model, batch), logits_to_keep=columns).logits
    return logits


def sequence_log_probabilities(logits: Tensor, batch: PackedBatch, end_token: int, temperature: float) -> Tensor:
    """The log probability of every sequence of every tree after its prompt, terminator included, with gradients.

    log p(sequence) = sum over its tokens t, and the terminator last, of logit_t / T - logsumexp(logits / T).

    Args:
        logits: [batch, 1 + nodes, vocabulary] as :func:`next_token_logits` returns them.
        batch: what was read.
        end_token: the id of the terminator.
        temperature: T, which divides the logits at every token.

    Returns:
        [ends] float32, in the order of :meth:`PackedBatch.end_rows`. Tokens of prompts within the trees do not count.
    """
    normaliser = log_normaliser(logits.flatten(0, 1), temperature).view(logits.shape[:2])
    result = []
    for row, tree in enumerate(batch.trees):
        before = torch.from_numpy(np.concatenate([tree.parents, tree.ends]) - ROOT).to(logits.device)
        tokens = torch.from_numpy(np.append(tree.tokens, np.full(len(tree.ends), end_token))).to(logits.device)
        steps = logits[row, before, tokens].float() / temperature - normaliser[row, before]
        own = slice(tree.prompt_nodes, tree.nodes)
        paths = torch.from_numpy(tree.ancestry[tree.ends, own]).to(steps)
        result.append(paths @ steps[own] + steps[tree.nodes :])
    return torch.cat(result)


def end_states(model: PreTrainedModel, batch: PackedBatch) -> Tensor:
    """The last hidden state at the last token of every sequence, with gradients where they are enabled.

    Args:
        model: any language model of transformers, with any head.
        batch: what to read.

    Returns:
        [ends, hidden], in the order of :meth:`PackedBatch.end_rows`.
    """
    hidden: Tensor = model.base_model(**_inputs(model, batch)).last_hidden_state
    return hidden[batch.end_rows().to(hidden.device), batch.end_columns().to(hidden.device)]


def _inputs(model: PreTrainedModel, batch: PackedBatch) -> dict[str, Tensor | bool]:
    return {
        "input_ids": batch.input_ids.to(model.device),
        "position_ids": batch.position_ids.to(model.device),
        "attention_mask": batch.attention_mask.to(model.device),
        "use_cache": False,
    }


def log_normaliser(logits: Tensor, temperature: float, rows: Tensor | None = None) -> Tensor:
    """[rows] float32 log-sum-exp of logits / T over the vocabulary.

    Args:
        logits: [all rows, vocabulary].
        temperature: T.
        rows: which rows; None: all.
    """
    if logits.requires_grad:
        read = logits if rows is None else logits[rows]
        return torch.cat([(part.float() / temperature).logsumexp(-1) for part in torch.split(read, LOGIT_ROWS_AT_ONCE)])
    rows = torch.arange(len(logits), device=logits.device) if rows is None else rows
    # One float32 copy for all parts: the system hands out a new one of 6 MB page by page, and with a new one for each
    # part the division alone took a quarter as long as the model's own products.
    copy = torch.empty((LOGIT_ROWS_AT_ONCE, logits.shape[-1]), dtype=torch.float32, device=logits.device)
    parts = []
    for some in torch.split(rows, LOGIT_ROWS_AT_ONCE):
        values = copy[: len(some)].copy_(logits[some]).div_(temperature)
        highest = values.amax(-1, keepdim=True)
        parts.append(values.sub_(highest).exp_().sum(-1).log_() + highest.squeeze(-1))
    return torch.cat(parts)
