"""What publication asks before it publishes."""

from alignrec_assets.assets.publication import CHECKS_BEFORE, transition_table
from alignrec_assets.definitions import defs
from alignrec_assets.instance.check_results import checks_before


def test_publication_knows_every_check_that_stops_the_line_before_it():
    graph = defs.resolve_asset_graph()
    assert CHECKS_BEFORE & graph.asset_check_keys == checks_before(graph, transition_table.key)
