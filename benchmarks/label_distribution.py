"""The exact label distribution in one packed pass per history, against scoring every label in a plain padded batch.

    .venv/bin/python benchmarks/label_distribution.py

Same embedded model, same prompts and labels, same threads, same process. The peer is transformers as one would use it:
for each history a batch of prompt + label, one row per label. Prints one JSON object as its last line.
"""

import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from synthetic.report import print_report

from models.arena.topics import load_topics
from models.language.base_model import materialize_base_model
from models.language.language_model import load_causal_model, load_tokenizer
from models.language.prompts import label_tokens, novelty_prompt, prompt_tokens, terminator
from models.novelty.label_distribution import label_log_probabilities

HISTORIES = 24


def plain_batches(model, tokenizer, labels, histories):
    """[histories, labels] log probabilities by one padded batch per history."""
    tokens = label_tokens(tokenizer, labels)
    end = terminator(tokenizer)
    rows = []
    for history in histories:
        prompt = prompt_tokens(tokenizer, novelty_prompt([labels[cluster] for cluster in history]))
        sequences = [[*prompt, *label, end] for label in tokens]
        width = max(map(len, sequences))
        ids = torch.tensor([[*sequence, *[end] * (width - len(sequence))] for sequence in sequences])
        mask = torch.tensor([[1] * len(s) + [0] * (width - len(s)) for s in sequences])
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits.float().log_softmax(-1)
        for row, sequence in enumerate(sequences):
            places = range(len(prompt), len(sequence))
            rows.append(sum(float(logits[row, place - 1, sequence[place]]) for place in places))
    return np.array(rows).reshape(len(histories), len(labels))


def main():
    topics, _ = load_topics(24)
    labels = [", ".join([topic.name, *topic.keywords[:2]]) for topic in topics]
    histories = list(combinations(range(len(labels)), 2))[:: 276 // HISTORIES][:HISTORIES]
    with tempfile.TemporaryDirectory() as folder:
        materialize_base_model(Path(folder) / "model", None)
        tokenizer, model = load_tokenizer(Path(folder) / "model", None), load_causal_model(Path(folder) / "model", None)
    label_log_probabilities(model, tokenizer, labels, histories[:2], [1.0])  # warm
    started = time.perf_counter()
    packed = np.asarray(label_log_probabilities(model, tokenizer, labels, histories, [1.0]))
    packed_seconds = time.perf_counter() - started
    started = time.perf_counter()
    plain = plain_batches(model, tokenizer, labels, histories)
    plain_seconds = time.perf_counter() - started
    print_report(
        "label_distribution",
        {
            "ratio_vs_transformers": plain_seconds / packed_seconds,
            "packed_seconds": packed_seconds,
            "transformers_seconds": plain_seconds,
            "largest_difference": float(np.abs(packed[0] - plain).max()),
        },
        {"labels": len(labels), "histories": len(histories), "threads": torch.get_num_threads()},
    )


if __name__ == "__main__":
    main()
