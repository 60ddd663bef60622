"""All settings of the project, where each value comes from, and the named sizes.

A value is taken from the first place that has it: an environment variable (``ALIGNREC_CANDIDATES__K=5``), the home's
``settings.toml``, the profile named there, the default below. Only the Dagster side reads settings; ``models`` gets
every choice as an argument.
"""

import os
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from alignrec_assets.home import HOME_VARIABLE, Home
from models.files import replacing

ENV_PREFIX = "ALIGNREC_"
ENV_DELIMITER = "__"
Share = Annotated[float, Field(ge=0, le=1)]
Bucket = Annotated[str, StringConstraints(pattern=r"^s3://[A-Za-z0-9][A-Za-z0-9._-]+(/[^/]+)*$")]
Tune = Annotated[str, StringConstraints(pattern=r"^(full|lora|top:[1-9][0-9]*)$")]


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it, its place and what would do."""


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
    """Training of the alignment model."""

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
    """How many of the histories that select are ranked at each look."""
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
    """Finished trials in all; with a higher number a finished search goes on."""
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
    models that need an accelerator, and ``vllm_choice`` follows a law of its own (structured output)."""
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


PROFILES: dict[str, dict[str, dict[str, Any]]] = {
    "demo": {},
    "study": {
        "interests": {"clusters": 64},
        "novelty": {"maximum_examples": 7900},
        "feedback": {"interval": 0.01},
        "alignment": {
            "layers": 20,
            "tune": "top:4",
            "head_histories": 2048,
            "steps": 48,
            "evaluate_every": 24,
            "holdout_share": 0.3,
            "report_share": 0.67,
            "keep_overtrained": True,
        },
    },
    "reference": {
        "interests": {"clusters": 761},
        "novelty": {"maximum_examples": 7900},
        # A stack would solve a system of 8 x 761 unknowns a round, for hours; layers as in the study.
        "alignment": {"stack": False, "layers": 20},
        "candidates": {"k": 5, "engine": "free"},
    },
}


class Settings(BaseSettings):
    """Every setting of the project."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER, extra="forbid", frozen=True
    )

    profile: Literal["demo", "study", "reference"] = "demo"
    calendar: CalendarSettings = CalendarSettings()
    landing: LandingSettings = LandingSettings()
    remote: RemoteSettings = RemoteSettings()
    positive: PositiveSettings = PositiveSettings()
    interests: InterestSettings = InterestSettings()
    history: HistorySettings = HistorySettings()
    base_model: BaseModelSettings = BaseModelSettings()
    novelty: NoveltySettings = NoveltySettings()
    feedback: FeedbackSettings = FeedbackSettings()
    alignment: AlignmentSettings = AlignmentSettings()
    search: SearchSettings = SearchSettings()
    candidates: CandidateSettings = CandidateSettings()
    publication: PublicationSettings = PublicationSettings()
    automation: AutomationSettings = AutomationSettings()
    checks: CheckSettings = CheckSettings()
    housekeeping: HousekeepingSettings = HousekeepingSettings()

    @model_validator(mode="after")
    def _enough_clusters(self) -> "Settings":
        needed = self.history.clusters + self.candidates.k
        if self.interests.clusters < needed:
            raise ValueError(
                f"interests.clusters = {self.interests.clusters} is too few: history.clusters + candidates.k = {needed}"
            )
        return self


def load_settings(home: Home) -> Settings:
    """Settings of the home, checked.

    Raises:
        SettingsError: naming each wrong setting and what would do.
    """
    in_file = settings_in_file(home)
    _refuse_unknown_variables()
    profile = os.environ.get(f"{ENV_PREFIX}PROFILE", in_file.get("profile", "demo"))

    class HomeSettings(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Environment over file over profile."""
            return env_settings, TomlConfigSettingsSource(settings_cls, home.settings), init_settings

    sizes: dict[str, Any] = PROFILES.get(str(profile), {})
    try:
        return HomeSettings(**sizes)
    except ValidationError as error:
        raise SettingsError(_explain(error, home.settings)) from error


def describe_settings(home: Home) -> list[tuple[str, Any, str]]:
    """(name, value, origin) of every setting; the origin is default, profile, ``settings.toml`` or the variable."""
    settings = load_settings(home)
    in_file = settings_in_file(home)
    in_profile = PROFILES[settings.profile]
    rows: list[tuple[str, Any, str]] = []
    for section, value in settings:
        entries = dict(value) if isinstance(value, Section) else {"": value}
        for key, entry in entries.items():
            name = f"{section}.{key}" if key else section
            rows.append((name, entry, _origin(name, in_file, in_profile, settings.profile)))
    return rows


def masked(value: object) -> str:
    """A value as it may be shown: what stands before the host of an address is a secret."""
    return re.sub(r"(?<=://)\S*@", "***@", str(value))


def settings_in_file(home: Home) -> dict[str, Any]:
    """What the home's ``settings.toml`` says, unchecked; empty where there is none.

    Raises:
        SettingsError: it is not valid TOML.
    """
    path = home.settings
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}. Mend that line, or move the file away.") from error


def update_settings_file(home: Home, values: dict[str, dict[str, Any]]) -> None:
    """Set values in the home's ``settings.toml``; everything else in it, comments included, stays."""
    document = tomlkit.parse(home.settings.read_text(encoding="utf-8") if home.settings.exists() else "")
    for section, entries in values.items():
        if section not in document:
            document.add(section, tomlkit.table())
        table: Any = document[section]
        for key, value in entries.items():
            table[key] = value
    with replacing(home.settings) as partial:
        partial.write_text(tomlkit.dumps(document), encoding="utf-8")


def _variable(name: str) -> str:
    return ENV_PREFIX + name.replace(".", ENV_DELIMITER).upper()


def _refuse_unknown_variables() -> None:
    """A misspelt variable would be ignored without a word, and the run would use a default."""
    known = {HOME_VARIABLE}
    for section, field in Settings.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, Section):
            known.update(_variable(f"{section}.{key}") for key in nested.model_fields)
        known.add(_variable(section))
    unknown = sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name.upper() not in known)
    if unknown:
        raise SettingsError(
            f"unknown environment variable {', '.join(unknown)}: `alignrec settings` lists every name, "
            "for instance ALIGNREC_CANDIDATES__K for candidates.k"
        )


def _origin(name: str, in_file: dict[str, Any], in_profile: dict[str, dict[str, Any]], profile: str) -> str:
    section, _, key = name.partition(".")
    variables = {_variable(name), _variable(section)}
    for variable in os.environ:
        if variable.upper() in variables:
            return f"environment {variable}"
    if (key in in_file.get(section, {})) if key else section in in_file:
        return "settings.toml"
    if key in in_profile.get(section, {}):
        return f"profile {profile}"
    return "default"


def _explain(error: ValidationError, path: Path) -> str:
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        # Under a name that nobody knows may stand a key that was meant for the environment.
        hidden = isinstance(problem["input"], dict) or problem["type"] == "extra_forbidden"
        shown = "" if hidden else f" (it is {masked(repr(problem['input']))})"
        lines.append(f"setting {name or 'combination'}: {problem['msg']}{shown}")
    place = f"{path} or an environment variable {ENV_PREFIX}<SECTION>__<NAME>"
    return "; ".join(lines) + f". Mend it in {place}; `alignrec settings` lists all."
