"""Token trees that grow, one after each prompt: every token is read once, and its keys and values are kept.

``packed_pass`` reads a whole tree at once. Here, what was read decides what is read next. The new tokens of all trees
lie in one sequence without padding, so that each matrix product takes all of them; only attention is computed tree by
tree, over the tokens of that tree and its prompt. (Rows of padded trees under one mask spent 45% of the time in
attention to tokens that they must not see, and a third of the tokens were padding.) Tokens that several prompts begin
with are stored once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache, PreTrainedModel

from models.arrays import BoolArray, IntArray
from models.language.label_trie import token_trie

ATTENTION = "alignrec_trees"


@dataclass(frozen=True)
class TreeView:
    """What the new tokens of one tree attend to.

    Attributes:
        new: which of the new tokens are the tree's.
        columns: [seen] the places of the tree's tokens among all that were read, prompt and new ones included.
        mask: [1, 1, new, seen] 0 where a new token sees the other one, minus infinity elsewhere.
    """

    new: slice
    columns: Tensor
    mask: Tensor


class CachedPass:
    """A model's memory of some prompts, and of the trees that grow after each.

    Places within a tree count from the first token of its prompt.

    Args:
        model: any causal language model of transformers whose attention can be chosen.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self._cache = DynamicCache()
        self._read = 0
        self._columns: list[IntArray] = []
        self._sees: list[BoolArray] = []
        self._depths: list[IntArray] = []

    def begin(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Read the prompts; tokens that several of them begin with are read once.

        Returns:
            [prompts, vocabulary] logits of what follows each.

        Raises:
            ValueError: the model's attention cannot be chosen.
        """
        trie = token_trie(prompts)
        everything = self._view(slice(0, trie.nodes), np.arange(trie.nodes), trie.ancestry)
        for path in trie.paths:
            self._columns.append(path)
            self._sees.append(np.tri(len(path), dtype=np.bool_))
            self._depths.append(np.arange(len(path)))
        return self._forward(trie.tokens, trie.depths, [everything], torch.from_numpy(trie.ends))

    def lengths(self) -> list[int]:
        """Tokens of each tree so far, its prompt included: the place of the next one."""
        return [len(columns) for columns in self._columns]

    def read(self, tokens: Sequence[IntArray], parents: Sequence[IntArray]) -> Tensor:
        """Read some more tokens of each tree.

        Args:
            tokens: [trees] token ids, any number for each tree.
            parents: [trees] the place of the token before each; parents come before children.

        Returns:
            [new tokens, vocabulary] logits of what follows each new token, trees in order.
        """
        views, depths, first = [], [], 0
        for tree, (own, before) in enumerate(zip(tokens, parents, strict=True)):
            if not len(own):
                continue
            new = slice(first, first + len(own))
            self._append(tree, self._read + np.arange(new.start, new.stop), before)
            views.append(self._view(new, self._columns[tree], self._sees[tree][-len(own) :]))
            depths.append(self._depths[tree][-len(own) :])
            first = new.stop
        return self._forward(np.concatenate(tokens), np.concatenate(depths), views, 0)

    def _append(self, tree: int, columns: IntArray, parents: IntArray) -> None:
        old = len(self._columns[tree])
        total = old + len(columns)
        sees = np.eye(total, dtype=np.bool_)
        sees[:old, :old] = self._sees[tree]
        depths = np.concatenate([self._depths[tree], np.zeros(len(columns), dtype=np.int64)])
        for place, parent in enumerate(parents.tolist(), start=old):
            sees[place] |= sees[parent]
            depths[place] = depths[parent] + 1
        self._columns[tree] = np.concatenate([self._columns[tree], columns])
        self._sees[tree], self._depths[tree] = sees, depths

    def _view(self, new: slice, columns: IntArray, sees: BoolArray) -> TreeView:
        mask = torch.zeros(sees.shape, dtype=self.model.dtype).masked_fill_(~torch.from_numpy(sees), -torch.inf)
        return TreeView(new, torch.from_numpy(columns).to(self.model.device), mask[None, None].to(self.model.device))

    @torch.inference_mode()
    def _forward(self, tokens: IntArray, depths: IntArray, views: Sequence[TreeView], keep: int | Tensor) -> Tensor:
        device = self.model.device
        with _attention_by_tree(self.model):
            logits: Tensor = self.model(
                input_ids=torch.from_numpy(tokens)[None].to(device),
                position_ids=torch.from_numpy(depths)[None].to(device),
                attention_mask=torch.ones(
                    (1, 1, 1, 1), dtype=torch.bool, device=device
                ),  # so that transformers builds no mask
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=keep,
                views=views,
            ).logits
        self._read += len(tokens)
        return logits[0]


def _attend(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: object,  # noqa: ARG001
    scaling: float | None = None, views: Sequence[TreeView] | None = None, **other: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention tree by tree, as transformers asks for it: heads that share keys are stacked."""
    if views is None or other.get("softcap") is not None or other.get("s_aux") is not None:
        raise ValueError(
            f"{type(module).__name__} has an attention that cannot read trees: set candidates.engine to exact"
        )
    heads, groups = key.shape[1], query.shape[1] // key.shape[1]
    result = query.new_empty((1, query.shape[2], query.shape[1], value.shape[-1]))
    for view in views:
        own = query[:, :, view.new].reshape(1, heads, -1, query.shape[-1])
        seen, carried = key.index_select(2, view.columns), value.index_select(2, view.columns)
        mask = view.mask.repeat(1, 1, groups, 1)
        read = scaled_dot_product_attention(own, seen, carried, attn_mask=mask, scale=scaling)
        result[:, view.new] = read.reshape(1, query.shape[1], -1, value.shape[-1]).transpose(1, 2)
    return result, None


@contextmanager
def _attention_by_tree(model: PreTrainedModel) -> Iterator[None]:
    usual = model.config._attn_implementation
    model.set_attn_implementation(ATTENTION)
    try:
        if model.config._attn_implementation != ATTENTION:
            raise ValueError(
                f"the attention of {type(model).__name__} cannot be chosen: set candidates.engine to exact"
            )
        yield
    finally:
        model.set_attn_implementation(usual)


AttentionInterface.register(ATTENTION, _attend)
