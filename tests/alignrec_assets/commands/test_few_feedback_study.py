"""The study of few feedback in a small world: what it reports, and that it goes on where it stopped."""

import json

import pytest

from alignrec_assets.commands import few_feedback_study
from alignrec_assets.home import Home
from models.arena import few_feedback_contest


@pytest.fixture
def small(monkeypatch):
    sizes = {"served": 4, "judged": 6, "judged_served": 4, "judged_apart": 3, "least_teachers": 2, "least_judges": 3}
    monkeypatch.setattr(few_feedback_study, "SIZES", few_feedback_study.SIZES | sizes | {"apart_share": 0.2})
    for name, value in {"TOPICS": 24, "ITEMS": 300, "DAYS": 5}.items():
        monkeypatch.setattr(few_feedback_study, name, value)
    monkeypatch.setattr(few_feedback_contest, "DENSITIES", (0.3, 0.1))


@pytest.mark.usefixtures("small")
def test_it_reports_every_density_and_resumes(tmp_path, tiny_model_folder):
    home = Home(tmp_path / "home")
    home.create()
    home.settings.write_text(
        f'[base_model]\nsource = "{tiny_model_folder}"\n[candidates]\nk = 1\n[alignment]\nlayers = 1\n'
    )
    lines: list[str] = []
    few_feedback_study.run_few_feedback_study(home, 1_500, lines.append)
    path = home.reports / "few_feedback.json"
    report = json.loads(path.read_text())
    assert [arm["density"] for arm in report["arms"]] == [0.3, 0.1]
    assert report["arms"][0]["cells"] > report["arms"][1]["cells"]
    assert 0 < report["figures"]["ndcg_at_k_random_served_0.1"] < 1
    assert (home.reports / "few_feedback.png").stat().st_size > 10_000
    assert any("simulating" in line for line in lines)
    path.unlink()
    lines.clear()
    few_feedback_study.run_few_feedback_study(home, 1_500, lines.append)
    assert json.loads(path.read_text())["arms"] == report["arms"]
    assert not any("simulating" in line or "density 0" in line for line in lines)
