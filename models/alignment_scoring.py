"""Scoring candidates by a trained alignment model: what rankings go by, predicted rates, and their intervals."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from models.candidate_reader import CandidateReader, Clusters
from models.predicted_rates import PredictedRates
from models.progress import Log, silent
from models.prompts import History, check_histories

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CandidatePredictions:
    """What a trained model says of the candidates of each history; one array per history each.

    Attributes:
        ranking: what rankings go by: the score L in (0, 1), times the cluster's multiplier where scores are lifts.
        rates: predicted rates of the signal.
        lower, upper: the central 90% of the true rate, see ``predicted_rates.PredictedRates.interval``.
    """

    ranking: list[Array]
    rates: list[Array]
    lower: list[Array]
    upper: list[Array]


def predict_candidates(
    folder: Path,
    labels: Sequence[str],
    histories: Sequence[History],
    candidates: Sequence[Clusters],
    log: Log = silent,
) -> CandidatePredictions:
    """Score candidates by a trained alignment model.

    Results move in the last digits of bfloat16 with the micro-batch a history falls in: cut shards at multiples of
    ``candidate_reader.HISTORIES_PER_PASS`` histories.

    Args:
        folder: what ``alignment.train_alignment_model`` wrote.
        labels: the label of cluster i at index i.
        histories: cluster ids, read as a set.
        candidates: cluster ids of each history; may be empty.
        log: receives progress lines.

    Raises:
        ValueError: the folder holds no alignment model, or a history or candidate is no cluster.
    """
    check_histories(histories, len(labels))
    for history, clusters in zip(histories, candidates, strict=True):
        unknown = [cluster for cluster in clusters if not 0 <= cluster < len(labels)]
        if unknown:
            raise ValueError(
                f"history {list(history)}: candidate {unknown[0]} is no cluster, of which there are {len(labels)}"
            )
    check_alignment_model(folder)
    reader = CandidateReader.open(folder, labels)
    read = [sorted(history) for history in histories]
    scores = [expit(logits) for logits in reader.all_logits(read, candidates, log)]
    learned = PredictedRates.load(folder)
    rates = learned.rates(scores, candidates)
    intervals = [learned.interval(values) for values in rates]
    return CandidatePredictions(
        ranking=learned.ranking_values(scores, candidates),
        rates=rates,
        lower=[lower for lower, _ in intervals],
        upper=[upper for _, upper in intervals],
    )


def score_candidates(
    folder: Path,
    labels: Sequence[str],
    histories: Sequence[History],
    candidates: Sequence[Clusters],
    log: Log = silent,
) -> list[Array]:
    """What rankings go by, see :func:`predict_candidates`."""
    return predict_candidates(folder, labels, histories, candidates, log).ranking


def check_alignment_model(folder: Path) -> None:
    """Refuse a folder without a trained head: loading would give it a random one.

    Raises:
        ValueError: naming the folder.
    """
    config = folder / "config.json"
    architectures = json.loads(config.read_text(encoding="utf-8")).get("architectures") if config.is_file() else None
    if not any(name.endswith("ForSequenceClassification") for name in architectures or []):
        raise ValueError(f"{folder} holds no alignment model: train one first")
