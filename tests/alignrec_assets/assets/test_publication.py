"""What publication and automation ask before they go on: every check that stops the line before an asset."""

import pytest

from alignrec_assets.assets.quality_checks import checks_before
from alignrec_assets.definitions import build_definitions
from alignrec_assets.home import Home
from alignrec_assets.refresh.asset_factory import asset_key
from alignrec_assets.refresh.declarations import DECLARED
from alignrec_assets.settings.sources import load_settings, update_settings_file


@pytest.fixture(scope="module", params=["warn", "error"])
def built(request, tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("home"))
    update_settings_file(home, {"checks": {"severity": request.param}})
    return load_settings(home), build_definitions(home).resolve_asset_graph()


@pytest.mark.parametrize("asset", DECLARED)
def test_the_checks_before_an_asset_are_those_of_the_graph(built, asset):
    settings, graph = built
    upstream = set(graph.get_ancestor_asset_keys(asset_key(asset)))
    if not DECLARED[asset].daily:
        upstream |= {node.key for node in graph.asset_nodes if node.is_partitioned}
    expected = {check for check in graph.get_check_keys_for_assets(upstream) if graph.get(check).blocking}
    assert checks_before(asset, settings) == expected


def test_publication_asks_for_contracts_and_gates(built):
    settings, _ = built
    found = {check.to_user_string() for check in checks_before("publication.transition_table", settings)}
    assert {"novelty_model:gates", "raw/events:contract", "candidates/scored:contract"} <= found
    assert ("raw/events:volume" in found) == (settings.checks.severity == "error")
