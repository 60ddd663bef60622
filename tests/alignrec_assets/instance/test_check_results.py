"""The last results of checks, in Dagster's own storage."""

import dagster as dg
import pytest

from alignrec_assets.instance.check_results import failed_checks, last_results

KEYS = [dg.AssetCheckKey(dg.AssetKey("table"), name) for name in ("stops", "warns", "never_ran")]


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tell(instance, key, passed, severity=dg.AssetCheckSeverity.ERROR, description=None):
    result = dg.AssetCheckEvaluation(key.asset_key, key.name, passed=passed, severity=severity, description=description)
    instance.report_runless_asset_event(result)


def test_what_failed_last_and_is_an_error_stops_the_line(instance):
    stops, warns, _ = KEYS
    tell(instance, stops, False, description="a day is broken")
    tell(instance, warns, False, dg.AssetCheckSeverity.WARN)
    assert failed_checks(instance, KEYS) == {"table:stops": "a day is broken"}
    tell(instance, stops, True)
    assert failed_checks(instance, KEYS) == {}
    assert set(last_results(instance, KEYS)) == {stops, warns}


def test_a_check_that_raises_leaves_its_last_result(instance):
    stops, *_ = KEYS

    @dg.asset
    def table():
        pass

    @dg.asset_check(asset=table, name="stops")
    def raises():
        raise RuntimeError("no process")

    tell(instance, stops, False)
    defs = dg.Definitions(assets=[table], asset_checks=[raises])
    defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance, raise_on_error=False)
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([stops])[stops]
    assert latest.event.asset_check_evaluation is None
    assert failed_checks(instance, [stops]) == {"table:stops": "see the run that it failed in"}
