"""``Settings``, all sections together, and the profiles: named sizes that change several defaults at once."""

from typing import Any, Literal

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from alignrec_assets.settings.sections import (
    AlignmentSettings,
    AutomationSettings,
    BaseModelSettings,
    CalendarSettings,
    CandidateSettings,
    CheckSettings,
    FeedbackSettings,
    HistorySettings,
    HousekeepingSettings,
    InterestSettings,
    LandingSettings,
    NoveltySettings,
    PositiveSettings,
    PublicationSettings,
    RemoteSettings,
    SearchSettings,
    ServingSettings,
)

ENV_PREFIX = "ALIGNREC_"
ENV_DELIMITER = "__"
PROFILES: dict[str, dict[str, dict[str, Any]]] = {
    "demo": {},
    "study": {
        "interests": {"clusters": 64},
        "novelty": {"maximum_examples": 7900},
        "alignment": {
            "layers": 20,
            "tune": "top:4",
            "head_histories": 2048,
            "holdout_share": 0.3,
            "report_share": 0.67,
            "keep_overtrained": True,
        },
    },
    "reference": {
        "interests": {"clusters": 761},
        "novelty": {"maximum_examples": 7900},
        "alignment": {"layers": 20},  # as in the study
        "candidates": {"k": 5, "engine": "free"},
    },
}
RETIRED = {"alignment.steps": "alignment.epochs", "alignment.evaluate_every": "alignment.looks_per_epoch"}
"""Settings of older versions, and what took their place: ``settings.toml`` may keep them, and nobody reads them."""


class Settings(BaseSettings):
    """Every setting of the project."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    profile: Literal["demo", "study", "reference"] = "demo"
    """Named sizes: each profile changes several defaults at once."""
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
    serving: ServingSettings = ServingSettings()
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
