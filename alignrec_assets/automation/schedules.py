"""Schedules: what goes by the calendar; all of them are off until switched on."""

import dagster as dg

from alignrec_assets.assets.quality_checks import TAXONOMY_REVIEW
from alignrec_assets.housekeeping.pruning import housekeeping

FINE_TUNE = dg.ScheduleDefinition(
    "novelty_fine_tune",
    cron_schedule="0 4 * * 1",
    execution_timezone="UTC",
    target=dg.AssetSelection.assets("base_model", "training/novelty_examples", "novelty_model", "candidates/histories"),
    tags={"alignrec/kind": "schedule"},
    description="Weekly: the novelty model learns and histories are chosen anew where that is due, else nothing.",
)

REVIEW = dg.ScheduleDefinition(
    "taxonomy_review",
    cron_schedule="0 5 1 * *",
    execution_timezone="UTC",
    target=dg.AssetSelection.checks(TAXONOMY_REVIEW),
    tags={"alignrec/kind": "schedule"},
    description="Monthly: whether items that are new still fit the clusters that stand (`alignrec recluster`).",
)

HOUSEKEEPING = dg.ScheduleDefinition(
    "weekly_housekeeping",
    cron_schedule="0 6 * * 0",
    execution_timezone="UTC",
    job=housekeeping,
    tags={"alignrec/kind": "schedule"},
    description="Weekly: what the settings under housekeeping no longer keep is removed.",
)

SCHEDULES = (FINE_TUNE, REVIEW, HOUSEKEEPING)
