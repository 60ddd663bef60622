"""Scoring candidates by a trained alignment model: ranking values, predicted rates, and their intervals."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scipy.special import expit

from models.alignment.candidate_reader import HISTORIES_PER_PASS, CandidateReader, Clusters
from models.alignment.cascade import SAMPLE, Cascade, Spared
from models.alignment.predicted_rates import PredictedRates
from models.arrays import BoolArray, Float64Array
from models.language.prompts import History, check_histories
from models.progress import Log, silent

if TYPE_CHECKING:
    from models.alignment.vllm_scorer import VllmScorer


@dataclass(frozen=True, eq=False)
class CandidatePredictions:
    """What a trained model says of the candidates of each history; one array per history each.

    Attributes:
        ranking: the values to rank by: the score L in (0, 1), times the cluster's multiplier where scores are lifts.
        rates: predicted rates of the signal.
        lower, upper: the central 90% of the true rate, see ``predicted_rates.PredictedRates.interval``.
        read: whether the language model read the candidate; what it says of the others is forecast, see ``cascade``.
    """

    ranking: list[Float64Array]
    rates: list[Float64Array]
    lower: list[Float64Array]
    upper: list[Float64Array]
    read: list[BoolArray]


class CandidateScorer:
    """A trained alignment model, ready to score candidates.

    The last digits of bfloat16 results of the packed engine depend on the micro-batch of a history: let shards hold
    multiples of ``micro_batch`` histories.

    Args:
        folder: what ``training.train_alignment_model`` wrote.
        labels: the label of cluster i at index i.
        engine: ``packed``, all candidates of a history in one pass, or ``vllm``, each pair alone.

    Raises:
        ValueError: the folder holds no alignment model.
    """

    micro_batch = HISTORIES_PER_PASS

    def __init__(self, folder: Path, labels: Sequence[str], engine: Literal["packed", "vllm"]) -> None:
        check_alignment_model(folder)
        self.clusters = len(labels)
        self.learned = PredictedRates.load(folder)
        self.reader = _open_reader(folder, labels, engine)
        self.cascade: Cascade | None = None

    def spare_readings(
        self,
        histories: Sequence[History],
        candidates: Sequence[Clusters],
        k: int,
        most_lost: float,
        log: Log = silent,
    ) -> None:
        """From now on, read only the candidates that can change who wins, see ``cascade``.

        Not in a table of ``SAMPLE`` histories or fewer, by vLLM, by a model of lifts, which ranks by more than its
        logits, and by a stack that reads no served cluster anyway.

        Args:
            histories: of the whole table.
            candidates: of each.
            k: how many candidates of a history win.
            most_lost: share of the winners' lead over their pool, in predicted rate, that may be lost.
            log: receives progress lines.
        """
        pays = len(histories) > SAMPLE and (self.learned.rate_map.multipliers == 1).all()
        if pays and isinstance(self.reader, CandidateReader) and self.reader.head_weights()[0].any():
            read = [sorted(history) for history in histories]
            self.cascade = Cascade.tuned(self.reader, read, candidates, k, most_lost, log)

    @property
    def spared(self) -> Spared:
        """What unread candidates cost."""
        return self.cascade.spared if self.cascade else Spared(0.0, 0.0)

    def predict(
        self, histories: Sequence[History], candidates: Sequence[Clusters], log: Log = silent
    ) -> CandidatePredictions:
        """Score the candidates of histories.

        Args:
            histories: cluster ids, read as a set.
            candidates: cluster ids of each history; may be empty.
            log: receives progress lines.

        Raises:
            ValueError: a history or candidate is no cluster.
        """
        check_histories(histories, self.clusters)
        for history, clusters in zip(histories, candidates, strict=True):
            unknown = [cluster for cluster in clusters if not 0 <= cluster < self.clusters]
            if unknown:
                raise ValueError(
                    f"history {list(history)}: candidate {unknown[0]} is not a cluster: there are {self.clusters}"
                )
        read = [sorted(history) for history in histories]
        if self.cascade is None:
            logits, was_read = self.reader.all_logits(read, candidates, log), self.reader.reads(candidates)
        else:
            logits, was_read = self.cascade.logits_and_read(read, candidates, log)
        scores = [expit(values) for values in logits]
        rates = self.learned.rates(scores, candidates)
        intervals = [self.learned.interval(values) for values in rates]
        return CandidatePredictions(
            ranking=self.learned.ranking_values(scores, candidates),
            rates=rates,
            lower=[lower for lower, _ in intervals],
            upper=[upper for _, upper in intervals],
            read=was_read,
        )


def _open_reader(folder: Path, labels: Sequence[str], engine: str) -> "CandidateReader | VllmScorer":
    """The reader of an engine; a model that reads nothing needs no other than the own one."""
    reader = CandidateReader.open(folder, labels)
    if engine == "packed" or not reader.head_weights().any():
        return reader
    from models.alignment.vllm_scorer import VllmScorer

    return VllmScorer(folder, labels)


def check_alignment_model(folder: Path) -> None:
    """Refuse a folder without a trained head: loading would give it a random one.

    Raises:
        ValueError: naming the folder.
    """
    config = folder / "config.json"
    architectures = json.loads(config.read_text(encoding="utf-8")).get("architectures") if config.is_file() else None
    if not any(name.endswith("ForSequenceClassification") for name in architectures or []):
        raise ValueError(f"{folder} holds no alignment model: train one first")
