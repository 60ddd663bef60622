"""Every picture is drawn from one point, from none, and from many, and says what is told apart from chance."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import image
from matplotlib import pyplot as plt

from models.alignment.checkpoint_selection import ValidationPoint
from models.alignment.pictures import draw_alignment_contest, draw_alignment_curves
from models.alignment.search_pictures import draw_search
from models.alignment.study_pictures import draw_amounts
from models.alignment.trials import Trial
from models.drawing import against_chance, draw_course, draw_legend
from models.novelty.contest import NoveltyContest
from models.novelty.pictures import draw_novelty_contest, draw_novelty_curve
from models.novelty.training import LossPoint, NoveltyReport

YARDSTICKS = ("random", "prior", "training_means", "additive")
COUNTS = pytest.mark.parametrize("count", [0, 1, 12])


def figures(known):
    names = ("f1_at_k", "ndcg_at_k")
    found = dict.fromkeys(names, 0.6 if known else None)
    found |= {f"{name}_{other}": 0.2 + 0.1 * place for name in names for place, other in enumerate(YARDSTICKS)}
    found |= {f"{name}_users_apart": 0.5 for name in names if known}
    return found | {f"{name}_split_half": 0.61 for name in names} | {"ece": 0.02 if known else None}


def intervals(known):
    found = {name: value for name, value in figures(known).items() if "_at_k" in name and value is not None}
    return {name: (value - 0.1, value + 0.1) for name, value in found.items()}


def judgement(count):
    leads = {name: {"f1_at_k": [-0.1, 0.3], "ndcg_at_k": [0.1, 0.2]} for name in YARDSTICKS} if count else {}
    rates = np.linspace(0.1, 0.4, count)
    calibration = SimpleNamespace(predicted=rates, observed=rates**1.1) if count else None
    return SimpleNamespace(
        figures=figures(count > 0), intervals=intervals(count > 0), model="stack", held_out_histories=count,
        leads=leads, calibration=calibration, predicted=rates, observed=rates * 1.2,
    )  # fmt: skip


def trial(number, value, loss="pointwise"):
    parameters = {"normalisation": "quantile", "loss": loss, "learning_rate": 1e-4 * (number + 1)}
    parameters |= {"tune": "all", "epochs": 3.0}
    found = {"f1_at_k": value, "intervals": {}, "histories": 0}
    return Trial(number=number, version="", parameters=parameters, figures=found, curve=[], made_at="")


def drawn(path):
    """The pixels, most of which are white and some of which are not."""
    pixels = image.imread(path)[:, :, :3]
    assert 0.005 < (pixels.min(axis=2) < 0.9).mean() < 0.6
    return pixels


@COUNTS
def test_alignment_curves(tmp_path, count):
    points = [
        ValidationPoint(
            10 * n, 0.6 - n / 100, 0.65 - n / 90, 0.4 + n / 40, 0.6 + n / 50, histories=n,
            intervals={"f1_at_k": [0.3, 0.6], "ndcg_at_k": [0.5, 0.7]},
        )
        for n in range(1, count + 1)
    ]  # fmt: skip
    report = SimpleNamespace(curve=points, selected_step=10 * max(1, count), judgement=judgement(count))
    draw_alignment_curves(report, 3, tmp_path / "curves.png")
    drawn(tmp_path / "curves.png")


@COUNTS
def test_alignment_contest(tmp_path, count):
    draw_alignment_contest(judgement(count), 3, tmp_path / "contest.png")
    drawn(tmp_path / "contest.png")


@COUNTS
def test_search(tmp_path, count):
    trials = tuple(trial(n, 0.4 + 0.02 * (n % 5), ("pointwise", "pairwise")[n % 2]) for n in range(count))
    winner = trials[-1] if trials else trial(0, None)
    judged = judgement(count)
    test = {name: getattr(judged, name) for name in ("figures", "intervals", "leads", "held_out_histories")}
    draw_search(SimpleNamespace(trials=trials or (winner,), winner=winner, test=test), 3, tmp_path / "search.png")
    drawn(tmp_path / "search.png")


@COUNTS
def test_amounts(tmp_path, count):
    arms = [
        {
            "name": f"{n} weeks",
            "training_impressions": 1_000 * 2**n,
            "figures": figures(n != 2),
            "leads": judgement(1).leads,
        }
        for n in range(min(count, 6))
    ]
    draw_amounts(arms, 3, tmp_path / "amounts.png")
    drawn(tmp_path / "amounts.png")


@COUNTS
def test_novelty_curve(tmp_path, count):
    curve = tuple(LossPoint(10 * n, 5 - n / 5, 5.2 - n / 6) for n in range(1, count + 1))
    draw_novelty_curve(NoveltyReport(curve, {}), 22, tmp_path / "novelty.png")
    drawn(tmp_path / "novelty.png")


def test_novelty_contest(tmp_path):
    lead = {"loss": [-0.1, 0.3], "macro_recall_at_3": [0.0, 0.1]}
    names = ("model", "uniform", "popularity", "counting")
    values = {name: {"loss": 3.0, "macro_recall_at_3": 0.2 * place} for place, name in enumerate(names)}
    intervals = {name: {"macro_recall_at_3": [0.1, 0.2]} for name in names}
    contest = NoveltyContest(40, 30, values, intervals, dict.fromkeys(names[1:], lead))
    draw_novelty_contest(contest, 22, tmp_path / "novelty.png")
    drawn(tmp_path / "novelty.png")


@pytest.mark.parametrize(
    ("lead", "told"),
    [
        ([0.01, 0.2], "better than chance"),
        ([-0.01, 0.2], "not told apart from chance"),
        ([0.0, 0.2], "not told apart from chance"),
        ([-0.2, -0.1], "worse than chance"),
        (None, "not compared with chance"),
    ],
)
def test_an_interval_that_holds_chance_tells_nothing_apart(lead, told):
    assert against_chance(lead) == told


def test_one_point_is_a_marker_and_what_is_unknown_is_left_out():
    figure, panel = plt.subplots()
    draw_course(panel, [(1, 0.5)])
    draw_course(panel, [(1, None)])
    (line,) = panel.lines
    assert (line.get_marker(), list(line.get_xdata())) == ("o", [1])
    plt.close(figure)


def test_an_empty_panel_says_so():
    figure, panel = plt.subplots()
    draw_legend(panel)
    assert [text.get_text() for text in panel.texts] == ["nothing was measured"]
    plt.close(figure)
