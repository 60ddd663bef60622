"""The last results of asset checks, as Dagster's storage keeps them."""

from collections.abc import Collection

import dagster as dg

from alignrec_assets.instance.dagster_private import ENDED_CHECK


def failed_checks(instance: dg.DagsterInstance, checks: Collection[dg.AssetCheckKey]) -> dict[str, str]:
    """Of these checks those that stop the line: they failed when they ran last. With what they said."""
    last = last_results(instance, checks)
    return {
        check.to_user_string(): last[check].description or "see the run that it failed in"
        for check in sorted(last, key=str)
        if not last[check].passed and last[check].severity == dg.AssetCheckSeverity.ERROR
    }


def last_results(
    instance: dg.DagsterInstance, checks: Collection[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, dg.AssetCheckEvaluation]:
    """Of checks that ran: one that is under way, or lost its process, says nothing yet.

    One query for all but these: automation asks for each of fifteen assets at every tick.
    """
    storage = instance.event_log_storage
    found = {}
    for check, latest in storage.get_latest_asset_check_execution_by_key(list(checks)).items():
        is_ended = latest.status in ENDED_CHECK
        ended = [latest] if is_ended else storage.get_asset_check_execution_history(check, 1, status=ENDED_CHECK)
        for record in ended:
            if record.event and record.event.asset_check_evaluation:
                found[check] = record.event.asset_check_evaluation
    return found
