"""The search for better settings of the alignment model: which normalisation, loss, layers, epochs and learning rate.

Every trial is one training, see ``trials``. The test histories are read for the winner alone, at the end. The first
trial has the settings in force, so the search never ends below them. Trials are suggested by Optuna's tree-structured
Parzen estimator (Bergstra et al. 2011).

A search lives in one folder, as a journal of Optuna's and a folder for each finished trial, and resumes where it was
interrupted. The sampler of a trial is seeded by the number of trials finished before it, and reads nothing but those:
whether they were finished in one session or in several makes no difference to what is suggested next.
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import polars as pl
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from scipy.special import expit
from transformers import AutoConfig

from models.alignment.candidate_reader import CandidateReader, CandidateStates
from models.alignment.examples import ServedHistory, group_by_history, with_raw_rates
from models.alignment.joint_head import ALONE_FILE, JointHead, stack_scores
from models.alignment.pointwise_examples import training_rows
from models.alignment.predicted_rates import PredictedRates
from models.alignment.report import JudgedModel, judge
from models.alignment.trainer import AlignmentTrainer
from models.alignment.trials import (
    NORMALISATIONS,
    Parameters,
    Prepare,
    SearchOptions,
    SearchReport,
    Trial,
    best_first,
    describe_parameters,
    point_figures,
    search_space,
    total_seconds,
    with_weights,
)
from models.arrays import AnyFloatArray, Float64Array
from models.files import MANIFEST_FILE, MODEL_FOLDER, content_hash, new_folder, write_json
from models.progress import Log, silent

KEPT_WEIGHTS = 3
STARTUP_TRIALS = 6  # drawn at random before the sampler has something to learn from


class AlignmentSearch:
    """A search in its folder, new or resumed.

    Args:
        base: folder of the pretrained model.
        folder: gets ``<name>.journal``, ``<name>.test.json`` and, for each trial, ``<name>-<number>/`` with its record
            and, while it is among the best three, its weights.
        name: of the search; the same name must mean the same data, model and settings to begin with.
        labels: the label of cluster i at index i.
        prepare: makes the data of a normalisation.
        options: where to begin, and when to end.
        k: the cut of the metrics.
        log: receives progress lines.
        stamp: facts that every trial's record carries besides its own.
        label_embeddings: [N, dimensions] of the labels, rows of length 1, for a stack with label vectors, and for the
            yardsticks that compare labels.

    Raises:
        ValueError: no validation history has enough supported clusters to compare trials, or two normalisations
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
        label_embeddings: AnyFloatArray | None = None,
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
        self.label_embeddings = label_embeddings
        self._check_data()
        layers = AutoConfig.from_pretrained(base).get_text_config().num_hidden_layers
        self.space = search_space(options, layers)

    def run(self) -> SearchReport:
        """Take trials until the budget is spent, then judge the winner on the test histories.

        Raises:
            ValueError: the training with the settings in force fails, or files of the search are missing.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder.mkdir(parents=True, exist_ok=True)
        study = self._open_study()
        trials = [self._read_trial(number) for number in range(1, len(_complete(study)) + 1)]
        if trials:
            self.log(f"finished trials: {len(trials)}, the best F1@{self.k} so far {best_first(trials)[0].rank[0]:.3f}")
        trials = self._drop_weights(trials)
        self._retry_unfinished(study)
        while not self._is_spent(trials):
            trials = self._drop_weights([*trials, self._take_trial(study, trials)])
        winner = best_first(trials)[0]
        test = self._judge(winner)
        return SearchReport(tuple(trials), winner, test, total_seconds(trials))

    def _check_data(self) -> None:
        """Trials are comparable only on the same cells, splits and truth."""
        in_force = self.prepare(self.options.normalisation, "pointwise").examples
        validation = self._served(in_force, None)["validation"]
        if not any(len(row.clusters) >= 2 * self.k for row in validation):
            raise ValueError(
                f"none of {len(validation)} validation histories has {2 * self.k} supported clusters: nothing tells "
                "trials apart; collect more feedback, or lower candidates.k"
            )
        for normalisation in NORMALISATIONS:
            other = self.prepare(normalisation, "pointwise").examples
            if not other.drop("score").equals(in_force.drop("score")):
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
        """Ask first for the trial that the last session was interrupted in, or for the settings in force."""
        stale = study.get_trials(states=(TrialState.RUNNING,))
        for unfinished in stale:
            study.tell(unfinished.number, state=TrialState.FAIL)
        if study.get_trials(states=(TrialState.WAITING,)):
            return
        if not _complete(study):
            study.enqueue_trial(self._in_force())
        elif stale:
            study.enqueue_trial(stale[-1].params)

    def _in_force(self) -> Parameters:
        training = self.options.training
        return {
            "normalisation": self.options.normalisation,
            "loss": training.loss,
            "tune": training.tune,
            "learning_rate": training.learning_rate,
            "epochs": training.epochs,
        }

    def _is_spent(self, trials: Sequence[Trial]) -> bool:
        minutes = self.options.minutes
        return len(trials) >= self.options.trials or (minutes is not None and total_seconds(trials) >= 60 * minutes)

    def _take_trial(self, study: optuna.Study, trials: Sequence[Trial]) -> Trial:
        number = len(trials) + 1
        seed = int(np.random.SeedSequence((self.options.seed, number)).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        asked = study.ask(self.space)
        self.log(f"trial {number} of at most {self.options.trials}: {describe_parameters(asked.params)}")
        trial = self._train(number, asked.params, trials)
        study.tell(asked, trial.objective)
        best = best_first([*trials, trial])[0]
        found = trial.failure or f"F1@{self.k} {trial.told('f1_at_k')}, NDCG@{self.k} {trial.told('ndcg_at_k')}"
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
        failure, trainer = "", None
        try:
            trainer = self._fit(parameters, unfinished)
        except (ValueError, ArithmeticError) as error:
            if number == 1:
                raise  # the settings in force must work
            failure = f"the training failed: {error}"
            unfinished.unlink(missing_ok=True)
        selected = trainer.selected if trainer else None
        trial = Trial(
            number=number,
            version=version,
            parameters=parameters,
            figures={**point_figures(selected), "seconds": time.monotonic() - started, "weights_kept": False},
            curve=[asdict(point) for point in trainer.curve] if trainer else [],
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            failure=failure,
        )
        with new_folder(self.folder / version) as partial:
            if trainer is not None and trial in best_first([*trials, trial])[:KEPT_WEIGHTS]:
                trainer.save(partial / MODEL_FOLDER)
                trial = with_weights(trial, kept=True)
            self._write_record(partial, trial)
        return trial

    def _fit(self, parameters: Parameters, unfinished: Path) -> AlignmentTrainer:
        """Train as ``training.train_alignment_model`` does, up to what is judged."""
        loss = parameters["loss"]
        data = self.prepare(parameters["normalisation"], loss)
        if loss == "pairwise" and (data.pairs is None or data.pairs.filter(pl.col("split") == "train").is_empty()):
            raise ValueError("there are no training pairs: every two served clusters of a history tie")
        options = replace(
            self.options.training,
            loss=loss,
            tune=parameters["tune"],
            learning_rate=parameters["learning_rate"],
            epochs=parameters["epochs"],
        )
        served = self._served(data.examples, data.pairs)
        trainer = AlignmentTrainer(self.base, self.labels, options, self.k, data.multipliers, self.label_embeddings)
        trainer.fit(served["train"], served["validation"], self.log, unfinished)
        trainer.calibrate(training_rows(data.examples), served["validation"])
        return trainer

    def _served(self, examples: pl.DataFrame, pairs: pl.DataFrame | None) -> dict[str, list[ServedHistory]]:
        labelled = with_raw_rates(examples) if self.options.training.stack else examples
        return group_by_history(labelled.filter(~pl.col("unseen")), len(self.labels), pairs)

    def _drop_weights(self, trials: Sequence[Trial]) -> list[Trial]:
        """Keep the weights of the best trials only.

        The record is changed first: after a kill in between, the next call deletes weights that the record does not
        mention.
        """
        best = {trial.version for trial in best_first(trials)[:KEPT_WEIGHTS]}
        left = []
        for trial in trials:
            folder = self.folder / trial.version
            if trial.version in best:
                left.append(trial)
                continue
            if trial.figures["weights_kept"]:
                self._write_record(folder, with_weights(trial, kept=False))
            shutil.rmtree(folder / MODEL_FOLDER, ignore_errors=True)
            left.append(with_weights(trial, kept=False))
        return left

    def _judge(self, winner: Trial) -> dict[str, Any]:
        """Judge the winner on the test histories, unless it was judged already."""
        file = self.folder / f"{self.name}.test.json"
        known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"judged": []}
        if known["judged"][-1:] == [winner.version]:
            return known
        self.log(f"ranking the test histories by trial {winner.number} and by the yardsticks")
        model = self.folder / winner.version / MODEL_FOLDER
        reader = CandidateReader.open(model, self.labels)

        def score(read: CandidateStates) -> list[Float64Array]:
            return [expit(logits) for logits in reader.score(read)]

        def score_alone(read: CandidateStates) -> list[Float64Array]:
            alone = JointHead.load(model / ALONE_FILE)
            return stack_scores(read, alone.head, alone.offsets)

        stack = reader.offsets is not None
        data = self.prepare(winner.parameters["normalisation"], "pointwise")
        judgement = judge(
            JudgedModel(
                reader.read,
                score,
                PredictedRates.load(model),
                reader.structure(),
                reader.offsets,
                score_alone if stack else None,
            ),
            data.examples,
            self.labels,
            self.k,
            self.label_embeddings,
            self.options.training.seed,
        )
        test = {
            "judged": [*known["judged"], winner.version],
            "figures": judgement.figures,
            "intervals": judgement.intervals,
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
        write_json(folder / MANIFEST_FILE, record)

    def _read_trial(self, number: int) -> Trial:
        path = self.folder / self._version(number) / MANIFEST_FILE
        if not path.is_file():
            raise ValueError(
                f"{path} is missing, though the trial was finished: put it back, "
                f"or delete {self._journal} to begin the search anew"
            )
        record = json.loads(path.read_text(encoding="utf-8"))
        return Trial(**{name: record[name] for name in Trial.__dataclass_fields__})


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
