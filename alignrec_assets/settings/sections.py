"""The sections of ``settings.toml``: each setting with its default, its unit, its range and its meaning.

Only the Dagster side reads settings; ``models`` gets every choice as an argument. The text under a setting is its
meaning in ``docs/settings.md``.
"""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, StringConstraints, model_validator
from pydantic_core import CoreSchema


@dataclass(frozen=True)
class Shown:
    """What ``docs/settings.md`` shows of a type, as a keyword of its JSON schema.

    Attributes:
        keyword: ``unit`` of a number (empty where it has none), or ``form`` of a text.
        text: what is shown.
    """

    keyword: Literal["unit", "form"]
    text: str

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The JSON schema of the type, with the keyword."""
        return {**handler(core_schema), self.keyword: self.text}


def unit(name: str) -> Shown:
    """The unit of a number."""
    return Shown("unit", name)


Share = Annotated[float, Field(ge=0, le=1), unit("share")]
InnerShare = Annotated[float, Field(gt=0, lt=1), unit("share")]
Days = Annotated[int, Field(ge=1), unit("days")]
Seed = Annotated[int, unit("")]
Bucket = Annotated[
    str,
    StringConstraints(pattern=r"^s3://[A-Za-z0-9][A-Za-z0-9._-]+(/[^/]+)*$"),
    Shown("form", "`s3://bucket` or `s3://bucket/prefix`"),
]
Tune = Annotated[
    str, StringConstraints(pattern=r"^(full|lora|top:[1-9][0-9]*)$"), Shown("form", "`full`, `lora` or `top:<number>`")
]
Device = Annotated[
    str, StringConstraints(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$"), Shown("form", "`auto`, `cpu`, `cuda` or `cuda:<n>`")
]
Partition = Literal["day", "week", "month"]
LearningRate = Annotated[float, Field(gt=0, lt=1), unit("")]


class Section(BaseModel):
    """A table of ``settings.toml``; a key that nobody knows is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class CalendarSettings(Section):
    """The days of the log, in UTC. `alignrec ingest` and `alignrec simulate` write them."""

    first_day: date = date(2026, 1, 1)
    """First day of the log. Rows with an earlier time stamp are out of scope: they are counted, and not read."""
    last_day: date | None = None
    """Last day of a closed log; later rows are out of scope. None: the log is open, and each day can run when it is
    over."""
    partition: Partition = "day"
    """What is made, recorded and shown at once: a day, a week from Monday on, or a month, each called by its first day.
    Histories go by the moment, whatever the partition; windows of days are widened to whole partitions. A change makes
    every partition again."""

    @model_validator(mode="after")
    def _in_order(self) -> "CalendarSettings":
        if self.last_day is not None and self.last_day < self.first_day:
            raise ValueError(f"last_day {self.last_day} lies before first_day {self.first_day}")
        return self


class LandingSettings(Section):
    """How landing files are read."""

    rejected_share_limit: Share = 0.05
    """A run fails when a larger share of all landing rows breaks the data contract."""
    attribution_hours: Annotated[float, Field(gt=0, le=24 * 30), unit("hours")] = 24.0
    """Attribution window: an outcome counts for an impression when it follows within this time."""
    clock_tolerance_s: Annotated[float, Field(ge=0, le=3600), unit("seconds")] = 5.0
    """An outcome counts too when it comes at most this long before its impression: clocks of two machines differ."""
    missing_values: tuple[str, ...] = (
        *("\\N", "NULL", "Null", "null", "None", "none", "nil", "undefined"),
        *("<NA>", "(null)", "(none)"),
    )
    """Spellings of nothing: an id, a time, a number or a flag that is one of these is missing. Titles, descriptions,
    tags and categories stay as they are."""


class RemoteSettings(Section):
    """Buckets of an S3-compatible store. Endpoint and credentials come only from the environment."""

    landing: Bucket | None = None
    """Landing files are fetched from here: before the days run, new and changed files are downloaded. None: no
    bucket."""
    published: Bucket | None = None
    """Each version that becomes current is uploaded to here. None: no bucket."""


class PositiveSettings(Section):
    """The rule for positive playback, for rows without `positive`. A row is positive when any of these holds."""

    watch_share: Annotated[float, Field(gt=0), unit("share of the item's duration")] | None = 0.5
    """At least this share of the item was watched. None: watch time does not count."""
    rating_at_least: Annotated[float, unit("rating")] | None = None
    """The rating is at least this high. None: ratings do not count. Impressions have no ratings."""
    liked: bool = True
    """Whether a like is enough."""
    completed: bool = True
    """Whether playing to the end is enough."""
    when_unknown: bool = False
    """Whether a row without any signal is positive: true for logs that hold only plays or clicks."""


class InterestSettings(Section):
    """Interest clusters. A change takes effect when the taxonomy is made again (`alignrec recluster`)."""

    clusters: Annotated[int, Field(ge=2, le=100_000), unit("clusters")] = 24
    """Number of clusters in a new taxonomy."""
    embedding: Literal["minilm", "tfidf"] = "minilm"
    """Text embedding of items that come without one: the language model all-MiniLM-L6-v2, or tf-idf."""
    seed: Seed = 1
    """Random seed of the clustering."""


class HistorySettings(Section):
    """The history S of a user."""

    clusters: Annotated[int, Field(ge=1, le=8), unit("clusters")] = 2
    """K: the number of clusters in a history."""


class BaseModelSettings(Section):
    """The pretrained language model that the novelty model and the alignment model start from."""

    source: str | None = None
    """A model folder, or an id of the model hub. None: the embedded SmolLM2-135M-Instruct."""

    device: Device = "auto"
    """Where the models run: `cpu`, `cuda`, or one of several GPUs as `cuda:1`; `auto`: on a GPU if there is one."""


class NoveltySettings(Section):
    """Training of the novelty model."""

    head: Literal["label_vectors", "words"] = "label_vectors"
    """`label_vectors`: the language model reads every label once, and a law over the labels is fitted to all novel
    transitions, with what counting knows of them. `words`: it is tuned to write labels token by token, as in the
    paper."""
    maximum_examples: Annotated[int, Field(ge=1, lt=8000), unit("examples")] = 3400
    """The most examples (novel transitions) that are chosen for training."""
    examples_per_label_limit: Annotated[float, Field(ge=1), unit("times")] = 3.0
    """The most examples of one target label, as a multiple of its even share of the examples."""
    holdout_share: InnerShare = 0.2
    """Share of the users who are held out. Of the others a tenth choose how the model is trained."""
    refresh_days: Days = 28
    """The model learns from the first week of the log, and again after every period of this length."""
    explored_hours: Annotated[float, Field(ge=0), unit("hours")] = 24.0
    """A first interaction less than so long after an exploration impression of its cluster is no example: exploration
    caused it. 0: none is left out."""
    new_transitions_share: Share = 0.05
    """It learns again only if its novel transitions are more or fewer by this share than when it learned last, so that
    late rows and single days do not train it anew. 0: whatever changed."""
    tune: Tune = "top:8"
    """Which weights are trained: all, LoRA adapters, or those of the given number of top decoder layers."""
    learning_rate: LearningRate = 1e-3
    """Highest learning rate of the schedule."""
    batch_size: Annotated[int, Field(ge=1), unit("examples")] = 64
    """Examples in one optimiser step."""
    epochs: Annotated[int, Field(ge=1), unit("passes")] = 2
    """Passes over the training examples, at the least. Few examples have too few steps in them to learn how labels are
    written: see `most_steps`."""
    most_steps: Annotated[int, Field(ge=1), unit("steps")] = 110
    """More passes follow, each time as many as before, while the held-out loss falls and they fit into this many
    optimiser steps in all. The default is what 3,400 examples take in 2 passes, so that few examples take no longer.
    The weights with the lowest held-out loss are kept."""
    seed: Seed = 1
    """Random seed of the choice of examples and of the training."""


class FeedbackSettings(Section):
    """From impressions to scores L. A cell is a history S with a served cluster."""

    source: Literal["logged", "random", "replay"] = "logged"
    """Which impressions count: all that are logged, only random exposures, or replayed first interactions."""
    exposures: Literal["novel", "all"] = "novel"
    """Which impressions are scored: those of clusters that were novel to the user, or all."""
    signal: Literal["positive", "liked", "shared", "completed", "not_skipped"] = "positive"
    """The signal that the alignment model learns from. Scores are made for all signals."""
    window_days: Days = 28
    """Scores as of a day use the impressions of this many days up to it."""
    minimum_impressions: Annotated[int, Field(ge=1), unit("impressions")] = 5
    """A cell with fewer impressions is left out."""
    minimum_share_of_mean: Annotated[float, Field(ge=0), unit("share of the mean")] = 0.2
    """A cell is also left out with fewer impressions than this share of the mean cell, so that the bar rises with the
    log."""
    minimum_users: Annotated[int, Field(ge=1), unit("users")] = 3
    """A cell with fewer distinct users is left out."""
    prior: Literal["cluster", "affinity"] = "affinity"
    """What rates of training examples are shrunk towards: the rate of the cluster, or also the rates of the cluster
    after histories that share a member with this one. Daily scores are always shrunk towards the rate of the
    cluster."""
    normalisation: Literal["quantile", "rate", "z_score", "lift"] = "quantile"
    """How shrunk rates become scores. `quantile`: the share of impressions in worse cells, so that a sparse signal has
    as many levels as a common one. `lift` divides by the prior of the cluster; predicted scores are multiplied by it
    again before they rank. A stack (`alignment.stack`) learns raw rates whatever this is."""
    interval: Annotated[float, Field(gt=0, le=0.5), unit("score")] | Literal["auto"] = "auto"
    """Scores are rounded to multiples of this. `auto`: derived from the median width of the credible intervals."""
    replay_share: InnerShare = 0.5
    """Share of the users whose first interactions are replayed as feedback. The other users teach the novelty model."""


class AlignmentSettings(Section):
    """Training of the alignment model. The defaults suit a model of 30 layers and a few hundred histories."""

    holdout_share: InnerShare = 0.3
    """Share of the histories that are held out, to select a checkpoint and to report on it."""
    report_share: InnerShare = 0.5
    """Share of the held-out histories that are used for the report. The others select the checkpoint."""
    holdout_days: Annotated[int, Field(ge=0), unit("days")] = 0
    """Number of last days of the log that are not used: training reads the scores as of the day before them."""
    training_user_share: Annotated[float, Field(gt=0, le=1), unit("share")] = 1.0
    """Share of the users whose feedback is used for training. Held-out histories use the feedback of all users."""
    minimum_histories: Annotated[int, Field(ge=2), unit("histories")] = 30
    """With fewer histories that have scores of 2k clusters (k: `candidates.k`), nothing could tell whether a model
    learned more than chance: none is trained, and the table is planned by novelty alone."""
    loss: Literal["pointwise", "pairwise"] = "pointwise"
    """Cross-entropy on the scores (soft labels), or on pairs of clusters of one history."""
    pairs_per_history: Annotated[int, Field(ge=1), unit("pairs")] = 64
    """The most pairs of one history, for the pairwise loss."""
    unseen_cluster_share: Annotated[float, Field(ge=0, lt=1), unit("share")] = 0.0
    """Share of the clusters that are kept from training, to measure how well their labels alone predict their
    scores."""
    layers: Annotated[int, Field(ge=1), unit("layers")] | None = None
    """Number of lower decoder layers of the base model that are kept. None: all."""
    head_histories: Annotated[int, Field(ge=1), unit("histories")] = 256
    """Number of training histories that the linear head is fitted to; that of a stack at each evaluation."""
    tune: Tune = "top:10"
    """Which weights are trained: all, LoRA adapters, or those of the given number of top layers (of those kept)."""
    learning_rate: LearningRate = 1e-4
    """Highest learning rate of the schedule."""
    histories_per_batch: Annotated[int, Field(ge=1), unit("histories")] = 8
    """Histories in one optimiser step, each with all its served clusters."""
    histories_per_pass: Annotated[int, Field(ge=1), unit("histories")] = 8
    """Histories in one forward and backward pass. Gradients of the passes of a step are added: fewer take less
    memory."""
    epochs: Annotated[float, Field(gt=0), unit("epochs")] = 3.0
    """How many times each training history is shown. The weights from before stay where no later ones are proven, and
    one epoch is the last where the language model then reads nothing beside the label vectors."""
    looks_per_epoch: Annotated[int, Field(ge=1), unit("looks")] = 1
    """Evaluations in each epoch on the histories that select. Each fits a stack again to the body as it then is."""
    stack: bool = True
    """Whether the head is fitted together with an additive affinity model of the same feedback. The language model
    learns from the words of all clusters, the affinity model learns what words do not tell. Both learn raw rates,
    whatever `feedback.normalisation` is."""
    label_vectors: bool = True
    """Whether a stack has heads on the vectors of the labels by the sentence encoder. They score by a look-up. The
    language model then reads candidates only if the validation histories prove that it adds to them."""
    keep_overtrained: bool = False
    """Whether the weights at two and three times the selected step are kept, for comparison."""
    seed: Seed = 1
    """Random seed of the holdouts, of the choice of pairs and of the training."""


class SearchSettings(Section):
    """`alignrec search`: trials of other losses, layers, epochs, learning rates, and without a stack normalisations."""

    trials: Annotated[int, Field(ge=1, le=999), unit("trials")] = 20
    """Number of finished trials in all. With a higher number a finished search resumes."""
    minutes: Annotated[float, Field(gt=0), unit("minutes")] | None = None
    """No trial begins when the trials before it have taken this long together. None: no limit."""
    seed: Seed = 1
    """Random seed of the search."""


class CandidateSettings(Section):
    """Inference scaling: how candidates are drawn and scored."""

    k: Annotated[int, Field(ge=1, le=100), unit("clusters")] = 3
    """Number of clusters served for one history."""
    draws_per_cluster: Annotated[int, Field(ge=1, le=1000), unit("draws")] = 5
    """Draws for each of the k clusters: n = k times this."""
    temperature: Annotated[float, Field(gt=0, le=10), unit("")] = 1.5
    """Temperature at which candidates are drawn from the label distribution."""
    engine: Literal["exact", "pruned", "free", "vllm", "vllm_choice"] = "exact"
    """How pools are drawn. The cost of `pruned` and `free` does not grow with the number of labels; `vllm` is for
    models that need an accelerator; `vllm_choice` (structured output) follows a distribution of its own."""
    most_left_out: InnerShare = 0.01
    """For the engine `pruned`: the largest share of the probability of all labels that may stay uncomputed."""
    scoring_engine: Literal["packed", "vllm"] = "packed"
    """How candidates are scored: all candidates of a history in one pass, or each pair alone by vLLM."""
    most_lost: Annotated[float, Field(ge=0, lt=1), unit("share")] = 0.01
    """In a table of more than 4,096 histories, the language model reads only the candidates that can change which k
    win. What it would say of the others is forecast. This share of the winners' lead over the other candidates, in
    predicted rate, may be lost by that. 0: it reads all candidates."""
    unplanned_share: InnerShare = 0.05
    """For histories of three clusters or more: the planned ones are chosen anew when a larger share of the users hold
    one that is not planned."""
    histories_per_shard: Annotated[int, Field(ge=1), unit("histories")] = 2048
    """Approximate number of histories that are drawn or scored between two writes; an interruption loses at most
    these."""
    seed: Seed = 1
    """Random seed of the draws."""


class PublicationSettings(Section):
    """What is published for serving."""

    ranking: Literal["auto", "alignment", "novelty"] = "auto"
    """What ranks the candidates. `auto`: the alignment model if its contest on held-out histories tells it from a
    random order and does not show it worse than the prior of the cluster; else the prior or additive affinity, the
    better one of those that are told from a random order; else novelty alone."""
    format_validity_limit: Share = 0.9
    """A novelty model is not published when a smaller share of its free samples are valid labels."""
    recall_limit: Share = 0.0
    """A novelty model is not published with a lower recall@3 on held-out users. 0 publishes any."""


class ServingSettings(Section):
    """How a published table is served."""

    skip_known: bool = True
    """Whether clusters that a user has interacted with are left out of what the user is served."""


class AutomationSettings(Section):
    """When the alignment model learns again, by automation or by `alignrec run`: when either of these is reached."""

    new_feedback_share: Annotated[float, Field(ge=0), unit("share")] = 0.1
    """New impressions, as a share of the impressions that the last training set was made from. 0: whatever is new."""
    drift_limit: Share = 0.05
    """Root mean square change of the positive rates of the clusters, corrected for chance."""


class CheckSettings(Section):
    """Checks beyond the contracts of the tables, and whether a failed check stops what is downstream."""

    severity: Literal["warn", "error"] = "warn"
    """`error`: a failed check stops what is downstream in the same run, automation, and publication. `warn`: it does
    not."""
    trailing_days: Days = 7
    """A day is compared with this many days before it."""
    volume_change: Annotated[float, Field(gt=1), unit("times")] = 3.0
    """A day may have at most this many times the mean number of rows of the days before it, and at least the mean
    divided by this."""
    clustered_share: Share = 0.9
    """At least this share of a day's events must be of items that have a cluster."""
    rejected_share: Share = 0.05
    """At most this share of a day's landing rows may break the data contract."""
    unmatched_share: Share = 0.05
    """At most this share of a day's outcomes may belong to no impression."""
    drift_limit: Share = 0.1
    """The positive rates of the clusters on a day may differ by at most this from the days before it (root mean square,
    corrected for chance)."""
    loss_rise: Annotated[float, Field(gt=1), unit("times")] = 1.5
    """The held-out loss at the end of a training may be at most this many times its lowest value."""
    fresh_days: Annotated[float, Field(gt=0), unit("days")] = 2.0
    """In an open log, a new day is overdue this long after the last one."""
    fresh_table_days: Annotated[float, Field(gt=0), unit("days")] = 14.0
    """In an open log, a new published table is overdue this long after the last one."""
    similarity_share: Share = 0.8
    """The mean similarity of new items to their clusters must be at least this share of that of the items that the
    taxonomy was made from."""


class HousekeepingSettings(Section):
    """What `alignrec prune` keeps. It always keeps what the line or a kept version uses."""

    raw_days: Days | None = None
    """Number of last days of the log whose raw rows stay in the warehouse. None: all. Landing files stay, and a day
    that is needed again is read from them."""
    run_days: Days = 90
    """Days that finished Dagster runs are kept. Runs that made current assets are kept longer."""
    checkpoints_per_model: Annotated[int, Field(ge=1), unit("checkpoints")] = 3
    """Number of newest checkpoints of each model, and of newest searches, that are kept."""
    published_versions: Annotated[int, Field(ge=1), unit("versions")] = 10
    """Number of published versions that are kept: the current one, those that it replaced, and then the newest."""
    unfinished_days: Days = 14
    """Days that an interrupted training, search or drawing of pools is kept, so that it can resume."""
