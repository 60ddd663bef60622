"""The exact distribution of a causal language model over all cluster labels, given a history.

The probability of a label is that of its own token sequence, terminator included, with the logits at every token
divided by the temperature T. All labels of a history are read in one packed pass over the label trie, so no sampling is
involved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.arrays import Float64Array
from models.language.label_trie import NODES_OF_A_ROW, TokenTree, after_prompts, label_trie, rows_of, trie_parts
from models.language.language_model import load_causal_model, load_tokenizer, padding_token
from models.language.packed_pass import next_token_logits, pack, sequence_log_probabilities
from models.language.prompts import History, check_histories, label_tokens, novelty_prompt, prompt_tokens, terminator
from models.novelty.label_vectors import has_label_vectors, load_law
from models.progress import Log, Progress, silent
from models.shards import micro_batches

MAX_HISTORIES_PER_PASS = 16
MAX_NODES_PER_PASS = 4096  # bounds the logits of a pass: 0.4 GB in bfloat16 for a vocabulary of 49,152


@dataclass(frozen=True, eq=False)
class LabelDistributions:
    """What one free sample of the novelty model may be, at each temperature T, for each history H.

    Attributes:
        probabilities: [T, H, labels] float64; each row sums to 1, and the clusters of the history itself are exactly 0.
        format_validity: [T, H] float64, the mass of all these labels before renormalising: the chance that a free
            sample is the label of a cluster outside the history.
    """

    probabilities: Float64Array
    format_validity: Float64Array


def histories_per_pass(trie: TokenTree) -> int:
    """The size of a micro-batch, fixed by the labels alone; shards that hold multiples of it give equal results."""
    return max(1, min(MAX_HISTORIES_PER_PASS, MAX_NODES_PER_PASS // (trie.nodes + 1)))


def label_log_probabilities(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    histories: Sequence[History],
    temperatures: Sequence[float],
    *,
    log: Log = silent,
) -> Float64Array:
    """[T, histories, labels] log probability of each label's own token sequence, terminator included.

    Histories are sets: their clusters are shown in ascending order.

    Raises:
        ValueError: unusable labels, a malformed history, or a temperature that is not positive.
    """
    check_histories(histories, len(labels))
    if any(temperature <= 0 for temperature in temperatures):
        raise ValueError(f"temperatures must be positive, not {list(temperatures)}")
    tokens = label_tokens(tokenizer, labels)
    parts = trie_parts(tokens, NODES_OF_A_ROW)
    prompts = [
        prompt_tokens(tokenizer, novelty_prompt([labels[cluster] for cluster in sorted(history)]))
        for history in histories
    ]
    result = np.empty((len(temperatures), len(histories), len(labels)))
    progress = Progress(len(histories), "histories", log)
    with torch.inference_mode():
        for batch in micro_batches(len(histories), histories_per_pass(label_trie(tokens))):
            for tree, places in parts:
                rows = [
                    after_prompts([prompts[batch[at]] for at in row], [tree] * len(row))
                    for row in rows_of([tree] * len(batch), NODES_OF_A_ROW)
                ]
                packed = pack([prompt for prompt, _ in rows], [row for _, row in rows], padding_token(tokenizer))
                logits = next_token_logits(model, packed)
                for at, temperature in enumerate(temperatures):
                    values = sequence_log_probabilities(logits, packed, terminator(tokenizer), temperature)
                    result[at][batch.start : batch.stop, places] = values.view(len(batch), -1).cpu()
            progress.advance(len(batch))
    return result


def renormalise(log_probabilities: Float64Array, histories: Sequence[History]) -> LabelDistributions:
    """Mask each history's own clusters, then scale what is left to sum to 1.

    Args:
        log_probabilities: [T, H, labels] as :func:`label_log_probabilities` returns them.
        histories: [H] the clusters to mask.

    Raises:
        ValueError: a history names every cluster, so that nothing is left.
    """
    masked = log_probabilities.copy()
    for index, history in enumerate(histories):
        if len(history) >= masked.shape[-1]:
            raise ValueError(f"history {index}, {list(history)}, names every cluster: no new one is left to propose")
        masked[:, index, list(history)] = -np.inf
    highest = masked.max(axis=-1, keepdims=True)
    relative = np.exp(masked - highest)
    mass = relative.sum(axis=-1, keepdims=True)
    return LabelDistributions(relative / mass, (mass * np.exp(highest))[..., 0])


def label_distributions(
    model_folder: Path,
    labels: Sequence[str],
    histories: Sequence[History],
    temperatures: Sequence[float],
    log: Log = silent,
) -> LabelDistributions:
    """The exact distribution of one free, valid sample of a novelty checkpoint, for every history and temperature.

    Shards of the histories give the same numbers as the whole if each holds a multiple of
    ``label_distribution.histories_per_pass`` histories.

    Args:
        model_folder: the checkpoint.
        labels: the label of cluster i at index i.
        histories: [H] sets of cluster ids.
        temperatures: [T], each above 0.
        log: receives progress lines.

    Raises:
        ValueError: no model, unusable labels, a malformed history, or a temperature that is not positive.
    """
    if has_label_vectors(model_folder):
        law = load_law(model_folder, len(labels))
        values = np.stack([law.at_temperature(histories, temperature) for temperature in temperatures])
        return LabelDistributions(np.exp(values), np.ones(values.shape[:2]))
    tokenizer, model = load_tokenizer(model_folder), load_causal_model(model_folder)
    values = label_log_probabilities(model, tokenizer, labels, histories, temperatures, log=log)
    return renormalise(values, histories)
