"""What the UI marks as stale on a home, told as JSON on the last line: {asset: [partition, ...]}, "" for a whole asset.

A process of its own, as the UI is: the settings of a home are read when the code location loads.
"""

import json

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from alignrec_assets.definitions import build_definitions
from alignrec_assets.home import Home


def main():
    graph = build_definitions(Home.from_environment()).resolve_asset_graph()
    found = {}
    with dg.DagsterInstance.get() as instance:
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        for key in sorted(graph.executable_asset_keys, key=str):
            days = graph.get(key).partitions_def
            partitions = days.get_partition_keys() if days else [None]
            stale = [each or "" for each in partitions if resolver.get_status(key, each) == StaleStatus.STALE]
            if stale:
                found[key.to_user_string()] = stale
    print(json.dumps(found))


main()
