"""The code location: everything that Dagster knows of a home, built by one function.

Steps run in one process per run: importing the language-model libraries costs 8 s and 500 MB in every
step process otherwise, and two models at once would share two cores.
"""

import dagster as dg

from alignrec_assets.assets import (
    alignment_search,
    candidates,
    checkpoints,
    feedback,
    inference_scaling,
    interests,
    planned_histories,
    publication,
    raw,
    training,
)
from alignrec_assets.assets.quality_checks import build_checks
from alignrec_assets.automation.landing_sensor import landing_sensor
from alignrec_assets.automation.rules import automated, build_automation_sensor, build_conditions
from alignrec_assets.automation.schedules import SCHEDULES
from alignrec_assets.automation.selections import SCALING, SEARCH, SELECTIONS, STUDY
from alignrec_assets.home import Home
from alignrec_assets.housekeeping.pruning import housekeeping
from alignrec_assets.instance.dagster_home import in_process_executor
from alignrec_assets.instance.step_log import step_logger
from alignrec_assets.partitions import days_of
from alignrec_assets.refresh.asset_factory import build_assets, steps_of
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.sources import load_settings

STEP_MODULES = (
    raw,
    interests,
    feedback,
    training,
    checkpoints,
    alignment_search,
    planned_histories,
    candidates,
    publication,
    inference_scaling,
)


def build_definitions(home: Home) -> dg.Definitions:
    """Assets, checks, jobs, sensors and schedules of a home, under its settings and on its calendar."""
    settings = load_settings(home)
    conditions = build_conditions(home)
    assets = build_assets(steps_of(STEP_MODULES), settings, days_of(settings.calendar))
    return dg.Definitions(
        assets=automated(assets, conditions, settings),
        asset_checks=build_checks(settings.checks.severity),
        jobs=[
            *(
                dg.define_asset_job(name, selection, description=why, tags={"alignrec/kind": name})
                for name, selection, why in (*SELECTIONS, SEARCH, STUDY, SCALING)
            ),
            housekeeping,
        ],
        sensors=[landing_sensor, build_automation_sensor(conditions)],
        schedules=SCHEDULES,
        resources={"home": HomeResource(database=str(home.warehouse))},
        loggers={"console": dg.colored_console_logger, "steps": step_logger},
        executor=in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster's own commands load: the home that ``ALIGNREC_HOME`` names."""
    return build_definitions(Home.from_environment())
