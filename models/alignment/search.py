"""The search for better settings of the alignment model: which normalisation, loss, layers, steps and learning rate.

Every trial is one training. Trials are compared by F1@k on the validation histories, at the best look of each training;
the test histories are read for the winner alone, at the end. The first trial is the settings that stand, so the search
never ends below them. Trials are suggested by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011).

A search lives in one folder, as a journal of Optuna's and a folder for each finished trial, and goes on where it was.
The sampler of a trial is seeded by the number of trials finished before it, and reads nothing but those: whether they
were finished in one session or in several makes no difference to what is suggested next.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import polars as pl
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from scipy.special import expit
from transformers import AutoConfig

from models.alignment.candidate_reader import CandidateReader, Clusters
from models.alignment.checkpoint_selection import CurvePoint
from models.alignment.examples import ServedHistory, group_by_history
from models.alignment.options import AlignmentOptions
from models.alignment.predicted_rates import PredictedRates
from models.alignment.report import judge
from models.alignment.training import AlignmentTraining
from models.arrays import AnyFloatArray, Float64Array
from models.feedback.normalisation import Method
from models.files import content_hash, new_folder, write_json
from models.language.prompts import History
from models.progress import Log, silent

Parameters = dict[str, Any]

NORMALISATIONS: tuple[Method, ...] = ("quantile", "rate", "z_score", "lift")
LOSSES = ("pointwise", "pairwise")
TOP_LAYERS = (4, 10, 20)
LEARNING_RATES = (3e-5, 1e-3)
STEP_FACTORS = (0.5, 1.0, 2.0)

KEPT_WEIGHTS = 3
STARTUP_TRIALS = 6  # drawn at random before the sampler has something to learn from
# NDCG@k decides between equals: two different F1@k are never so near to each other.
TIE_BREAK = 1e-6

RECORD_FILE = "manifest.json"
MODEL_FOLDER = "model"


@dataclass(frozen=True, eq=False)
class TrialData:
    """What one normalisation makes of the feedback.

    Attributes:
        examples: as ``alignment.train_alignment_model`` takes them; between two normalisations only ``score`` differs.
        pairs: as ``pairs.sample_pairs`` gives them; None for the pointwise loss.
        multipliers: [N] by which predicted scores are multiplied before they rank; None: not at all.
    """

    examples: pl.DataFrame
    pairs: pl.DataFrame | None
    multipliers: Float64Array | None


Prepare = Callable[[Method, str], TrialData]
"""From a normalisation and a loss to what a trial learns from."""


@dataclass(frozen=True)
class SearchOptions:
    """Where a search begins, and how long it goes on.

    Attributes:
        normalisation: the one that stands.
        training: the settings that stand; what is not searched is the same in every trial.
        trials: finished trials in all.
        minutes: no trial begins when the finished ones have taken this long, over all sessions; None: no such limit.
        seed: of the sampler.
    """

    normalisation: Method
    training: AlignmentOptions
    trials: int
    minutes: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Trial:
    """One finished training.

    Attributes:
        number: place among the finished trials, from 1; the first has the settings that stand.
        version: the name of its folder.
        parameters: ``normalisation``, ``loss``, ``tune``, ``learning_rate``, ``steps``.
        figures: of the validation histories, at the best look: ``f1_at_k``, ``ndcg_at_k``, ``validation_loss`` and
            ``selected_step`` (None where the training failed); ``seconds``; ``weights_kept``.
        curve: every look, see ``checkpoint_selection.CurvePoint``.
        made_at: moment of its end, UTC.
        failure: why there is no figure; empty after a sound training.
    """

    number: int
    version: str
    parameters: Parameters
    figures: dict[str, Any]
    curve: list[dict[str, Any]]
    made_at: str
    failure: str = ""

    @property
    def rank(self) -> tuple[float, float, int]:
        """What makes a trial better: F1@k, then NDCG@k, then being earlier. A failed training is below all others."""
        f1, ndcg = self.figures["f1_at_k"], self.figures["ndcg_at_k"]
        return (-1.0 if f1 is None else f1), (ndcg or 0.0), -self.number

    @property
    def objective(self) -> float:
        """What the sampler maximises."""
        f1, ndcg, _ = self.rank
        return max(f1, 0.0) + TIE_BREAK * ndcg


@dataclass(frozen=True)
class SearchReport:
    """What a search has found so far.

    Attributes:
        trials: the finished ones, in order.
        winner: the best of them on the validation histories.
        test: of the winner on the test histories: ``figures`` (as ``alignment_report.judge`` names them),
            ``held_out_histories``, ``leads``, ``by_cut``, ``notes``; and ``judged``, the versions of all winners that
            this search ever judged there: more than one after a search went on and found a better one.
        seconds: of all trials.
    """

    trials: tuple[Trial, ...]
    winner: Trial
    test: dict[str, Any]
    seconds: float


def search_space(options: SearchOptions, layers: int) -> dict[str, BaseDistribution]:
    """What trials choose from; the settings that stand are always within.

    Args:
        options: where the search begins.
        layers: of the base model: no more can be tuned.
    """
    standing = options.training
    tune = ["full", "lora", *(f"top:{count}" for count in TOP_LAYERS if count <= (standing.layers or layers))]
    low, high = min(LEARNING_RATES[0], standing.learning_rate), max(LEARNING_RATES[1], standing.learning_rate)
    return {
        "normalisation": CategoricalDistribution(NORMALISATIONS),
        "loss": CategoricalDistribution(LOSSES),
        "tune": CategoricalDistribution(sorted({*tune, standing.tune})),
        "learning_rate": FloatDistribution(low, high, log=True),
        "steps": CategoricalDistribution(sorted({max(1, round(standing.steps * factor)) for factor in STEP_FACTORS})),
    }


def describe_parameters(parameters: Parameters) -> str:
    """The parameters of a trial in words for the log."""
    return (
        f"{parameters['normalisation']}, {parameters['loss']}, {parameters['tune']}, "
        f"learning rate {parameters['learning_rate']:.2g}, {parameters['steps']} steps"
    )


class AlignmentSearch:
    """A search in its folder, new or taken up again.

    Args:
        base: folder of the pretrained model.
        folder: gets ``<name>.journal``, ``<name>.test.json`` and, for each trial, ``<name>-<number>/`` with its record
            and, while it is among the best three, its weights.
        name: of the search; the same name must mean the same data, model and standing settings.
        labels: the label of cluster i at index i.
        prepare: makes the data of a normalisation.
        options: where to begin, and how long to go on.
        k: the cut of the metrics.
        log: receives progress lines.
        stamp: facts that every trial's record carries besides its own.

    Raises:
        ValueError: no validation history has enough supported clusters to tell trials apart, or two normalisations
            differ in more than their scores.
    """

    def __init__(
        self,
        base: Path,
        folder: Path,
        name: str,
        labels: Sequence[str],
        prepare: Prepare,
        options: SearchOptions,
        k: int,
        log: Log = silent,
        stamp: Mapping[str, Any] | None = None,
    ) -> None:
        self.base = base
        self.folder = folder
        self.name = name
        self.labels = labels
        self.prepare = prepare
        self.options = options
        self.k = k
        self.log = log
        self.stamp = dict(stamp or {})
        self._check_data()
        layers = AutoConfig.from_pretrained(base).get_text_config().num_hidden_layers
        self.space = search_space(options, layers)

    def run(self, label_embeddings: AnyFloatArray | None = None) -> SearchReport:
        """Take trials until the budget is spent, then judge the winner on the test histories.

        Args:
            label_embeddings: [N, dimensions] of the labels, rows of length 1, for the yardsticks that compare labels.

        Raises:
            ValueError: the training with the settings that stand fails, or files of the search are missing.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder.mkdir(parents=True, exist_ok=True)
        study = self._open_study()
        trials = [self._read_trial(number) for number in range(1, len(_complete(study)) + 1)]
        if trials:
            self.log(f"finished trials: {len(trials)}, the best F1@{self.k} so far {_best(trials)[0].rank[0]:.3f}")
        trials = self._drop_weights(trials)
        self._retry_unfinished(study)
        while not self._is_spent(trials):
            trials = self._drop_weights([*trials, self._take_trial(study, trials)])
        winner = _best(trials)[0]
        test = self._judge(winner, label_embeddings)
        return SearchReport(tuple(trials), winner, test, _seconds(trials))

    def _check_data(self) -> None:
        """Trials are comparable only on the same cells, splits and truth."""
        standing = self.prepare(self.options.normalisation, "pointwise").examples
        validation = self._served(standing, None)["validation"]
        if not any(len(row.clusters) >= 2 * self.k for row in validation):
            raise ValueError(
                f"none of {len(validation)} validation histories has {2 * self.k} supported clusters: nothing tells "
                "trials apart; collect more feedback, or lower candidates.k"
            )
        for normalisation in NORMALISATIONS:
            other = self.prepare(normalisation, "pointwise").examples
            if not other.drop("score").equals(standing.drop("score")):
                raise ValueError(f"the examples of {normalisation} differ in more than their scores")

    def _open_study(self) -> optuna.Study:
        backend = JournalFileBackend(str(self._journal))
        return optuna.create_study(
            study_name=self.name,
            storage=optuna.storages.JournalStorage(backend),
            direction="maximize",
            load_if_exists=True,
        )

    def _retry_unfinished(self, study: optuna.Study) -> None:
        """Ask first for the trial that was under way when the last session ended, or for the settings that stand."""
        stale = study.get_trials(states=(TrialState.RUNNING,))
        for unfinished in stale:
            study.tell(unfinished.number, state=TrialState.FAIL)
        if study.get_trials(states=(TrialState.WAITING,)):
            return
        if not _complete(study):
            study.enqueue_trial(self._standing())
        elif stale:
            study.enqueue_trial(stale[-1].params)

    def _standing(self) -> Parameters:
        training = self.options.training
        return {
            "normalisation": self.options.normalisation,
            "loss": training.loss,
            "tune": training.tune,
            "learning_rate": training.learning_rate,
            "steps": training.steps,
        }

    def _is_spent(self, trials: Sequence[Trial]) -> bool:
        minutes = self.options.minutes
        return len(trials) >= self.options.trials or (minutes is not None and _seconds(trials) >= 60 * minutes)

    def _take_trial(self, study: optuna.Study, trials: Sequence[Trial]) -> Trial:
        number = len(trials) + 1
        seed = int(np.random.SeedSequence((self.options.seed, number)).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        asked = study.ask(self.space)
        self.log(f"trial {number} of at most {self.options.trials}: {describe_parameters(asked.params)}")
        trial = self._train(number, asked.params, trials)
        study.tell(asked, trial.objective)
        best = _best([*trials, trial])[0]
        found = trial.failure or (
            f"F1@{self.k} {trial.figures['f1_at_k']:.3f}, NDCG@{self.k} {trial.figures['ndcg_at_k'] or 0:.3f}"
        )
        self.log(
            f"trial {number}: {found} in {trial.figures['seconds']:.0f} s; "
            f"the best is trial {best.number} with {best.rank[0]:.3f}"
        )
        return trial

    def _train(self, number: int, parameters: Parameters, trials: Sequence[Trial]) -> Trial:
        """One training, written to its folder; a failed one counts too, or the sampler would ask for it for ever."""
        started = time.monotonic()
        version = self._version(number)
        unfinished = self.folder / f".{version}.unfinished"
        failure, training = "", None
        try:
            training = self._fit(parameters, unfinished)
        except (ValueError, ArithmeticError) as error:
            if number == 1:
                raise  # the settings that stand must work
            failure = f"the training failed: {error}"
            unfinished.unlink(missing_ok=True)
        selected = training.selected if training else None
        trial = Trial(
            number=number,
            version=version,
            parameters=parameters,
            figures={**_point_figures(selected), "seconds": time.monotonic() - started, "weights_kept": False},
            curve=[asdict(point) for point in training.curve] if training else [],
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            failure=failure,
        )
        with new_folder(self.folder / version) as partial:
            if training is not None and trial in _best([*trials, trial])[:KEPT_WEIGHTS]:
                training.save(partial / MODEL_FOLDER)
                trial = _with_weights(trial, kept=True)
            self._write_record(partial, trial)
        return trial

    def _fit(self, parameters: Parameters, unfinished: Path) -> AlignmentTraining:
        """Train as ``alignment.train_alignment_model`` does, up to what is judged."""
        loss = parameters["loss"]
        data = self.prepare(parameters["normalisation"], loss)
        if loss == "pairwise" and (data.pairs is None or data.pairs.filter(pl.col("split") == "train").is_empty()):
            raise ValueError("there are no training pairs: every two served clusters of a history tie")
        options = replace(
            self.options.training,
            loss=loss,
            tune=parameters["tune"],
            learning_rate=parameters["learning_rate"],
            steps=parameters["steps"],
            stack=self.options.training.stack and parameters["normalisation"] == "rate",  # a stack predicts rates
        )
        served = self._served(data.examples, data.pairs)
        training = AlignmentTraining(self.base, self.labels, options, self.k, data.multipliers)
        training.fit(served["train"], served["validation"], self.log, unfinished)
        training.calibrate(_training_rows(data.examples), served["validation"])
        return training

    def _served(self, examples: pl.DataFrame, pairs: pl.DataFrame | None) -> dict[str, list[ServedHistory]]:
        return group_by_history(examples.filter(~pl.col("unseen")), len(self.labels), pairs)

    def _drop_weights(self, trials: Sequence[Trial]) -> list[Trial]:
        """Keep the weights of the best trials only.

        The record is changed first: after a kill in between, weights that lie there against their record go the next
        time.
        """
        best = {trial.version for trial in _best(trials)[:KEPT_WEIGHTS]}
        left = []
        for trial in trials:
            folder = self.folder / trial.version
            if trial.version in best:
                left.append(trial)
                continue
            if trial.figures["weights_kept"]:
                self._write_record(folder, _with_weights(trial, kept=False))
            shutil.rmtree(folder / MODEL_FOLDER, ignore_errors=True)
            left.append(_with_weights(trial, kept=False))
        return left

    def _judge(self, winner: Trial, label_embeddings: AnyFloatArray | None) -> dict[str, Any]:
        """Judge the winner on the test histories, unless this very winner was."""
        file = self.folder / f"{self.name}.test.json"
        known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"judged": []}
        if known["judged"][-1:] == [winner.version]:
            return known
        self.log(f"ranking the test histories by trial {winner.number} and by the yardsticks")
        model = self.folder / winner.version / MODEL_FOLDER
        reader = CandidateReader.open(model, self.labels)

        def predict(histories: Sequence[History], candidates: Sequence[Clusters]) -> list[Float64Array]:
            return [expit(logits) for logits in reader.all_logits(histories, candidates)]

        data = self.prepare(winner.parameters["normalisation"], "pointwise")
        judgement = judge(
            predict,
            PredictedRates.load(model),
            data.examples,
            self.labels,
            self.k,
            label_embeddings,
            self.options.training.seed,
        )
        test = {
            "judged": [*known["judged"], winner.version],
            "figures": judgement.figures,
            "held_out_histories": judgement.held_out_histories,
            "leads": judgement.leads,
            "by_cut": {str(cut): values for cut, values in judgement.by_cut.items()},
            "notes": list(judgement.notes),
        }
        write_json(file, test)
        return test

    @property
    def _journal(self) -> Path:
        return self.folder / f"{self.name}.journal"

    def _version(self, number: int) -> str:
        return f"{self.name}-{number:03d}"

    def _write_record(self, folder: Path, trial: Trial) -> None:
        weights = sorted((folder / MODEL_FOLDER).rglob("*")) if trial.figures["weights_kept"] else []
        record = {
            **self.stamp,
            "content_hash": content_hash(*(path for path in weights if path.is_file())),
            "k": self.k,
            **asdict(trial),
        }
        write_json(folder / RECORD_FILE, record)

    def _read_trial(self, number: int) -> Trial:
        path = self.folder / self._version(number) / RECORD_FILE
        if not path.is_file():
            raise ValueError(
                f"{path} is missing, though the trial was finished: put it back, "
                f"or delete {self._journal} to begin the search anew"
            )
        record = json.loads(path.read_text(encoding="utf-8"))
        return Trial(**{name: record[name] for name in Trial.__dataclass_fields__})


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _best(trials: Sequence[Trial]) -> list[Trial]:
    """Best first."""
    return sorted(trials, key=lambda trial: trial.rank, reverse=True)


def _training_rows(examples: pl.DataFrame) -> pl.DataFrame:
    return examples.filter(~pl.col("unseen") & (pl.col("split") == "train"))


def _with_weights(trial: Trial, *, kept: bool) -> Trial:
    return replace(trial, figures=trial.figures | {"weights_kept": kept})


def _seconds(trials: Sequence[Trial]) -> float:
    return float(sum(trial.figures["seconds"] for trial in trials))


def _point_figures(point: CurvePoint | None) -> dict[str, Any]:
    if point is None:
        return dict.fromkeys(("f1_at_k", "ndcg_at_k", "validation_loss", "selected_step"))
    return {
        "f1_at_k": point.f1_at_k,
        "ndcg_at_k": point.ndcg_at_k,
        "validation_loss": point.validation_loss,
        "selected_step": point.step,
    }
