"""The study at 768 clusters: feedback for few of the pairs of history and cluster, down to one in a thousand.

The log of such a platform and its clusters are not asked for here: the clusters are the topics of the world, and few of
its users give feedback (``models.arena.few_feedback``). So no step of the line runs. What is read by the language model
is kept, as is each contest: an interrupted study resumes where it stopped.
"""

import json
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from alignrec_assets.home import Home
from alignrec_assets.settings.sources import load_settings
from models.evaluation.figures import figure_text
from models.files import MODEL_FOLDER, fingerprint, replacing, write_json
from models.language.device import choose_device
from models.progress import Log, peak_gigabytes

if TYPE_CHECKING:
    from models.alignment.candidate_reader import CandidateStates
    from models.arena.few_feedback import FewFeedback

TOPICS, USERS, ITEMS, DAYS = 768, 80_000, 7_680, 28
SEED = 1
SIZES: dict[str, Any] = {
    "served": 10,
    "apart_share": 0.1,
    "judged": 300,
    "judged_served": 32,
    "judged_apart": 16,
    "least_teachers": 5,
    "least_judges": 10,
}
HISTORIES_PER_SHARD = 256
STATES_FILE, TAUGHT_FILE, JUDGED_FILE = "states.npy", "taught.parquet", "judged.parquet"


def run_few_feedback_study(home: Home, users: int, write: Log, seed: int = SEED) -> None:
    """Simulate, read, hold a contest for each density, and write ``reports/few_feedback.json`` and its picture.

    Args:
        home: a home of its own; its ``settings.toml``, where there is none yet, gets the profile ``reference``.
        users: of the world.
        write: receives the lines.
        seed: of world, choices, bootstrap and factorisation.
    """
    from models.alignment.study_pictures import draw_densities
    from models.arena.few_feedback_contest import DENSITIES, contest_at, figures_of
    from models.arena.topics import load_topics
    from models.interests.item_embeddings import text_vectors

    if not home.settings.exists():
        with replacing(home.settings) as partial_file:
            partial_file.write_text('profile = "reference"\n', encoding="utf-8")
    study = _FewFeedbackStudy(home, users, write, seed)
    labels = [topic.name for topic in load_topics(TOPICS)[0]]
    feedback = study.feedback()
    read = study.read(feedback, labels)
    k, embeddings = study.settings.candidates.k, text_vectors(labels)
    arms = []
    for density in DENSITIES:
        kept = study.folder / f"density_{density:g}.json"
        if not kept.exists():
            write_json(kept, contest_at(density, feedback, read, embeddings, k, seed, write))
        arms.append(json.loads(kept.read_text(encoding="utf-8")))
    figures = figures_of(arms)
    report = {
        "name": "few_feedback",
        "figures": figures | {"peak_gb": round(peak_gigabytes(), 2)},
        "k": k,
        "arms": arms,
        "settings": study.identity,
        "seed": seed,
        "command": f"make study SIZE={TOPICS}",
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(home.reports / "few_feedback.json", report)
    draw_densities(arms, k, home.reports / "few_feedback.png")
    for name, value in figures.items():
        write(f"  {name:<52}{figure_text(value):>8}")
    write(f"  {home.reports / 'few_feedback.json'}")


class _FewFeedbackStudy:
    """What the contests need, kept in a folder that its sizes and the base model name."""

    def __init__(self, home: Home, users: int, write: Log, seed: int) -> None:
        from models.arena.few_feedback import FewFeedbackOptions
        from models.arena.few_feedback_contest import DENSITIES
        from models.arena.world import WorldOptions

        self.settings = load_settings(home)
        choose_device(self.settings.base_model.device)
        self.write = write
        self.world = WorldOptions(
            first_day=date(2026, 1, 5), users=users, items=ITEMS, topics=TOPICS, shelf=1, seed=seed
        )
        self.options = FewFeedbackOptions(
            length=self.settings.history.clusters,
            density=max(DENSITIES),
            **SIZES,
            seed=seed,
        )
        self.identity: dict[str, Any] = {
            "world": asdict(self.world),
            "days": DAYS,
            "feedback": asdict(self.options),
            "layers": self.settings.alignment.layers,
            "base_model": self.settings.base_model.source,
        }
        self.folder = home.reports / "study" / f"few_feedback_{fingerprint(self.identity)}"

    def feedback(self) -> "FewFeedback":
        """What teaches and what judges; the world is simulated where it is not known yet."""
        from models.arena.few_feedback import FewFeedback, few_feedback
        from models.arena.world import World

        files = [self.folder / name for name in (TAUGHT_FILE, JUDGED_FILE)]
        if not all(path.exists() for path in files):
            self.write(f"simulating {self.world.users:,} users and {DAYS} days")
            world = World(self.world)
            for _ in range(DAYS):
                world.simulate_day(world.next_day)
            found = few_feedback(world, self.options)
            for path, frame in zip(files, (found.taught, found.judged), strict=True):
                with replacing(path) as partial:
                    frame.write_parquet(partial)
        return FewFeedback(*(pl.read_parquet(path) for path in files))

    def read(self, feedback: "FewFeedback", labels: list[str]) -> "list[CandidateStates]":
        """The states of all cells, by the lower layers of the pretrained model."""
        import torch

        from models.alignment.candidate_reader import HISTORIES_PER_PASS, CandidateReader, CandidateStates
        from models.shards import shard_size, work_in_shards

        cells = pl.concat([frame.select("history", "cluster_id") for frame in (feedback.taught, feedback.judged)])
        grouped = cells.group_by("history", maintain_order=True).agg("cluster_id")
        histories, candidates = grouped["history"].to_list(), grouped["cluster_id"].to_list()
        reader: CandidateReader | None = None

        def work(part: range, folder: Path) -> None:
            nonlocal reader
            reader = reader or self._reader(labels)
            found = reader.read([histories[i] for i in part], [candidates[i] for i in part])
            np.save(folder / STATES_FILE, torch.cat(list(found.batches)).numpy())

        size = shard_size(HISTORIES_PER_SHARD, HISTORIES_PER_PASS)
        shards = work_in_shards(self.folder / "states", len(histories), size, work, "histories read", self.write)
        batches = [torch.from_numpy(np.load(shard / STATES_FILE)) for shard in shards]
        return [CandidateStates(histories, candidates, batches)]

    def _reader(self, labels: list[str]) -> Any:
        from models.alignment.candidate_reader import CandidateReader
        from models.language.base_model import materialize_base_model
        from models.language.language_model import load_tokenizer, new_scoring_model

        base = self.folder / MODEL_FOLDER
        if not base.exists():
            materialize_base_model(base, self.settings.base_model.source, self.write)
        model = new_scoring_model(base, self.world.seed, self.settings.alignment.layers)
        return CandidateReader(model, load_tokenizer(base), labels)
