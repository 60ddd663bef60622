"""What publication and automation ask before they go on, and what ranks the table that is published."""

import numpy as np
import polars as pl
import pytest

from alignrec_assets.assets.publication import PublicationGateError, _planned, _ranking
from alignrec_assets.assets.quality_checks import checks_before
from alignrec_assets.definitions import build_definitions
from alignrec_assets.home import Home
from alignrec_assets.refresh.asset_factory import asset_key
from alignrec_assets.refresh.checkpoints import Checkpoint
from alignrec_assets.refresh.declarations import DECLARED
from alignrec_assets.settings.sources import load_settings, update_settings_file
from models.alignment.served_yardsticks import save_yardsticks
from models.evaluation.proven_ranking import Ranking
from models.feedback.affinity import AdditiveAffinity


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


CANDIDATES = pl.DataFrame(
    [
        ([0, 1], 1, 2, 0.5, 0.2),
        ([0, 1], 2, 3, 0.3, 0.9),
        ([0, 1], 3, 4, 0.2, 0.1),  # never served
    ],
    schema={
        "history": pl.List(pl.Int32),
        "draw_order": pl.Int64,
        "cluster_id": pl.Int32,
        "novelty_probability": pl.Float64,
        "alignment_score": pl.Float64,
    },
    orient="row",
)


def checkpoint_of(folder, lead):
    """A checkpoint whose model has this lead over random; the prior of the cluster is told from random."""
    (folder / "model").mkdir()
    affinity = np.zeros((5, 5))
    affinity[0, 4] = 0.5
    prior = np.array([0.2, 0.2, 0.1, 0.1, 0.2])
    yardsticks = {"prior": AdditiveAffinity(prior, np.zeros((5, 5))), "additive": AdditiveAffinity(prior, affinity)}
    save_yardsticks(yardsticks, folder / "model")
    figures = {"held_out_histories": 30, "ndcg_at_k_prior": 0.6, "ndcg_at_k_additive": 0.5}
    leads = {"random": {"ndcg_at_k": lead}, "prior": {"ndcg_at_k": [-0.1, 0.1]}}
    over_random = {name: {"ndcg_at_k": [0.1, 0.2]} for name in yardsticks}
    return Checkpoint(folder, {"k": 2, "figures": figures, "leads": leads, "leads_over_random": over_random})


def settings_that_rank_by(ranking, home):
    update_settings_file(home, {"publication": {"ranking": ranking}})
    return load_settings(home)


@pytest.mark.parametrize(
    ("wanted", "lead", "expected"),
    [
        ("auto", [0.1, 0.2], "alignment"),
        ("auto", [-0.1, 0.2], "prior"),
        ("alignment", [-0.1, 0.2], "alignment"),
        ("novelty", [0.1, 0.2], "novelty"),
    ],
)
def test_what_ranks_follows_from_the_contest_unless_the_settings_force_it(wanted, lead, expected, home, tmp_path):
    ranking = _ranking(settings_that_rank_by(wanted, home), checkpoint_of(tmp_path, lead))
    assert ranking.by == expected
    assert ("publication.ranking" in ranking.reason) == (wanted != "auto")


def test_without_an_alignment_model_novelty_ranks_unless_alignment_is_asked_for(home):
    for wanted in ("auto", "novelty"):
        assert _ranking(settings_that_rank_by(wanted, home), None).by == "novelty"
    with pytest.raises(PublicationGateError, match=r"set publication\.ranking to auto"):
        _ranking(settings_that_rank_by("alignment", home), None)


@pytest.mark.parametrize(
    ("by", "planned"),
    [("novelty", [2, 3]), ("alignment", [3, 2]), ("prior", [4, 2]), ("additive", [4, 2])],
)
def test_the_table_is_planned_by_what_ranks(by, planned, tmp_path):
    rows = _planned(CANDIDATES, Ranking(by, ""), checkpoint_of(tmp_path, [0.1, 0.2]), 2)
    assert rows["cluster_id"].to_list() == planned
    scores = dict(CANDIDATES.select("cluster_id", "alignment_score").iter_rows())
    assert rows["alignment_score"].to_list() == [scores[cluster] for cluster in planned]
