"""The summary of a world: each figure again from the frames, and what is drawn of them."""

from dataclasses import replace
from itertools import pairwise

import matplotlib.image
import numpy as np
import polars as pl
import pytest
from matplotlib import pyplot as plt
from support.worlds import FIRST_DAY, numbers, with_positive

from models.arena.pictures import _affinity, draw_contests, draw_world
from models.arena.predictors import PREDICTORS, TopicLog, compare_predictors
from models.arena.responses import SIGNALS
from models.arena.summary import contest_figures, summarise
from models.arena.topics import load_topics
from models.arena.world import World, WorldOptions

DAYS = 8


@pytest.fixture(scope="module")
def summarised():
    """A world, its log, its frames, its summary, and the lines written on the way."""
    world = World(WorldOptions(FIRST_DAY, users=200, items=120, random_shelf=1, seed=2))
    log, traffic, lines = TopicLog(world), [], []
    for _ in range(DAYS):
        traffic.append(world.simulate_day(world.next_day))
        log.add(traffic[-1])
    frames = {name: pl.concat([getattr(day, name) for day in traffic]) for name in ("items", "events", "outcomes")}
    return world, log, frames, summarise(world, log, frames["items"], 3, lines.append), lines


def test_rates_and_counts_are_those_of_the_frames(summarised):
    world, _, frames, summary, _ = summarised
    outcomes = with_positive(frames["outcomes"], frames["items"])
    plays = with_positive(frames["events"], frames["items"]).join(outcomes, on=["item_id", "ts", "watch_s"], how="anti")
    figures = summary.figures
    assert figures["users"] == 200
    assert figures["items"] == frames["items"].height == len(world.catalogue.item_ids)
    assert figures["plays"] == plays.height
    for signal in SIGNALS:
        assert figures[f"{signal}_rate"] == plays[signal].mean()
    assert figures["exposure_positive_rate"] == outcomes["positive"].sum() / figures["exposures"]
    assert figures["exposures"] == sum(day.exposures for day in world.days)
    by_user = np.bincount(numbers(frames["events"]["user_id"]), minlength=200)
    assert (summary.plays_per_user == by_user).all()
    assert figures["plays_of_top_fifth"] == sum(sorted(by_user)[-40:]) / frames["events"].height


def test_the_series_of_days_add_up_to_the_figures(summarised):
    world, _, _, summary, _ = summarised
    assert set(summary.days) == {"visitors", "plays", "favourite_share", "positive_rate"}
    assert all(len(series) == DAYS for series in summary.days.values())
    assert sum(summary.days["plays"]) == summary.figures["plays"]
    assert summary.days["visitors"] == [day.visitors for day in world.days]
    share = summary.days["favourite_share"]
    assert share == [day.favourite_plays / day.plays for day in world.days]
    assert np.isclose(summary.figures["favourite_share_first"], sum(share[:3]) / 3)
    assert np.isclose(summary.figures["favourite_share_last"], sum(share[-3:]) / 3)
    positive = np.array(summary.days["positive_rate"]) @ np.array(summary.days["plays"])
    assert np.isclose(positive / summary.figures["plays"], summary.figures["positive_rate"])


def test_the_contest_is_in_the_figures(summarised):
    world, log, _, summary, _ = summarised
    contest = compare_predictors(world, log, world.truth(), 3, seed=0)
    figures = contest_figures(contest)
    assert set(figures) == {f"explained_{name}" for name in PREDICTORS} | {"rate_random", "rate_oracle"}
    assert {name: summary.figures[name] for name in figures} == figures
    assert figures["rate_oracle"] == contest.rates["oracle"] > figures["rate_random"] == contest.rates["random"]


def test_text_tells_topics_apart_but_not_perfectly(summarised):
    _, _, _, summary, lines = summarised
    assert 0.3 < summary.figures["adjusted_rand_index"] < 1
    assert lines == ["clustering the items by their text", "holding the contest of predictors"]


def test_affinities_are_correlations_of_tastes_family_by_family(summarised):
    world, _, _, summary, _ = summarised
    families = {topic.name: topic.family for topic in load_topics(24)[0]}
    order = [families[name] for name in summary.topics]
    assert order == list(summary.families)
    assert sorted(summary.topics) == sorted(families)
    changes = sum(one != other for one, other in pairwise(order))
    assert changes == len(set(order)) - 1  # each family in one piece
    tastes = world.truth().tastes
    for row, column in ((0, 1), (3, 17), (5, 5)):
        names = [world.topic_names.index(summary.topics[place]) for place in (row, column)]
        assert np.isclose(summary.affinity[row, column], np.corrcoef(tastes[:, names[0]], tastes[:, names[1]])[0, 1])


def test_a_world_without_days_is_refused():
    world = World(WorldOptions(FIRST_DAY, users=10, items=30))
    with pytest.raises(ValueError, match="nothing to summarise"):
        summarise(world, TopicLog(world), world.catalogue.first_frame, 3)


def test_the_picture_of_a_world_is_a_png_with_something_in_each_panel(summarised, tmp_path):
    path = tmp_path / "new" / "world.png"
    draw_world(summarised[3], path)
    assert path.read_bytes().startswith(b"\x89PNG")
    image = matplotlib.image.imread(path)[:, :, :3]
    assert image.shape == (800, 1300, 3)
    for row in range(2):
        for column in range(3):
            panel = image[400 * row : 400 * (row + 1), 433 * column : 433 * (column + 1)]
            assert 0.01 < (panel.min(axis=2) < 0.99).mean() < 0.9, (row, column)
    assert not path.with_suffix(".partial").exists()


def test_more_topics_than_can_be_read_are_named_by_their_families(summarised):
    figure, axes = plt.subplots(1, 2)
    _affinity(axes[0], summarised[3])
    assert [label.get_text() for label in axes[0].get_yticklabels()] == list(summarised[3].topics)
    names = ("flowers",) * 60 + ("stones",) * 40
    many = replace(summarised[3], affinity=np.eye(100), topics=tuple(map(str, range(100))), families=names)
    _affinity(axes[1], many)
    assert axes[1].get_yticks().tolist() == [0, 60]
    assert [label.get_text() for label in axes[1].get_yticklabels()] == ["flowers", "stones"]
    plt.close(figure)


def test_the_picture_of_contests_shows_a_line_per_seed(tmp_path):
    rows = [
        {
            "seed": seed,
            "mix": mix,
            **{f"explained_{name}": 0.1 * seed + 0.2 * number for number, name in enumerate(PREDICTORS)},
        }
        for seed in range(2)
        for mix in (0.0, 0.5, 1.0)
    ]
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    draw_contests(pl.DataFrame(rows[:3]), one)
    draw_contests(pl.DataFrame(rows), two)
    images = [matplotlib.image.imread(path)[:, :, :3] for path in (one, two)]
    assert images[0].shape == images[1].shape == (500, 900, 3)
    inked = [(image.min(axis=2) < 0.9).mean() for image in images]
    assert 0 < inked[0] < inked[1]
