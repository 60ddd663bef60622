"""Token sequences as flat trees: the trie of all labels, and separate branches that share nothing.

Works for any tokenizer, also where one label is a prefix of another: a label is a path from the root to its end node,
and the terminator is no node but what follows an end node. Plain numpy; what the trees are for stands in
``packed_pass``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

ROOT = -1


@dataclass(frozen=True, eq=False)
class TokenTree:
    """A forest of tokens below one root (the end of a prompt), parents before children.

    Attributes:
        tokens: [nodes] the token id of each node.
        parents: [nodes] the node before each node; ``ROOT`` for the first token of a sequence.
        ends: [sequences] the node of each sequence's last token.
    """

    tokens: NDArray[np.int64]
    parents: NDArray[np.int64]
    ends: NDArray[np.int64]

    @property
    def nodes(self) -> int:
        """The number of nodes, the root not counted."""
        return len(self.tokens)

    @cached_property
    def depths(self) -> NDArray[np.int64]:
        """[nodes] tokens between the root and each node: 0 for the first token of a sequence."""
        depths = np.zeros(self.nodes, dtype=np.int64)
        for node, parent in enumerate(self.parents):
            depths[node] = 0 if parent == ROOT else depths[parent] + 1
        return depths

    @cached_property
    def ancestry(self) -> NDArray[np.bool_]:
        """[nodes, nodes] whether the column's node is the row's node or one of its ancestors."""
        ancestry = np.eye(self.nodes, dtype=np.bool_)
        for node, parent in enumerate(self.parents):
            if parent != ROOT:
                ancestry[node] |= ancestry[parent]
        return ancestry

    @cached_property
    def paths(self) -> list[NDArray[np.int64]]:
        """The nodes of each sequence in reading order."""
        return [np.flatnonzero(self.ancestry[end]) for end in self.ends]


def label_trie(sequences: Sequence[Sequence[int]]) -> TokenTree:
    """The trie of the sequences: those that begin alike share the nodes of their common beginning.

    Raises:
        ValueError: a sequence is empty, or two are the same.
    """
    _check_filled(sequences)
    children: dict[tuple[int, int], int] = {}
    ends: list[int] = []
    for sequence in sequences:
        node = ROOT
        for token in sequence:
            node = children.setdefault((node, token), len(children))
        ends.append(node)
    if len(set(ends)) < len(ends):
        raise ValueError("two sequences of a label trie are the same")
    parents, tokens = zip(*children, strict=True)
    return TokenTree(np.array(tokens, np.int64), np.array(parents, np.int64), np.array(ends, np.int64))


def separate_branches(sequences: Sequence[Sequence[int]]) -> TokenTree:
    """One chain of nodes of its own for each sequence, in the order given.

    Raises:
        ValueError: a sequence is empty.
    """
    _check_filled(sequences)
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    ends = np.cumsum(lengths) - 1
    parents = np.arange(lengths.sum()) - 1
    parents[ends - lengths + 1] = ROOT
    return TokenTree(np.concatenate([np.array(sequence, np.int64) for sequence in sequences]), parents, ends)


def _check_filled(sequences: Sequence[Sequence[int]]) -> None:
    if not sequences or not all(sequences):
        raise ValueError("a token tree needs at least one sequence, and no empty ones")
