"""The study on a small home: a real line in a world of 64 topics, and figures that only the truth can give."""

import json

import pytest
from support.line import SMALL, command

from alignrec_assets.commands.study import STUDY_SETTINGS
from alignrec_assets.home import Home
from alignrec_assets.settings.sources import update_settings_file

pytestmark = pytest.mark.full  # two minutes where two cores are slow


@pytest.fixture(scope="module")
def studied(tmp_path_factory, tiny_model_folder):
    home = Home(tmp_path_factory.mktemp("study") / "home")
    home.create()
    alignment = {**SMALL["alignment"], "unseen_cluster_share": 0.3, "holdout_days": 2}
    settings = SMALL | STUDY_SETTINGS | {"base_model": {"source": str(tiny_model_folder)}, "alignment": alignment}
    update_settings_file(home, settings | {"candidates": {"k": 1}})
    return home, command(home.path, "alignrec", "study", "--users", 400, "--home", home.path)


def test_the_report_tells_how_far_the_model_gets_on_the_way_to_the_truth(studied):
    home, _ = studied
    figures = json.loads((home.reports / "alignment.json").read_text())["figures"]
    for measure, short in (("f1_at_k", "f1"), ("ndcg_at_k", "ndcg")):
        random, ceiling = figures[f"{measure}_random"], figures[f"{measure}_ceiling"]
        assert random < ceiling <= 1
        assert figures[f"headroom_share_{short}"] == pytest.approx((figures[measure] - random) / (ceiling - random))
    assert "unseen_cluster_headroom_share" in figures
    assert -1 <= figures["correlation_with_truth"] <= 1
    assert "yardsticks_beaten_share" in figures
    assert json.loads((home.reports / "alignment.json").read_text())["later_days"]["days"] == 2


def test_a_second_study_goes_on_where_the_first_was(studied):
    home, _ = studied
    before = (home.reports / "alignment.json").read_bytes()
    output = command(home.path, "alignrec", "study", "--users", 400, "--home", home.path).stdout
    assert "simulated world: skipped" in output
    assert "steps," not in output
    after = json.loads((home.reports / "alignment.json").read_text())
    assert after["figures"] == json.loads(before)["figures"]
