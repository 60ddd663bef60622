"""The sections of ``settings.toml``: each setting with its default, its range and its meaning.

Only the Dagster side reads settings; ``models`` gets every choice as an argument. The text under a setting is its
meaning in ``docs/settings.md``.
"""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Bucket = Annotated[str, StringConstraints(pattern=r"^s3://[A-Za-z0-9][A-Za-z0-9._-]+(/[^/]+)*$")]
Tune = Annotated[str, StringConstraints(pattern=r"^(full|lora|top:[1-9][0-9]*)$")]


class Section(BaseModel):
    """A table of ``settings.toml``; a key that nobody knows is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CalendarSettings(Section):
    """Days of the log. Ingestion writes them; a log without ``last_day`` is open."""

    first_day: date = date(2026, 1, 1)
    last_day: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "CalendarSettings":
        if self.last_day is not None and self.last_day < self.first_day:
            raise ValueError(f"last_day {self.last_day} lies before first_day {self.first_day}")
        return self


class LandingSettings(Section):
    """How landing files are read."""

    rejected_share_limit: Share = 0.05
    """A run fails when a larger share of the rows breaks the contract."""
    attribution_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 24.0
    """Outcomes count for an impression this long."""


class RemoteSettings(Section):
    """A bucket of an S3-compatible store. Endpoint and credentials come from the environment alone."""

    landing: Bucket | None = None
    """Such as s3://bucket/landing: what is new or changed there is fetched before the days run."""
    published: Bucket | None = None
    """Such as s3://bucket/published: each version that becomes current is uploaded there."""


class PositiveSettings(Section):
    """When an event without ``positive`` counts as positive playback: any of these is enough."""

    watch_share: Annotated[float, Field(gt=0)] | None = 0.5
    rating_at_least: float | None = None
    liked: bool = True
    completed: bool = True
    when_unknown: bool = False
    """What an event counts as that carries no signal at all; true for logs of plays or clicks only."""


class InterestSettings(Section):
    """Interest clusters."""

    clusters: Annotated[int, Field(ge=2, le=100_000)] = 24
    embedding: Literal["minilm", "tfidf"] = "minilm"
    seed: int = 1


class HistorySettings(Section):
    """The history S of a user."""

    clusters: Annotated[int, Field(ge=1, le=8)] = 2
    """K: how many clusters describe a user."""


class BaseModelSettings(Section):
    """The pretrained language model that both models start from."""

    source: str | None = None
    """A model folder or hub id; none means the embedded SmolLM2-135M-Instruct."""


class NoveltySettings(Section):
    """Light fine-tuning of the novelty model."""

    maximum_examples: Annotated[int, Field(ge=1, lt=8000)] = 3400
    examples_per_label_limit: Annotated[float, Field(ge=1)] = 3.0
    """A label gets at most this many times the even share of the examples."""
    holdout_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of users held out."""
    refresh_days: Annotated[int, Field(ge=1)] = 28
    """The model learns from the first week (or from what there is of it), and anew every so many days."""
    tune: Tune = "top:8"
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    batch_size: Annotated[int, Field(ge=1)] = 64
    epochs: Annotated[int, Field(ge=1)] = 2
    seed: int = 1


class FeedbackSettings(Section):
    """From impressions to scores L."""

    source: Literal["logged", "random", "replay"] = "logged"
    signal: Literal["positive", "liked", "shared", "completed", "not_skipped"] = "positive"
    """What the alignment model learns from; every signal is scored."""
    window_days: Annotated[int, Field(ge=1)] = 28
    minimum_impressions: Annotated[int, Field(ge=1)] = 5
    minimum_share_of_mean: Annotated[float, Field(ge=0)] = 0.2
    """A cell with fewer impressions than this share of the mean cell is dropped too: the bar rises with the log."""
    minimum_users: Annotated[int, Field(ge=1)] = 3
    prior: Literal["cluster", "affinity"] = "affinity"
    """What training scores are shrunk towards: the prior of the cluster, or also what histories that share a member
    with this one say of it. Daily scores are shrunk towards the cluster."""
    normalisation: Literal["quantile", "rate", "z_score", "lift"] = "rate"
    """``lift`` is over the cluster's prior, by which predicted scores are multiplied again before they rank."""
    interval: Annotated[float, Field(gt=0, le=0.5)] | Literal["auto"] = 0.05
    """Scores are rounded to this fixed interval; ``auto`` derives it from the median width of the posteriors."""
    replay_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of users whose first interactions are replayed as feedback; the others teach the novelty model."""


class AlignmentSettings(Section):
    """Training of the alignment model. The defaults suit a model of 30 layers and a few hundred histories."""

    holdout_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of histories held out, to select the checkpoint and to report it."""
    report_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the held-out histories that report; the others select."""
    holdout_days: Annotated[int, Field(ge=0)] = 0
    """The last days of the log that neither teach nor select: training reads the scores as of the day before them."""
    training_user_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the users whose feedback teaches; held-out histories are judged by all users, so that less feedback to
    learn from does not blur what it is judged by."""
    minimum_histories: Annotated[int, Field(ge=2)] = 30
    """With fewer scored histories no model is trained, and the table is planned by novelty alone."""
    loss: Literal["pointwise", "pairwise"] = "pointwise"
    """Soft labels, or pairs of clusters of one history."""
    pairs_per_history: Annotated[int, Field(ge=1)] = 64
    unseen_cluster_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of clusters kept from training, to measure what words tell of a cluster that was never served."""
    layers: Annotated[int, Field(ge=1)] | None = None
    """How many of the lower decoder layers of the base model are kept; none means all."""
    head_histories: Annotated[int, Field(ge=1)] = 256
    """How many of the training histories the linear head is fitted to."""
    tune: Tune = "top:10"
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    histories_per_batch: Annotated[int, Field(ge=1)] = 8
    histories_per_pass: Annotated[int, Field(ge=1)] = 8
    """Gradients of the passes of a batch add up: fewer take less memory."""
    steps: Annotated[int, Field(ge=1)] = 24
    evaluate_every: Annotated[int, Field(ge=1)] = 8
    validation_histories: Annotated[int, Field(ge=1)] = 96
    """How many of the histories that select are ranked at each evaluation."""
    stack: bool = True
    """Whether the head is fitted together with an additive affinity model of the same feedback: the first learns from
    words, for all clusters alike, the second keeps what words do not tell. It predicts rates: with another
    `feedback.normalisation` than rate, the language model ranks alone."""
    keep_overtrained: bool = False
    """Whether the weights at two and three times the selected step are kept as comparison arms."""
    seed: int = 1


class SearchSettings(Section):
    """`alignrec search`: trials of other normalisations, losses, layers, steps and learning rates."""

    trials: Annotated[int, Field(ge=1, le=999)] = 20
    """Finished trials in all; with a higher number a finished search resumes."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """No trial begins when those before it have taken this long together; none means no such limit."""
    seed: int = 1


class CandidateSettings(Section):
    """Inference scaling: how many draws, how hot."""

    k: Annotated[int, Field(ge=1, le=100)] = 3
    """Clusters served for one history."""
    draws_per_cluster: Annotated[int, Field(ge=1, le=1000)] = 5
    """n = this times k."""
    temperature: Annotated[float, Field(gt=0, le=10)] = 1.5
    engine: Literal["exact", "pruned", "free", "vllm", "vllm_choice"] = "exact"
    """How pools are drawn; the cost of ``pruned`` and ``free`` does not grow with the number of labels, ``vllm`` is for
    models that need an accelerator, and ``vllm_choice`` follows a distribution of its own (structured output)."""
    most_left_out: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Of the pruned engine: the largest share of the labels' mass that may stay unread."""
    scoring_engine: Literal["packed", "vllm"] = "packed"
    """How candidates are scored: all of a history in one pass, or each pair alone by vLLM."""
    histories_per_shard: Annotated[int, Field(ge=1)] = 2048
    """About how many histories are drawn or scored between two writes; what a kill can cost."""
    seed: int = 1


class PublicationSettings(Section):
    """What serving gets."""

    ranking: Literal["auto", "alignment", "novelty"] = "auto"
    """``auto`` ranks by alignment as soon as there is an alignment model, by novelty alone before."""
    format_validity_limit: Share = 0.9
    """A novelty model whose free samples are valid labels less often is not published."""
    recall_limit: Share = 0.0
    """Nor is one with less recall@3 on held-out users; 0 publishes any."""


class AutomationSettings(Section):
    """What has to happen before the alignment model is trained without anyone asking."""

    new_feedback_share: Annotated[float, Field(gt=0)] = 0.1
    """New impressions, as a share of those in the window that the last training set was made from ..."""
    drift_limit: Share = 0.05
    """... or the root mean square change of the clusters' rates, chance taken off."""


class CheckSettings(Section):
    """Checks beyond the contracts of the tables, and whether one that fails stops what is downstream."""

    severity: Literal["warn", "error"] = "warn"
    """``error`` stops what is downstream, in the same run and by the conditions of automation, and publication."""
    trailing_days: Annotated[int, Field(ge=1)] = 7
    """Days are compared with so many before them."""
    volume_change: Annotated[float, Field(gt=1)] = 3.0
    """A day may have this many times the rows of the mean of the days before it, or one over it."""
    clustered_share: Share = 0.9
    """At least this share of a day's events is of items that have a cluster."""
    rejected_share: Share = 0.05
    """At most this share of a day's landing rows breaks the data contract."""
    drift_limit: Share = 0.1
    """The clusters' rates of a day may differ by this (root mean square, chance taken off) from the days before."""
    loss_rise: Annotated[float, Field(gt=1)] = 1.5
    """The held-out loss of a training may end at this many times its least."""
    fresh_days: Annotated[float, Field(gt=0)] = 2.0
    """In an open log, days are overdue this long after the last one came."""
    fresh_table_days: Annotated[float, Field(gt=0)] = 14.0
    """Likewise, the published table."""
    similarity_share: Share = 0.8
    """New items are at least this share as similar to their clusters as those that the taxonomy was made of."""


class HousekeepingSettings(Section):
    """What `alignrec prune` keeps. What the line or a kept version uses stays in any case."""

    raw_days: Annotated[int, Field(ge=1)] | None = None
    """Last days of the log whose raw rows stay in the warehouse; none keeps all. Landing files stay, and a day that is
    needed again is read again from them."""
    run_days: Annotated[int, Field(ge=1)] = 90
    """Days that finished Dagster runs are kept; those that made what stands now are kept longer."""
    checkpoints_per_model: Annotated[int, Field(ge=1)] = 3
    """The newest checkpoints of each model, and the newest searches."""
    published_versions: Annotated[int, Field(ge=1)] = 10
    """The current version, those that it replaced, and then the newest."""
    unfinished_days: Annotated[int, Field(ge=1)] = 14
    """Days that an interrupted training, search or drawing of pools can still be taken up."""
