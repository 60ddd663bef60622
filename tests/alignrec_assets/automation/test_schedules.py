"""What the schedules and sensors ask for, and the tag by which the UI sorts their runs."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from alignrec_assets.definitions import build_definitions
from alignrec_assets.home import Home
from alignrec_assets.settings.sources import update_settings_file

DEFINITIONS = build_definitions(Home.from_environment())

KIND = "alignrec/kind"
EVENTS = dg.AssetKey(["raw", "events"])


def asked(schedule, moment):
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(instance, scheduled_execution_time=moment)
        (request,) = DEFINITIONS.resolve_schedule_def(schedule).evaluate_tick(context).run_requests
    job = DEFINITIONS.resolve_job_def(DEFINITIONS.resolve_schedule_def(schedule).job_name)
    return request, job


def test_the_novelty_model_is_tuned_on_mondays():
    request, job = asked("novelty_fine_tune", datetime(2026, 1, 5, 4, tzinfo=UTC))
    assert datetime(2026, 1, 5).weekday() == 0
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == {
        "base_model",
        "training/novelty_examples",
        "novelty_model",
        "candidates/histories",
    }
    assert request.tags[KIND] == "schedule"


def test_the_taxonomy_is_reviewed_by_its_check_alone():
    request, job = asked("taxonomy_review", datetime(2026, 2, 1, 5, tzinfo=UTC))
    assert not job.asset_layer.selected_asset_keys
    (check,) = job.asset_layer.asset_graph.asset_check_keys
    assert check.name == "new_items_fit"
    assert request.tags[KIND] == "schedule"


def test_what_the_settings_no_longer_keep_goes_on_sundays():
    moment = datetime(2026, 1, 4, 6, tzinfo=UTC)
    assert moment.isoweekday() == 7
    request, job = asked("weekly_housekeeping", moment)
    assert job.name == "housekeeping"
    assert request.tags[KIND] == "schedule"
    assert DEFINITIONS.resolve_schedule_def("weekly_housekeeping").default_status is dg.DefaultScheduleStatus.STOPPED


@pytest.mark.parametrize("name", ["days", "learning", "publication", "housekeeping"])
def test_the_jobs_are_tagged_by_what_they_run(name):
    assert DEFINITIONS.resolve_job_def(name).tags[KIND] == name


def test_only_an_open_log_ages(tmp_path):
    home = Home(tmp_path)
    update_settings_file(home, {"calendar": {"first_day": date(2026, 1, 1)}, "checks": {"fresh_days": 3}})
    wanted = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=3))
    assert build_definitions(home).resolve_asset_graph().get(EVENTS).freshness_policy == wanted
    update_settings_file(home, {"calendar": {"first_day": date(2026, 1, 1), "last_day": date(2026, 1, 9)}})
    assert build_definitions(home).resolve_asset_graph().get(EVENTS).freshness_policy is None


def test_runs_of_the_automation_are_tagged():
    assert DEFINITIONS.resolve_sensor_def("automation").run_tags[KIND] == "automation"
