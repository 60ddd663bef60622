"""The study: what the alignment model is worth, on a world whose truth is known, at the size of the profile ``study``.

64 topics, 2,016 histories, random exposures as feedback, a share of the clusters kept from training. The model learns
from the feedback of some of the users; what is held out is judged by all of them, so that little feedback to learn from
does not blur what it is judged by. Beside the model of the line: the same training with a tenth, a third and three
times the feedback, both losses without the stack, the days after the window, and the truth. An interrupted study
resumes where it stopped.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from alignrec_assets.assets.checkpoints import alignment_options
from alignrec_assets.assets.feedback import counted_cells, feedback_span
from alignrec_assets.assets.training import taught_by_some_users
from alignrec_assets.commands.run import run_beside_the_line, run_line
from alignrec_assets.commands.simulate import Simulation
from alignrec_assets.home import Home
from alignrec_assets.instance.dagster_home import prepare_instance
from alignrec_assets.refresh.checkpoints import Checkpoint, required_checkpoint
from alignrec_assets.refresh.tables import Facts
from alignrec_assets.refresh.taxonomies import cluster_labels, read_assignments, required_taxonomy
from alignrec_assets.settings.schema import Settings
from alignrec_assets.settings.sources import load_settings, update_settings_file
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.rows import read_frame, table_frame
from models.evaluation.figures import figure_text, interval_text
from models.files import MODEL_FOLDER, replacing, write_json
from models.language.device import choose_device
from models.progress import Log

if TYPE_CHECKING:
    from models.alignment.scoring import CandidatePredictions

FIRST_DAY = date(2026, 1, 5)
USERS, DAYS = 60_000, 14
LOSSES = ("pointwise", "pairwise")
AMOUNTS = {0.1: "a tenth", 1 / 3: "a third", 1.0: "all", 3.0: "three times"}
LOOKS_OF_LOSSES = 3  # times as many as of the model: seconds to equal F1@k are read off the looks
ARM_EPOCHS_SHARE = 0.25  # of the epochs of the model, for the trainings beside it
STUDY_SETTINGS: dict[str, dict[str, Any]] = {
    "calendar": {"first_day": FIRST_DAY, "last_day": date(2026, 1, FIRST_DAY.day + DAYS - 1)},
    "feedback": {"minimum_impressions": 2, "minimum_users": 1},
    "alignment": {"unseen_cluster_share": 0.125, "training_user_share": 0.05, "holdout_days": 3},
}


def run_study(home: Home, users: int, write: Log) -> None:
    """Simulate, run days and learning, train beside the model, and write ``reports/alignment.json`` anew with it all.

    Args:
        home: a home of its own; its ``settings.toml``, where there is none yet, gets the profile ``study``.
        users: of the world.
        write: receives the lines.
    """
    from models.arena.world import World, WorldOptions

    if not home.settings.exists():
        with replacing(home.settings) as partial_file:
            partial_file.write_text('profile = "study"\n', encoding="utf-8")
        update_settings_file(home, STUDY_SETTINGS)
    prepare_instance(home)
    options = WorldOptions(first_day=FIRST_DAY, users=users, items=6_000, topics=64, random_shelf=15, seed=1)
    simulation = Simulation(home, options, DAYS, DAYS)
    if simulation.finished:
        write("simulated world: skipped, all days are in the landing zone")
    else:
        write(f"simulated world: {users:,} users, {DAYS} days, fifteen random exposures a session")
        simulation.write_quiet_days(World(options), lambda line: write(f"  {line}"))
    run_line(home, None, None, write, selections=("days",))
    write("the alignment model")
    run_beside_the_line(home, "study", write)
    study = Study(home, users, write)
    found = study.truth(World(options)) | study.later_days()
    for beside in study.trainings_beside():
        found |= beside
        study.report(found)
    for line in study.report(found):
        write(line)


class Study:
    """What is measured around the alignment model that the line has trained."""

    def __init__(self, home: Home, users: int, write: Log) -> None:
        self.home = home
        self.users = users
        self.write = write
        self.settings: Settings = load_settings(home)
        choose_device(self.settings.base_model.device)
        self.warehouse = Warehouse(home)
        self.checkpoint = required_checkpoint(self.warehouse, "alignment_model")
        self.labels = cluster_labels(self.warehouse)
        with self.warehouse.reading() as connection:
            self.examples = table_frame(connection, "training.pointwise_examples")
        self.examples = self.examples.drop("as_of", "taxonomy_version", "^apart_.*$")
        manifest = self.checkpoint.manifest
        self.as_of = date.fromisoformat(manifest["as_of"])
        self.window = feedback_span(self.as_of, manifest["taxonomy"], self.settings)

    def trainings_beside(self) -> Iterator[Facts]:
        """The contest over the amount of feedback, and both losses on the same feedback; what is known after each arm.

        The losses are compared without the stack, whose head is fitted to the scores and would level the two.
        """
        amounts = []
        for amount, name in AMOUNTS.items():
            share = min(amount * self.settings.alignment.training_user_share, 1.0)
            arm = {"name": name, "amount": amount, "users": round(share * self.users)}
            found = self._model_itself() if amount == 1 else self._arm(f"amount {amount:.2f}", share, {})
            amounts.append(arm | found)
            yield {"amounts": amounts}
        options = self.settings.alignment
        alone = {"stack": False, "looks_per_epoch": options.looks_per_epoch * LOOKS_OF_LOSSES}
        losses: Facts = {}
        for loss in LOSSES:
            losses[loss] = self._arm(loss, options.training_user_share, {"loss": loss, **alone})
            yield {"losses": losses}

    def later_days(self) -> Facts:
        """How the model and the yardsticks rank the days after the window, for histories that they learned from."""
        from models.alignment.later_days import contest_of_later_days

        options = self.settings.alignment
        if not options.holdout_days:
            return {}
        with self.warehouse.reading() as connection:
            after = {
                "first_day": self.as_of + timedelta(days=1),
                "as_of": self.as_of + timedelta(days=options.holdout_days),
            }
            later = counted_cells(connection, self.window | after, self.settings)
        self.write(f"ranking the {options.holdout_days} days after the window")
        contest = contest_of_later_days(
            later,
            self.examples,
            lambda histories, candidates: self._predict(histories, candidates).ranking,
            minimum_impressions=self.settings.feedback.minimum_impressions,
            clusters=len(self.labels),
            label_embeddings=self._embeddings(),
            k=self.settings.candidates.k,
            seed=options.seed,
        )
        found = {name: getattr(contest, name) for name in ("histories", "values", "intervals", "leads")}
        return {"later_days": {"days": options.holdout_days, **found}}

    def truth(self, world: Any) -> Facts:
        """Ceilings, shares of the way to them, and what intervals and scores are worth, by the known rates."""
        from models.arena.alignment_study import truth_figures

        rates, k = self._true_rates(world), self.settings.candidates.k
        return {"truth": truth_figures(self.examples, rates, self._predict, self.checkpoint.figures, k)}

    def report(self, found: Facts) -> list[str]:
        """Add what was found to ``reports/alignment.json``, and draw the amounts; returns lines to show."""
        from models.alignment.study_pictures import draw_amounts
        from models.arena.alignment_study import compare_losses

        path = self.home.reports / "alignment.json"
        report = json.loads(path.read_text(encoding="utf-8"))
        figures, histories = report["figures"] | found["truth"], report["figures"]["held_out_histories"]
        if len(found.get("losses", {})) == len(LOSSES):
            figures |= compare_losses(found["losses"])
        beside = {name: facts for name, facts in found.items() if name != "truth"}
        write_json(path, report | {"figures": figures, "command": "make study", **beside})

        def told(name: str, value: float | None) -> str:
            interval = report["intervals"].get(name)
            return interval_text(value, interval, histories) if interval else figure_text(value, ".4g")

        picture = self.home.reports / "alignment_amounts.png"
        draw_amounts(found["amounts"], self.settings.candidates.k, picture)
        return [
            "",
            *(f"  {name:<44}{told(name, value):>24}" for name, value in sorted(figures.items())),
            f"  {path}",
        ]

    @cached_property
    def _base(self) -> Checkpoint:
        """Opened for the first arm that is trained, and once for all of them."""
        return required_checkpoint(self.warehouse, "base_model")

    @property
    def _folder(self) -> Any:
        return self.checkpoint.folder / MODEL_FOLDER

    def _predict(self, histories: list[list[int]], candidates: list[list[int]]) -> "CandidatePredictions":
        from models.alignment.scoring import CandidateScorer

        return CandidateScorer(self._folder, self.labels, "packed").predict(histories, candidates, self.write)

    def _embeddings(self) -> Any:
        from models.interests.item_embeddings import text_vectors

        return text_vectors(self.labels)

    def _true_rates(self, world: Any) -> pl.DataFrame:
        """By simulating the days again in memory."""
        self.write("simulating the days again, for the truth")
        for _ in range(DAYS):
            world.simulate_day(world.next_day)
        assigned = read_assignments(self.home, required_taxonomy(self.home))
        clusters = dict(zip(assigned["item_id"].to_list(), assigned["cluster_id"].to_list(), strict=True))
        with self.warehouse.reading() as connection:
            holders = read_frame(connection, query("evaluation.history_holders"), self.window)
        rates: pl.DataFrame = world.truth().shown_history_rates(holders, clusters)
        return rates

    def _model_itself(self) -> Facts:
        """The model of the line, in the form of an arm."""
        from models.alignment.pointwise_examples import feedback_amount

        manifest = self.checkpoint.manifest
        return feedback_amount(self.examples) | {name: manifest[name] for name in ("figures", "leads", "curve")}

    def _arm(self, name: str, share: float, changed: dict[str, Any]) -> Facts:
        """Train beside the model with some options changed, judge on the same histories, and keep the figures alone."""
        from models.alignment.pairs import pairs_for_loss
        from models.alignment.pointwise_examples import feedback_amount
        from models.alignment.training import train_alignment_model

        folder = self.home.reports / "study"
        kept = folder / f"{name.replace(' ', '_')}.json"
        stamp = {"alignment_model": self.checkpoint.version, "share": share, "changed": changed}
        known: Facts = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        if known.get("stamp") == stamp:
            self.write(f"{name}: skipped, it is in {kept}")
            return known
        self.write(f"{name}: {share:.3f} of the users")
        chosen = self.settings.alignment
        shorter = {"epochs": chosen.epochs * ARM_EPOCHS_SHARE, "keep_overtrained": False}
        options = replace(alignment_options(self.settings), **shorter | changed)
        examples = taught_by_some_users(self.warehouse, self.settings, self.examples, share, self.as_of)
        found: Facts = {"stamp": stamp, **feedback_amount(examples), "figures": {}, "curve": []}
        if not found["training_cells"]:
            self.write("  no cell has enough feedback: nothing to learn from")
            return found
        folder.mkdir(parents=True, exist_ok=True)
        output = folder / f"{name.replace(' ', '_')}_model"
        shutil.rmtree(output, ignore_errors=True)
        report = train_alignment_model(
            self._base.folder / MODEL_FOLDER,
            output,
            self.labels,
            examples,
            options,
            self.settings.candidates.k,
            lambda line: self.write(f"  {line}"),
            pairs=pairs_for_loss(examples, options.loss, chosen.pairs_per_history, chosen.seed),
            label_embeddings=self._embeddings(),
            resume=folder / f".{output.name}.unfinished",
        )
        shutil.rmtree(output)
        found |= {
            "figures": report.judgement.figures,
            "leads": report.judgement.leads,
            "curve": [vars(point) for point in report.curve],
        }
        write_json(kept, found)
        return found
