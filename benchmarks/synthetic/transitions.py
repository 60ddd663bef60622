"""Labels, novel transitions and tuned models for the benchmarks: what a platform of N clusters would have."""

from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl

from models.arena.topics import attribute_matrix, load_topics
from models.language.base_model import materialize_base_model
from models.novelty.options import NoveltyOptions
from models.novelty.training import train_novelty_model

TOPICS = 96
LABELS_PER_TOPIC = 8
TASTE = 8.0  # how sharply the next cluster follows the history: recall@5 of held-out transitions is about that of a log
OWN_TOPIC = 0.5


def labels_of(count: int) -> list[str]:
    """Distinct labels of three keywords, spread over the topics."""
    topics, _ = load_topics(TOPICS)
    labels = [
        ", ".join(topic.keywords[(first + step) % len(topic.keywords)] for step in range(3))
        for first in range(LABELS_PER_TOPIC)
        for topic in topics
    ]
    return list(dict.fromkeys(labels))[:count]


def attributes_of(count: int) -> np.ndarray:
    """[count, attributes] of the topics of these labels."""
    return attribute_matrix(*load_topics(TOPICS))[np.arange(count) % TOPICS]


def transitions(count: int, attributes: np.ndarray, seed: int) -> pl.DataFrame:
    """Histories of two clusters with a next one that shares attributes [clusters, attributes]; a tenth is held out."""
    rng = np.random.default_rng(seed)
    clusters = len(attributes)
    directions = attributes / np.linalg.norm(attributes, axis=1, keepdims=True)
    rows = []
    for number in range(count):
        history = np.sort(rng.choice(clusters, 2, replace=False))
        liking = TASTE * directions @ directions[history].mean(axis=0)
        chances = np.exp(liking - liking.max()) * rng.gamma(OWN_TOPIC, 1.0, clusters)
        chances[history] = 0.0
        target = int(rng.choice(clusters, p=chances / chances.sum()))
        rows.append((history.tolist(), target, "holdout" if number % 10 == 9 else "train"))
    return pl.DataFrame(rows, ["history", "cluster_id", "split"], orient="row")


def tuned_novelty_model(folder: Path, labels: list[str], examples: pl.DataFrame, log) -> dict[str, float]:
    """Tune the embedded model on transitions between labels, once: a folder that holds one is left as it is."""
    if not (folder / "base").exists():
        materialize_base_model(folder / "base", None)
    if (folder / "novelty" / "config.json").exists():
        return {}
    options = NoveltyOptions("words", "top:8", 1e-3, batch_size=64, epochs=1, most_steps=1, seed=0, holdout_histories=8)
    report = train_novelty_model(folder / "base", folder / "novelty", labels, examples, options, log=log)
    return report.figures


def histories_of(clusters: int, count: int) -> list[tuple[int, int]]:
    """Runs of 32 neighbours, as shards have them, spread evenly over all pairs of clusters in order."""
    pairs = list(combinations(range(clusters), 2))
    if count >= len(pairs):
        return pairs
    starts = np.linspace(0, len(pairs) - 32, -(-count // 32)).astype(int)
    return [pairs[place] for start in starts for place in range(start, start + 32)][:count]
