"""One declaration per asset: what it reads and on which days, and which settings count.

Dagster's dependencies and partition mappings, fingerprints, automation and the documentation follow from it; which code
makes an asset is derived, see ``code_versions``. Tests compare each declaration with the tables that its step and its
queries read, and with the settings that its step asks for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from alignrec_assets.partitions import window_start
from alignrec_assets.refresh.windows import explored_window, feedback_window
from alignrec_assets.settings.schema import Settings

Selection = Literal["days", "learning", "publication", "search", "scaling"]


@dataclass(frozen=True)
class Read:
    """An asset that is read, and how far back a day of its reader looks.

    Attributes:
        asset: its name.
        reach: ``day``: the same day; ``past``: every day up to it; ``window``: the last ``days`` days; ``latest``: only
            which day is the latest; ``whole``: the asset as it stands, for unpartitioned ones.
        days: length of the window, by the settings.
    """

    asset: str
    reach: Literal["day", "past", "window", "latest", "whole"] = "whole"
    days: Callable[[Settings], int] = lambda _: 1

    def since(self, reader: date, settings: Settings) -> date:
        """The first partition of this asset that a partition of the reader looks at; the last one is its own."""
        if self.reach not in ("window", "day"):
            return date.min
        days = self.days(settings) if self.reach == "window" else 1
        return window_start(reader, days, settings.calendar.partition)

    def covers(self, read: date, reader: date, settings: Settings) -> bool:
        """Whether a partition of the reader looks at the given partition of this asset."""
        return self.since(reader, settings) <= read <= reader


@dataclass(frozen=True)
class Declaration:
    """Everything that is said of one asset, said once.

    Attributes:
        name: of the table, as schema and table, or of the model.
        reads: the assets that its content is computed from.
        selection: the part of the line that makes it.
        kinds: labels of the UI.
        settings: what its content depends on: a section such as ``positive``, or one setting of a section.
        asks: settings that its step reads beside them, which change no content of it: limits, places, batch sizes, and
            what its inputs were made with already.
        daily: whether it has a partition for each day.
        changes: whether a day holds what changed since the day before it, so that it is made from both.
        from_landing: whether its days are made from landing files.
        gates: assets whose checks hold it back, and which it does not read.
        follows: those of ``reads`` whose news ask for it, where automation is on.
        description: of a model; tables are described in ``warehouse.tables``.
        language_model: whether it loads one: one such step runs at a time.
    """

    name: str
    reads: tuple[Read, ...]
    selection: Selection
    kinds: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    daily: bool = False
    changes: bool = False
    from_landing: bool = False
    gates: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    description: str = ""
    language_model: bool = False


def settings_of(asset: str, settings: Settings) -> dict[str, Any]:
    """The values that an asset depends on, by name: of a section such as ``positive``, or of one of its settings."""
    values = settings.model_dump(mode="json")
    found = {}
    for name in DECLARED[asset].settings:
        section, _, key = name.partition(".")
        found[name] = values[section][key] if key else values[section]
    return found


CALENDAR = ("calendar",)
PARTITION = ("calendar.partition",)
"""Of every daily table: what is made, recorded and shown at once."""
LANDING = ("landing.missing_values",)
FILTERS = ("impressions", "share_of_mean", "users")
SCORING = (
    "feedback.exposures",
    "feedback.signal",
    "feedback.window_days",
    *(f"feedback.minimum_{name}" for name in FILTERS),
    "feedback.normalisation",
    "feedback.interval",
)
"""How cells become scores; where impressions come from shows in the cells themselves."""
TRAINING = (
    *(f"alignment.{name}" for name in ("loss", "layers", "head_histories", "tune", "learning_rate", "epochs", "stack")),
    "alignment.label_vectors",
    *(f"alignment.{name}" for name in ("histories_per_batch", "histories_per_pass", "looks_per_epoch")),
    *(f"alignment.{name}" for name in ("keep_overtrained", "seed")),
    "candidates.k",
    "feedback.normalisation",
    "feedback.source",
)
"""How the alignment model is trained on its examples, and what its manifest tells of them."""
BASE, NOVELTY, ALIGNMENT = Read("base_model"), Read("novelty_model"), Read("alignment_model")
ITEMS, CLUSTERS, ITEM_CLUSTERS = Read("raw.items"), Read("interests.clusters"), Read("interests.item_clusters")

DECLARATIONS = (
    Declaration(
        "raw.items",
        reads=(),
        selection="days",
        kinds=("parquet",),
        settings=LANDING,
        asks=(*CALENDAR, "remote.landing"),
    ),
    Declaration(
        "raw.events",
        reads=(ITEMS,),
        selection="days",
        kinds=("parquet",),
        settings=(*PARTITION, *LANDING, "positive"),
        asks=CALENDAR,
        daily=True,
        from_landing=True,
    ),
    Declaration(
        "raw.feedback_logs",
        reads=(ITEMS,),
        selection="days",
        kinds=("parquet",),
        settings=(*PARTITION, *LANDING, "positive", "landing.attribution_hours", "landing.clock_tolerance_s"),
        asks=CALENDAR,
        daily=True,
        from_landing=True,
    ),
    Declaration(
        "raw.rejected_rows",
        reads=(ITEMS, Read("raw.events", "past"), Read("raw.feedback_logs", "past")),
        selection="days",
        asks=(*CALENDAR, "landing.missing_values", "landing.rejected_share_limit"),
    ),
    Declaration(
        "interests.clusters",
        reads=(ITEMS,),
        selection="days",
        kinds=("sklearn",),
        asks=("interests",),  # a taxonomy stands until `alignrec recluster`, whatever the settings say meanwhile
    ),
    Declaration(
        "interests.item_clusters",
        reads=(ITEMS, CLUSTERS),
        selection="days",
        kinds=("sklearn",),
    ),
    Declaration(
        "interests.user_cluster_days",
        reads=(Read("raw.events", "day"), ITEM_CLUSTERS),
        selection="days",
        kinds=("sql",),
        settings=PARTITION,
        daily=True,
        gates=("raw.rejected_rows",),
    ),
    Declaration(
        "interests.first_interactions",
        reads=(
            Read("raw.events", "day"),
            Read("raw.feedback_logs", "window", explored_window),
            ITEM_CLUSTERS,
            Read("interests.user_cluster_days", "past"),
        ),
        selection="days",
        kinds=("sql",),
        settings=(*PARTITION, "history.clusters", "novelty.explored_hours"),
        daily=True,
    ),
    Declaration(
        "feedback.transition_users",
        reads=(
            Read("raw.feedback_logs", "day"),
            Read("raw.events", "day"),
            CLUSTERS,
            ITEM_CLUSTERS,
            Read("interests.user_cluster_days", "past"),
            Read("interests.first_interactions", "day"),
        ),
        selection="days",
        kinds=("sql",),
        settings=(*PARTITION, "history.clusters", "feedback.source", "feedback.replay_share"),
        daily=True,
        gates=("raw.rejected_rows",),
    ),
    Declaration(
        "feedback.transition_counts",
        reads=(Read("feedback.transition_users", "day"),),
        selection="days",
        kinds=("sql",),
        settings=PARTITION,
        daily=True,
    ),
    Declaration(
        "feedback.transition_scores",
        reads=(Read("feedback.transition_users", "window", feedback_window), CLUSTERS),
        selection="days",
        kinds=("sql", "scipy"),
        settings=(*PARTITION, *SCORING),
        daily=True,
        changes=True,
    ),
    Declaration(
        "training.novel_transitions",
        reads=(Read("interests.first_interactions", "day"),),
        selection="days",
        kinds=("sql",),
        settings=PARTITION,
        daily=True,
    ),
    Declaration(
        "training.novelty_examples",
        reads=(Read("training.novel_transitions", "past"), CLUSTERS),
        selection="learning",
        kinds=("polars",),
        settings=(
            *(f"novelty.{name}" for name in ("maximum_examples", "examples_per_label_limit", "holdout_share")),
            "novelty.refresh_days",
            "novelty.seed",
            "feedback.source",
            "feedback.replay_share",
        ),
        asks=(*CALENDAR, "history.clusters", "novelty.new_transitions_share"),
    ),
    Declaration(
        "training.pointwise_examples",
        reads=(
            Read("feedback.transition_scores", "past"),
            Read("feedback.transition_users", "window", feedback_window),
            CLUSTERS,
        ),
        selection="learning",
        kinds=("polars",),
        settings=(
            *PARTITION,
            *SCORING,
            "feedback.prior",
            *(f"alignment.{name}" for name in ("holdout_share", "report_share", "holdout_days")),
            *(f"alignment.{name}" for name in ("unseen_cluster_share", "training_user_share", "seed")),
        ),
        asks=("automation.new_feedback_share", "automation.drift_limit"),
    ),
    Declaration(
        "training.pairwise_examples",
        reads=(Read("training.pointwise_examples"),),
        selection="learning",
        kinds=("polars",),
        settings=tuple(f"alignment.{name}" for name in ("loss", "pairs_per_history", "seed")),
        follows=("training.pointwise_examples",),
    ),
    Declaration(
        "candidates.histories",
        reads=(Read("interests.user_cluster_days", "past"), CLUSTERS),
        selection="learning",
        kinds=("sql",),
        settings=("history.clusters",),
        asks=(*PARTITION, "candidates.unplanned_share"),
    ),
    Declaration(
        "base_model",
        reads=(),
        selection="learning",
        kinds=("huggingface", "pytorch"),
        settings=("base_model.source",),
        description="The pretrained language model that both models start from, as a plain safetensors checkpoint.",
        language_model=True,
    ),
    Declaration(
        "novelty_model",
        reads=(BASE, Read("training.novelty_examples"), CLUSTERS),
        selection="learning",
        kinds=("huggingface", "pytorch"),
        settings=tuple(
            f"novelty.{name}"
            for name in ("head", "tune", "learning_rate", "batch_size", "epochs", "most_steps", "seed")
        ),
        asks=("novelty",),  # its manifest repeats how the examples were chosen
        description="Proposes a user's next, never-seen interest: by what the base model reads in labels, or by the "
        "base model tuned on fewer than 8,000 novel transitions.",
        language_model=True,
    ),
    Declaration(
        "alignment_model",
        reads=(BASE, Read("training.pointwise_examples"), Read("training.pairwise_examples"), CLUSTERS),
        selection="learning",
        kinds=("huggingface", "pytorch"),
        settings=(*TRAINING, "alignment.minimum_histories"),
        asks=("alignment", "feedback.exposures"),  # its manifest repeats how examples were chosen and split
        gates=("novelty_model",),  # behind a model that is not published, minutes of training would come to nothing
        follows=("training.pointwise_examples", "training.pairwise_examples"),
        description="Predicts how much users of a history will like a cluster: a linear head on the base model.",
        language_model=True,
    ),
    Declaration(
        "alignment_search",
        reads=(BASE, Read("training.pointwise_examples"), CLUSTERS),
        selection="search",
        kinds=("optuna", "pytorch"),
        settings=(*TRAINING, "alignment.pairs_per_history", "feedback.interval", "search.seed"),
        # A larger budget resumes the same search, and its examples passed the filter already.
        asks=("search.trials", "search.minutes", "alignment", *(f"feedback.minimum_{name}" for name in FILTERS)),
        description="Trials of other settings of the alignment model; the best on the validation histories is judged "
        "on the test histories.",
        language_model=True,
    ),
    Declaration(
        "registry.checkpoints",
        reads=(BASE, NOVELTY, ALIGNMENT, CLUSTERS, Read("alignment_search")),
        selection="learning",
        kinds=("python",),
        follows=("novelty_model", "alignment_model", "alignment_search"),
    ),
    Declaration(
        "candidates.pools",
        reads=(Read("candidates.histories"), NOVELTY, CLUSTERS, Read("training.novelty_examples")),
        selection="publication",
        kinds=("pytorch",),
        settings=tuple(
            f"candidates.{name}"
            for name in ("k", "draws_per_cluster", "temperature", "engine", "most_left_out", "seed")
        ),
        asks=("candidates.histories_per_shard",),  # results do not depend on the size of the shards
        follows=("novelty_model", "candidates.histories"),
        language_model=True,
    ),
    Declaration(
        "candidates.scored",
        reads=(Read("candidates.pools"), ALIGNMENT, CLUSTERS),
        selection="publication",
        kinds=("pytorch",),
        settings=("candidates.k", "candidates.scoring_engine", "candidates.most_lost"),
        asks=("candidates.histories_per_shard",),
        follows=("candidates.pools", "alignment_model"),
        language_model=True,
    ),
    Declaration(
        "inference_scaling",
        reads=(Read("candidates.histories"), NOVELTY, ALIGNMENT, CLUSTERS),
        selection="scaling",
        kinds=("pytorch",),
        settings=("candidates.k", "candidates.temperature"),
        asks=("candidates",),  # its report tells all of them
        description="What more draws and a higher temperature buy, by the exact distribution of best-of-n.",
        language_model=True,
    ),
    Declaration(
        "publication.transition_table",
        reads=(
            Read("candidates.scored"),
            Read("candidates.pools"),
            NOVELTY,
            ALIGNMENT,
            CLUSTERS,
            Read("feedback.transition_scores", "latest"),
        ),
        selection="publication",
        kinds=("parquet",),
        settings=("candidates.k", "publication.ranking"),
        # Gates and checks, the bucket, and what the manifest repeats of how pools and scores were made.
        asks=(
            *("publication", "checks.severity", "remote.published"),
            *("candidates", "history", "feedback.window_days", "feedback.source", *PARTITION),
        ),
        follows=("candidates.scored",),
    ),
    Declaration(
        "publication.versions",
        reads=(Read("publication.transition_table"),),
        selection="publication",
        kinds=("parquet",),
        follows=("publication.transition_table",),
    ),
)
DECLARED = {declared.name: declared for declared in DECLARATIONS}


def ancestors(asset: str) -> set[str]:
    """The assets that an asset is made from or held back by, near and far."""
    near = {read.asset for read in DECLARED[asset].reads} | {*DECLARED[asset].gates}
    return near.union(*map(ancestors, near))
