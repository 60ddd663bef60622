"""Parts of the label distribution: only the nodes of the label trie that have mass, or that a draw falls into.

The mass of a node's children is known once the node is read, from the root on; the mass below an unread node is at most
the node's own. Two rules decide what is read next, level by level, for all histories of a micro-batch:

- *pruned*: the heaviest unread nodes, until what is left unread is at most a given share of the labels' mass. The cost
  of a history grows with how widely the model spreads its mass, not with the number of labels.
- *free*: n free samples of the model, drawn by inverting the nested cumulative distribution of the trie: a draw is one
  number u in [0, 1), every node owns an interval as long as its mass, and only nodes whose interval holds a draw are
  read. A draw outside the intervals of all labels is an invalid sample and is left out. So valid draws follow the exact
  label distribution, although it is not computed, and each node is read once for all draws that pass through it.

Keys and values of what was read are kept, and what the prompts of a micro-batch share is read once (``cached_pass``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.arrays import BoolArray, Float64Array, IntArray
from models.language.cached_pass import CachedPass
from models.language.label_trie import ROOT, TokenTree, label_trie
from models.language.packed_pass import log_normaliser
from models.language.prompts import History, check_histories, label_tokens, novelty_prompt, prompt_tokens, terminator

Chooser = Callable[["Expansion"], list[IntArray]]

HISTORIES_PER_MICRO_BATCH = 32  # fixed: bfloat16 results depend on what is read together
CHAIN = 2  # single nodes make many small reads; whole chains are wasted where a draw leaves them early
MAX_NODES_PER_READ = 4096  # bounds the logits: 0.4 GB in bfloat16 for a vocabulary of 49,152


@dataclass(frozen=True, eq=False)
class LabelTree:
    """The label trie with what an expansion needs of it.

    Attributes:
        trie: of all labels.
        end_token: the terminator.
    """

    trie: TokenTree
    end_token: int

    @cached_property
    def levels(self) -> list[IntArray]:
        """Nodes by depth, siblings side by side."""
        by_parent = np.lexsort((np.arange(self.trie.nodes), self.trie.parents))
        depths = self.trie.depths[by_parent]
        return [by_parent[depths == depth] for depth in range(int(depths.max()) + 1)]

    @cached_property
    def label_at(self) -> IntArray:
        """[nodes] the label that ends at each node; -1 for none."""
        found = np.full(self.trie.nodes, -1, dtype=np.int64)
        found[self.trie.ends] = np.arange(len(self.trie.ends))
        return found

    @cached_property
    def children(self) -> list[IntArray]:
        """[nodes + 1] children of each node, the root's last (at ``ROOT``)."""
        order = np.argsort(self.trie.parents, kind="stable")
        starts = np.searchsorted(self.trie.parents[order], np.arange(-1, self.trie.nodes + 1))
        spans = [order[start:stop] for start, stop in pairwise(starts)]
        return [*spans[1:], spans[0]]

    @cached_property
    def chains(self) -> list[IntArray]:
        """[nodes] each node with the only nodes that can follow it, ``CHAIN`` nodes at most."""
        found = []
        for node in range(self.trie.nodes):
            chain = [node]
            while len(chain) < CHAIN and self.label_at[chain[-1]] < 0 and len(self.children[chain[-1]]) == 1:
                chain.append(int(self.children[chain[-1]][0]))
            found.append(np.array(chain))
        return found

    def leads_elsewhere(self, history: History) -> BoolArray:
        """[nodes] whether a label below or at each node is outside the history."""
        others = np.setdiff1d(np.arange(len(self.trie.ends)), history)
        return np.asarray(self.trie.ancestry[self.trie.ends[others]].any(axis=0))


class Expansion:
    """What is known so far of the label distributions of one micro-batch of histories, at one temperature.

    Attributes:
        read: [histories, nodes] whether a node was read, so that its children's mass is known.
        reach: [histories, nodes] log mass of all text that begins with the node's path; NaN where unknown.
        start: [histories, nodes] where the node's interval of [0, 1) begins.
        label_mass: [histories, labels] of labels that are known and outside the history, else 0.
        label_start: [histories, labels] where their intervals begin.
        open: [histories, nodes] whether the node is of known mass, unread, and leads to a label outside the history.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tree: LabelTree,
        prompts: Sequence[Sequence[int]],
        histories: Sequence[History],
        temperature: float,
    ) -> None:
        self.tree = tree
        self.histories = histories
        self.temperature = temperature
        nodes, count = tree.trie.nodes, len(histories)
        self.read = np.zeros((count, nodes), dtype=np.bool_)
        self._wanted = np.stack([tree.leads_elsewhere(history) for history in histories])
        self._step = np.full((count, nodes), np.nan)
        self._end_step = np.full((count, len(tree.trie.ends)), np.nan)
        self._place = np.full((count, nodes + 1), -1, dtype=np.int64)  # the last one: of the root, a prompt's end
        self._pass = CachedPass(model)
        self._read_prompts(prompts)
        self._spread_mass()

    def grow(self, choose: Chooser) -> None:
        """Read the nodes that ``choose`` names, some open ones of each history, until it names none.

        A node is read with the chain that follows it. What is too much for one read waits for the next choice.
        """
        limit = max(1, MAX_NODES_PER_READ // len(self.histories))
        while True:
            chosen = [self._with_chains(nodes, limit) for nodes in choose(self)]
            if not any(map(len, chosen)):
                return
            self._read_nodes(chosen)
            self._spread_mass()

    def left_out(self) -> Float64Array:
        """[histories] at most this share of the labels' mass, own labels left out, lies below open nodes."""
        unknown = self.open_mass().sum(axis=1)
        return np.asarray(unknown / np.maximum(unknown + self.label_mass.sum(axis=1), np.finfo(np.float64).tiny))

    def open_mass(self) -> Float64Array:
        """[histories, nodes] mass of the open nodes, 0 elsewhere."""
        return np.where(self.open, np.exp(self.reach), 0.0)

    def _read_prompts(self, prompts: Sequence[Sequence[int]]) -> None:
        logits = self._pass.begin(prompts)
        self._place[:, ROOT] = np.array(self._pass.lengths()) - 1
        self._learn(logits, np.arange(len(prompts)), np.full(len(prompts), ROOT))

    def _read_nodes(self, chosen: Sequence[IntArray]) -> None:
        """Read nodes of each history, parents before children."""
        parents = []
        for history, (nodes, length) in enumerate(zip(chosen, self._pass.lengths(), strict=True)):
            self._place[history, nodes] = length + np.arange(len(nodes))
            parents.append(self._place[history, self.tree.trie.parents[nodes]])
        logits = self._pass.read([self.tree.trie.tokens[nodes] for nodes in chosen], parents)
        owners = np.repeat(np.arange(len(chosen)), [len(nodes) for nodes in chosen])
        nodes = np.concatenate(chosen)
        self.read[owners, nodes] = True
        self._learn(logits, owners, nodes)

    def _learn(self, logits: Tensor, owners: IntArray, nodes: IntArray) -> None:
        """Note the log probabilities of what may follow some nodes (``ROOT``: a prompt), by their logits."""
        children = [self.tree.children[node] for node in nodes.tolist()]
        which = np.repeat(np.arange(len(nodes)), [len(found) for found in children])
        following = np.concatenate(children)
        ending = np.flatnonzero((nodes != ROOT) & (self.tree.label_at[nodes] >= 0))
        at = np.concatenate([which, ending])
        tokens = np.concatenate([self.tree.trie.tokens[following], np.full(len(ending), self.tree.end_token)])
        normaliser = log_normaliser(logits, self.temperature).double().cpu().numpy()
        chosen = logits[torch.from_numpy(at).to(logits.device), torch.from_numpy(tokens).to(logits.device)]
        steps = chosen.double().cpu().numpy() / self.temperature - normaliser[at]
        self._step[owners[which], following] = steps[: len(which)]
        self._end_step[owners[ending], self.tree.label_at[nodes[ending]]] = steps[len(which) :]

    def _spread_mass(self) -> None:
        """Derive masses and intervals from the steps, level by level."""
        trie, count = self.tree.trie, len(self.histories)
        self.reach, self.start = np.full((count, trie.nodes), np.nan), np.zeros((count, trie.nodes))
        ended = np.zeros((count, trie.nodes + 1))  # mass of the label that ends at a node comes first in its interval
        for nodes in self.tree.levels:
            parents = trie.parents[nodes]
            above = np.where(parents == ROOT, 0.0, self.reach[:, parents])
            begin = np.where(parents == ROOT, 0.0, self.start[:, parents] + ended[:, parents])
            self.reach[:, nodes] = above + self._step[:, nodes]
            mass = np.exp(np.nan_to_num(self.reach[:, nodes], nan=-np.inf))
            before = np.cumsum(mass, axis=1) - mass
            firsts = np.flatnonzero(np.diff(parents, prepend=-2))
            before -= np.repeat(before[:, firsts], np.diff([*firsts, len(nodes)]), axis=1)
            self.start[:, nodes] = begin + before
            labels = self.tree.label_at[nodes]
            there = labels >= 0
            log_mass = self.reach[:, nodes[there]] + self._end_step[:, labels[there]]
            ended[:, nodes[there]] = np.exp(np.nan_to_num(log_mass, nan=-np.inf))
        self.label_mass = ended[:, trie.ends]
        self.label_start = self.start[:, trie.ends]
        for row, history in enumerate(self.histories):
            self.label_mass[row, list(history)] = 0.0
        self.open = ~np.isnan(self.reach) & ~self.read & self._wanted

    def _with_chains(self, nodes: IntArray, limit: int) -> IntArray:
        """The nodes, each with its chain, as many as fit below the limit; the first one always."""
        found: list[IntArray] = []
        total = 0
        for node in nodes.tolist():
            chain = self.tree.chains[node]
            if found and total + len(chain) > limit:
                break
            found.append(chain)
            total += len(chain)
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def heaviest(most_left_out: float) -> Chooser:
    """Choose the fewest open nodes without which more than this share of the labels' mass could be left out.

    Nodes are chosen for half of that share, because part of what is read turns out to lead to no label.
    """

    def choose(expansion: Expansion) -> list[IntArray]:
        masses, known = expansion.open_mass(), expansion.label_mass.sum(axis=1)
        done = expansion.left_out() <= most_left_out
        chosen = []
        for mass, finished, labels in zip(masses, done, known, strict=True):
            order = np.argsort(-mass, kind="stable")[: int((mass > 0).sum())]
            behind = mass.sum() - np.cumsum(mass[order])
            enough = int(np.searchsorted(-behind, -most_left_out / 2 * (mass.sum() + labels))) + 1
            chosen.append(np.zeros(0, dtype=np.int64) if finished else order[:enough])
        return chosen

    return choose


def at_least(labels: int) -> Chooser:
    """Choose the heaviest open nodes of histories with fewer known labels: a sharp distribution may have only one.

    Args:
        labels: how many are to be known.
    """

    def choose(expansion: Expansion) -> list[IntArray]:
        short = (expansion.label_mass > 0).sum(axis=1) < labels
        return [
            np.argsort(-mass, kind="stable")[: min(labels, int((mass > 0).sum())) if wanted else 0]
            for mass, wanted in zip(expansion.open_mass(), short, strict=True)
        ]

    return choose


def hit(draws: Sequence[Float64Array]) -> Chooser:
    """Choose the open nodes whose interval holds a draw.

    Args:
        draws: [histories] numbers in [0, 1).
    """

    def choose(expansion: Expansion) -> list[IntArray]:
        chosen = []
        for row, own in enumerate(draws):
            nodes = np.flatnonzero(expansion.open[row])
            begin = expansion.start[row, nodes]
            end = begin + np.exp(expansion.reach[row, nodes])
            sorted_draws = np.sort(own)
            hits = np.searchsorted(sorted_draws, end) - np.searchsorted(sorted_draws, begin)
            order = np.argsort(-hits, kind="stable")[: int((hits > 0).sum())]
            chosen.append(nodes[order])
        return chosen

    return choose


def drawn_labels(expansion: Expansion, row: int, draws: Float64Array) -> IntArray:
    """[draws] the label outside the history whose interval holds each draw; -1 where a draw is an invalid sample."""
    labels = np.flatnonzero(expansion.label_mass[row])
    labels = labels[np.argsort(expansion.label_start[row, labels], kind="stable")]
    if not len(labels):
        return np.full(len(draws), -1, dtype=np.int64)
    place = np.searchsorted(expansion.label_start[row, labels], draws, side="right") - 1
    found = labels[np.maximum(place, 0)]
    inside = (place >= 0) & (draws < expansion.label_start[row, found] + expansion.label_mass[row, found])
    return np.where(inside, found, -1)


class LabelExpander:
    """Opens expansions of micro-batches of histories for one novelty model and one set of labels.

    Args:
        model: the novelty model.
        tokenizer: its tokenizer.
        labels: the label of cluster i at index i.
        temperature: T, which divides the logits at every token.

    Raises:
        ValueError: labels are unusable, or the temperature is not positive.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str], temperature: float
    ) -> None:
        if temperature <= 0:
            raise ValueError(f"the temperature must be positive, not {temperature}")
        self.model = model
        self.tokenizer = tokenizer
        self.labels = labels
        self.temperature = temperature
        self.tree = LabelTree(label_trie(label_tokens(tokenizer, labels)), terminator(tokenizer))

    def open(self, histories: Sequence[History]) -> Expansion:
        """Read the prompts of a micro-batch, with their clusters in ascending order.

        Raises:
            ValueError: a malformed history.
        """
        check_histories(histories, len(self.labels))
        prompts = [
            prompt_tokens(self.tokenizer, novelty_prompt([self.labels[cluster] for cluster in sorted(history)]))
            for history in histories
        ]
        return Expansion(self.model, self.tree, prompts, histories, self.temperature)
