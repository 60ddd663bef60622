"""Token sequences as flat trees: the trie of all labels, separate branches that share nothing, and prompts with trees.

Works for any tokenizer, also where one label is a prefix of another: a label is a path from the root to its end node,
and the terminator is not a node but follows an end node. Plain numpy; ``packed_pass`` says what the trees are for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

import numpy as np

from models.arrays import BoolArray, IntArray

ROOT = -1
NODES_OF_A_ROW = 256  # longer rows cost more in attention than shared prompts save


@dataclass(frozen=True, eq=False)
class TokenTree:
    """A forest of tokens below one root (the end of a prompt), parents before children.

    Attributes:
        tokens: [nodes] the token id of each node.
        parents: [nodes] the node before each node; ``ROOT`` for the first token of a sequence.
        ends: [sequences] the node of each sequence's last token.
        prompt_nodes: how many of the first nodes belong to prompts, and are no part of a sequence.
        prompt_ends: [prompts] the node of each prompt's last token.
    """

    tokens: IntArray
    parents: IntArray
    ends: IntArray
    prompt_nodes: int = 0
    prompt_ends: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def nodes(self) -> int:
        """The number of nodes, the root not counted."""
        return len(self.tokens)

    @cached_property
    def depths(self) -> IntArray:
        """[nodes] tokens between the root and each node: 0 for the first token of a sequence."""
        depths = np.zeros(self.nodes, dtype=np.int64)
        for node, parent in enumerate(self.parents):
            depths[node] = 0 if parent == ROOT else depths[parent] + 1
        return depths

    @cached_property
    def ancestry(self) -> BoolArray:
        """[nodes, nodes] whether the column's node is the row's node or one of its ancestors."""
        ancestry = np.eye(self.nodes, dtype=np.bool_)
        for node, parent in enumerate(self.parents):
            if parent != ROOT:
                ancestry[node] |= ancestry[parent]
        return ancestry

    @cached_property
    def paths(self) -> list[IntArray]:
        """The nodes of each sequence in reading order."""
        return [np.flatnonzero(self.ancestry[end]) for end in self.ends]


def label_trie(sequences: Sequence[Sequence[int]]) -> TokenTree:
    """The trie of the sequences: those that begin alike share the nodes of their common beginning.

    Raises:
        ValueError: a sequence is empty, or two are the same.
    """
    _check_filled(sequences)
    trie = token_trie(sequences)
    if len(np.unique(trie.ends)) < len(trie.ends):
        raise ValueError("two sequences of a label trie are the same")
    return trie


def token_trie(sequences: Sequence[Sequence[int]]) -> TokenTree:
    """The trie of any sequences: equal ones share their end, and that of an empty one is the root."""
    children: dict[tuple[int, int], int] = {}
    ends: list[int] = []
    for sequence in sequences:
        node = ROOT
        for token in sequence:
            node = children.setdefault((node, token), len(children))
        ends.append(node)
    edges = np.array(list(children), dtype=np.int64).reshape(-1, 2)
    return TokenTree(edges[:, 1].copy(), edges[:, 0].copy(), np.array(ends, np.int64))


def trie_parts(sequences: Sequence[Sequence[int]], about: int) -> list[tuple[TokenTree, IntArray]]:
    """The trie in parts that share no node, each with the places of its sequences; cut between first tokens only.

    Attention costs the square of a part's nodes, so a large trie is read faster in parts.

    Args:
        sequences: as of :func:`label_trie`.
        about: nodes of a part, more where one first token alone has more.
    """
    _check_filled(sequences)
    by_first: dict[int, list[int]] = {}
    for place, sequence in enumerate(sequences):
        by_first.setdefault(sequence[0], []).append(place)
    subtrees = list(by_first.values())
    nodes = [token_trie([sequences[place] for place in places]).nodes for places in subtrees]
    part_of = (np.cumsum(nodes) - np.array(nodes) / 2) * max(1, round(sum(nodes) / about)) // sum(nodes)
    parts = [
        list(chain.from_iterable(subtree for subtree, at in zip(subtrees, part_of, strict=True) if at == part))
        for part in np.unique(part_of)
    ]
    return [(label_trie([sequences[place] for place in places]), np.array(places)) for places in parts]


def after_prompts(prompts: Sequence[Sequence[int]], trees: Sequence[TokenTree]) -> tuple[list[int], TokenTree]:
    """One tree for several prompts and what follows each, so that tokens which the prompts share are stored once.

    Args:
        prompts: token ids, none empty.
        trees: what follows each prompt.

    Returns:
        The tokens that all prompts begin with, and below them the trie of what is left of the prompts, each with its
        tree after its last token. Ends are those of the trees, in order.

    Raises:
        ValueError: the prompts have no first token in common, after which the tree could stand.
    """
    shared = _common_beginning(prompts)
    if shared == 0:
        raise ValueError("the prompts have no beginning in common: read them one by one")
    beginnings = token_trie([prompt[shared:] for prompt in prompts])
    tokens, parents, ends, nodes = [beginnings.tokens], [beginnings.parents], [], beginnings.nodes
    for prompt_end, tree in zip(beginnings.ends, trees, strict=True):
        tokens.append(tree.tokens)
        parents.append(np.where(tree.parents == ROOT, prompt_end, tree.parents + nodes))
        ends.append(tree.ends + nodes)
        nodes += tree.nodes
    joined = TokenTree(
        tokens=np.concatenate(tokens),
        parents=np.concatenate(parents),
        ends=np.concatenate(ends),
        prompt_nodes=beginnings.nodes,
        prompt_ends=beginnings.ends,
    )
    return list(prompts[0][:shared]), joined


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


def rows_of(trees: Sequence[TokenTree], about: int) -> list[range]:
    """The rows of a batch: the trees in order, the same number in each row, with about so many nodes in all.

    Rows are padded to the longest, so they hold equal numbers of trees.
    """
    mean = sum(tree.nodes for tree in trees) / len(trees)
    size = max(1, round(about / mean))
    return [range(start, min(start + size, len(trees))) for start in range(0, len(trees), size)]


def _common_beginning(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens all sequences begin with."""
    shared = 0
    for tokens in zip(*sequences, strict=False):
        if len(set(tokens)) > 1:
            break
        shared += 1
    return shared
