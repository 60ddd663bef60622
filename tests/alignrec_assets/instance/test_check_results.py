"""The last results of checks, in Dagster's own storage."""

import dagster as dg
import pytest

from alignrec_assets.instance.check_results import checks_before, failed_checks, last_results

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


def test_before_a_whole_asset_stand_all_daily_ones_and_before_a_day_what_it_is_made_from():
    days = dg.DailyPartitionsDefinition("2026-01-05")

    def asset(name, deps=(), partitions=None, blocking=True):
        spec = dg.AssetCheckSpec("contract", asset=name, blocking=blocking)

        @dg.asset(name=name, deps=list(deps), partitions_def=partitions, check_specs=[spec])
        def made():
            return dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="contract", passed=True)])

        return made

    far = asset("far")
    assets = [far, near := asset("near", [far], blocking=False), asset("day", [near], days), asset("whole", [near]),
              asset("other", (), days)]  # fmt: skip
    graph = dg.Definitions(assets=assets).resolve_asset_graph()
    names = {
        name: {check.to_user_string() for check in checks_before(graph, dg.AssetKey(name))} for name in ("day", "whole")
    }
    assert names == {"day": {"far:contract"}, "whole": {"far:contract", "day:contract", "other:contract"}}
