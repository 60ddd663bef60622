"""A toy log that an alignment model learns from in seconds, and what its tests read it with."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import polars as pl
import torch
from scipy.special import expit
from support.options import ALIGNMENT

from models.alignment.scoring import CandidateScorer
from models.language.prompts import alignment_prompt, label_text

LABELS = [
    "football goals",
    "jazz piano",
    "chess openings",
    "wild life",
    "cooking",
    "space astronomy",
    "cards",
    "garden",
]


QUICK = replace(
    ALIGNMENT, tune="full", learning_rate=3e-3, epochs=5.0, histories_per_batch=4, looks_per_epoch=1, head_histories=8
)


def score_candidates(folder, labels, histories, candidates):
    return CandidateScorer(folder, labels, "packed").predict(histories, candidates).ranking


def toy_examples(seed=0):
    """All pairs as histories; odd clusters are liked, more so after an odd history."""
    generator = np.random.default_rng(seed)
    rows = []
    for index, (a, b) in enumerate(combinations(range(len(LABELS)), 2)):
        split = "test" if index % 4 == 1 else "validation" if index % 4 == 3 else "train"
        for cluster in range(len(LABELS)):
            if cluster not in (a, b) and generator.random() < 0.9:
                true = expit(-1.5 + 2.5 * (cluster % 2) + 0.7 * (a % 2 + b % 2 - 1))
                impressions = int(generator.integers(20, 60))
                rate = generator.binomial(impressions, true) / impressions
                rows.append(([a, b], cluster, round(rate * 20) / 20, impressions**0.5, rate, impressions, split))
    columns = ["history", "cluster_id", "score", "weight", "raw_rate", "impressions", "split"]
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    return frame.with_columns(unseen=pl.lit(value=False), shrunk_rate=pl.col("raw_rate"))


def toy_pairs(examples):
    """Every two served clusters of a history with different scores, surer the more they differ."""
    rows = [
        (history, *((a, b) if first > second else (b, a)), 0.5 + abs(first - second) / 2, split)
        for (history, split), group in examples.sort("cluster_id").group_by("history", "split")
        for (a, first), (b, second) in combinations(group.select("cluster_id", "score").iter_rows(), 2)
        if first != second
    ]
    return pl.DataFrame(rows, schema=["history", "better_id", "worse_id", "probability", "split"], orient="row")


def logit_alone(reader, history, cluster):
    """The logit by the sequence classifier's own forward pass over one plain sequence."""
    text = reader.tokenizer(alignment_prompt([LABELS[c] for c in history])).input_ids
    label = reader.tokenizer(label_text(LABELS[cluster]), add_special_tokens=False).input_ids
    label += reader.tokenizer("\n", add_special_tokens=False).input_ids
    return reader.model(input_ids=torch.tensor([text + label])).logits[0, 0]
