"""The exact label distribution in one packed pass per history, against scoring every label in a plain padded batch.

    .venv/bin/python benchmarks/label_distribution.py

Same embedded model, same prompts and labels, a thread for each core. The peer is transformers as one would use it: a
batch of prompt + label for some histories, one row per history and label. It runs as ``synthetic/peers.py`` says, with
several numbers of histories in a batch, of which the fastest counts. Prints one JSON object as its last line.
"""

import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from synthetic.peers import at_best_batch, every_core, given
from synthetic.processes import in_a_process
from synthetic.report import print_report

from models.arena.topics import load_topics
from models.language.base_model import materialize_base_model
from models.language.language_model import load_causal_model, load_tokenizer
from models.language.prompts import label_tokens, novelty_prompt, prompt_tokens, terminator
from models.novelty.label_distribution import label_log_probabilities

HISTORIES = 24
AT_ONCE = (1, 2, 4, 8)
"""Histories in one batch of the peer that are tried."""


def open_model(folder):
    return load_causal_model(folder), load_tokenizer(folder)


def packed_arm(folder, labels, histories):
    model, tokenizer = open_model(folder)
    label_log_probabilities(model, tokenizer, labels, histories[:2], [1.0])  # warm
    started = time.perf_counter()
    values = np.asarray(label_log_probabilities(model, tokenizer, labels, histories, [1.0]))[0]
    return {"seconds": time.perf_counter() - started, "given": given(), "values": values}


def plain_arm(batch, folder, labels, histories):
    model, tokenizer = open_model(folder)
    plain_batch(model, tokenizer, labels, histories[:batch])  # warm
    started = time.perf_counter()
    parts = [
        plain_batch(model, tokenizer, labels, histories[at : at + batch]) for at in range(0, len(histories), batch)
    ]
    return {"seconds": time.perf_counter() - started, "given": given(), "values": np.concatenate(parts)}


def plain_batch(model, tokenizer, labels, histories):
    """[histories, labels] log probabilities by one padded batch."""
    end = terminator(tokenizer)
    prompts = [
        prompt_tokens(tokenizer, novelty_prompt([labels[cluster] for cluster in history])) for history in histories
    ]
    rows = [(len(prompt), [*prompt, *label, end]) for prompt in prompts for label in label_tokens(tokenizer, labels)]
    width = max(len(row) for _, row in rows)
    ids = torch.tensor([[*row, *[end] * (width - len(row))] for _, row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for _, row in rows])
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask).logits.float().log_softmax(-1)
    values = [
        sum(float(logits[number, place - 1, row[place]]) for place in range(start, len(row)))
        for number, (start, row) in enumerate(rows)
    ]
    return np.array(values).reshape(len(histories), len(labels))


def main():
    topics, _ = load_topics(24)
    labels = [", ".join([topic.name, *topic.keywords[:2]]) for topic in topics]
    histories = list(combinations(range(len(labels)), 2))[:: 276 // HISTORIES][:HISTORIES]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        materialize_base_model(folder, None)
        packed = in_a_process(packed_arm, folder, labels, histories, environment=every_core()).found
        plain = at_best_batch(plain_arm, AT_ONCE, folder, labels, histories)
    print_report(
        "label_distribution",
        {
            "ratio_vs_transformers": plain["seconds"] / packed["seconds"],
            "packed_seconds": packed["seconds"],
            "transformers_seconds": plain["seconds"],
            "largest_difference": float(np.abs(packed["values"] - plain["values"]).max()),
        },
        {
            "labels": len(labels),
            "histories": len(histories),
            "given": {"packed": packed["given"], "transformers": plain["given"]},
        },
    )


if __name__ == "__main__":
    main()
