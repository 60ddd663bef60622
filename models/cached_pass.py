"""Rows of token trees that grow: every token is read once, and its keys and values are kept for those that follow.

Where ``packed_pass`` reads a whole tree at once, here what was read decides what is read next.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from models.label_trie import ROOT

IntArray = NDArray[np.int64]


class CachedPass:
    """A model's memory of what stands in each row.

    Columns are counted over all reads. Rows are padded to the longest in each read, so every row has the same columns;
    no token sees a padding token.

    Args:
        model: any causal language model of transformers.
        rows: how many.
        padding: any valid token id.
    """

    def __init__(self, model: PreTrainedModel, rows: int, padding: int) -> None:
        self.model = model
        self.padding = padding
        self.width = 0
        self._cache = DynamicCache()
        self._depths = np.zeros((rows, 0), dtype=np.int64)
        self._sees = np.zeros((rows, 0, 0), dtype=np.bool_)

    @torch.inference_mode()
    def read(self, tokens: Sequence[IntArray], parents: Sequence[IntArray]) -> Tensor:
        """Read some more tokens in each row.

        Args:
            tokens: [rows] token ids, of any number in each row.
            parents: [rows] the column before each token; ``ROOT`` where nothing stands before it. The i-th new token
                gets column ``width + i``, ``width`` being that before the call; parents come before children.

        Returns:
            [rows, most new tokens, vocabulary] logits of what follows each new token; noise where a row has fewer.
        """
        rows, past, new = len(tokens), self.width, max(map(len, tokens))
        input_ids = np.full((rows, new), self.padding, dtype=np.int64)
        depths = np.concatenate([self._depths, np.zeros((rows, new), dtype=np.int64)], axis=1)
        sees = np.zeros((rows, past + new, past + new), dtype=np.bool_)
        sees[:, :past, :past] = self._sees
        own = np.arange(past, past + new)
        sees[:, own, own] = True
        for row, (row_tokens, row_parents) in enumerate(zip(tokens, parents, strict=True)):
            input_ids[row, : len(row_tokens)] = row_tokens
            for column, parent in enumerate(row_parents.tolist(), start=past):
                if parent != ROOT:
                    sees[row, column] |= sees[row, parent]
                    depths[row, column] = depths[row, parent] + 1
        device = self.model.device
        logits: Tensor = self.model(
            input_ids=torch.from_numpy(input_ids).to(device),
            position_ids=torch.from_numpy(depths[:, past:]).to(device),
            attention_mask=torch.from_numpy(sees[:, None, past:]).to(device),
            past_key_values=self._cache,
            use_cache=True,
        ).logits
        self._depths, self._sees, self.width = depths, sees, past + new
        return logits
