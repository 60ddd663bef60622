"""The code location: every asset of the project on the home that ``ALIGNREC_HOME`` names.

Nothing else belongs here. Steps run in one process per run: importing the language-model libraries costs 8 s and 500 MB
in every step process otherwise, and two models at once would share two cores.
"""

import dagster as dg

from alignrec_assets.assets import alignment_search as search
from alignrec_assets.assets import candidates, checkpoints, feedback, interests, publication, raw, training
from alignrec_assets.assets import inference_scaling as scaling
from alignrec_assets.assets.quality_checks import CHECKS
from alignrec_assets.automation.conditions import (
    automated,
    automation_sensor,
    fine_tune_schedule,
    housekeeping_schedule,
    review_schedule,
)
from alignrec_assets.automation.landing_sensor import landing_sensor
from alignrec_assets.automation.selections import SCALING, SEARCH, SELECTIONS, STUDY
from alignrec_assets.home import Home
from alignrec_assets.housekeeping.pruning import housekeeping
from alignrec_assets.instance.dagster_home import in_process_executor
from alignrec_assets.instance.step_log import step_logger
from alignrec_assets.refresh.asset_settings import marked_by_settings
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.sources import load_settings

HOME = Home.from_environment()
SETTINGS = load_settings(HOME)

defs = dg.Definitions(
    assets=automated(
        marked_by_settings(
            dg.load_assets_from_modules(
                [raw, interests, feedback, training, checkpoints, search, candidates, publication, scaling]
            ),
            SETTINGS,
        ),
        SETTINGS,
    ),
    asset_checks=CHECKS,
    jobs=[
        *(
            dg.define_asset_job(name, selection, description=why, tags={"alignrec/kind": name})
            for name, selection, why in (*SELECTIONS, SEARCH, STUDY, SCALING)
        ),
        housekeeping,
    ],
    sensors=[landing_sensor, automation_sensor],
    schedules=[fine_tune_schedule, review_schedule, housekeeping_schedule],
    resources={"home": HomeResource(database=str(HOME.warehouse))},
    loggers={"console": dg.colored_console_logger, "steps": step_logger},
    executor=in_process_executor,
)
