"""Ticks of the automation conditions on ephemeral instances, told as JSON on the last line.

``python conditions.py [scenario ...]`` on the home of the environment. A scenario is a JSON list, and has an instance
of its own: its first tick sees nothing new; then each entry is told to the instance and followed by one tick. An entry
is an event, or a list of such: ``made:novelty_model``, ``made:raw/events:2026-01-06``,
``broke:interests/user_cluster_days:2026-01-06`` (a run that fails), ``passed:novelty_model:gates`` or
``failed:novelty_model:gates``. A process of its own, as Dagster's daemon is: its settings are those of the environment.
"""

import json
import sys
from unittest.mock import patch

import dagster as dg

from alignrec_assets.definitions import build_definitions
from alignrec_assets.home import Home
from alignrec_assets.resources import HomeResource

HOME = Home.from_environment()
DEFINITIONS = build_definitions(HOME)
GRAPH = DEFINITIONS.resolve_asset_graph()
RESOURCES = {"home": HomeResource(database=str(HOME.warehouse))}


def tell(instance, event):
    what, name, *rest = event.split(":")
    key = dg.AssetKey(name.split("/"))
    if what == "made":
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=rest[0] if rest else None))
    elif what == "broke":
        with patch("alignrec_assets.refresh.days.replace_days", side_effect=RuntimeError("broken")):
            job = dg.define_asset_job("broken", dg.AssetSelection.assets(key)).resolve(
                DEFINITIONS.resolve_asset_graph()
            )
            job.execute_in_process(instance=instance, partition_key=rest[0], raise_on_error=False, resources=RESOURCES)
    else:
        passed = what == "passed"
        instance.report_runless_asset_event(dg.AssetCheckEvaluation(key, rest[0], passed=passed, blocking=True))


def ticks(entries):
    cursor, found = None, []
    keys = GRAPH.get_all_asset_keys()
    with dg.DagsterInstance.ephemeral() as instance:
        for entry in [[], *entries]:
            for event in [entry] if isinstance(entry, str) else entry:
                tell(instance, event)
            evaluated = dg.evaluate_automation_conditions(defs=DEFINITIONS, instance=instance, cursor=cursor)
            cursor = evaluated.cursor
            asked = {}
            for key in sorted(keys, key=str):
                if evaluated.get_num_requested(key):
                    partitions = evaluated.get_requested_partitions(key)
                    asked[key.to_user_string()] = sorted(partition for partition in partitions if partition)
            found.append(asked)
    return found


if __name__ == "__main__":
    print(json.dumps([ticks(json.loads(scenario)) for scenario in sys.argv[1:]]))
