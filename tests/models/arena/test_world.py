"""The world: repeatable, in the contract; logs, histories and feedback loop hold up to brute force."""

import datetime as dt
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats
from support.worlds import FIRST_DAY, FRAMES, RandomPolicy, numbers, simulate, with_positive

from models.arena.mood import GROWTH, GROWTH_PLAYS, MOST_SESSIONS, Temper
from models.arena.responses import SIGNALS
from models.arena.truth import BASE, PLACE, TASTE
from models.arena.world import MORE_PLAYS, MOST_PLAYS, SLOT_MS, World, WorldOptions

OPTIONS = WorldOptions(FIRST_DAY, users=400, items=600, random_shelf=2, seed=7)
UTC = pl.Datetime("us", "UTC")
RESPONSES = {"watch_s": pl.Float64} | dict.fromkeys(["completed", "liked", "shared", "skipped"], pl.Boolean)


def explored_from(first):
    """A policy of its own for each day from ``first``: as items are new every day, so is each day's mapping."""
    return lambda world, number: RandomPolicy(world) if number >= first else None


@pytest.fixture(scope="module")
def two_weeks():
    """A week of random exposures, then a week of planned ones."""
    return simulate(OPTIONS, 14, explored_from(7))


@pytest.fixture(scope="module")
def unchanging():
    """Users who stay as they are, and ten random exposures per session."""
    temper = Temper(growing=False, tiring=False, returning=False)
    return simulate(WorldOptions(FIRST_DAY, users=1_000, items=600, random_shelf=10, temper=temper, seed=3), 5)


def on_day(frame, number):
    return frame.filter(pl.col("ts").dt.date() == FIRST_DAY + dt.timedelta(days=number))


def organic(frames):
    """Events that are not the outcome of an exposure, and were so logged."""
    shown = frames["outcomes"].join(frames["feedback"].select("request_id", "user_id"), on="request_id")
    return frames["events"].join(shown, on=["user_id", "item_id", "ts"], how="anti").sort("user_id", "ts")


def test_the_same_seed_gives_the_same_frames_and_another_seed_others(two_weeks):
    _, frames = two_weeks
    _, again = simulate(OPTIONS, 14, explored_from(7))
    for name in FRAMES:
        assert again[name].equals(frames[name])
    _, other = simulate(replace(OPTIONS, seed=8), 1)
    for name in FRAMES:
        assert not other[name].equals(frames[name].head(other[name].height))


def test_a_second_world_that_repeats_the_first_days_goes_on_in_the_same_way(two_weeks):
    _, frames = two_weeks
    world, _ = simulate(OPTIONS, 7)  # the first week, as another process would repeat it
    traffic = world.simulate_day(world.next_day, RandomPolicy(world))
    for name in ("events", "feedback", "outcomes"):
        assert getattr(traffic, name).equals(on_day(frames[name], 7))


def test_days_depend_on_the_days_before_alone():
    """A policy of the third day changes nothing before it, and something after it."""
    plain, explored = (
        simulate(OPTIONS, 4, lambda world, number, asked=asked: RandomPolicy(world) if number == asked else None)[1]
        for asked in (99, 2)
    )
    for number, same in enumerate([True, True, False, False]):
        assert on_day(plain["events"], number).equals(on_day(explored["events"], number)) == same


def test_frames_are_in_the_contract(two_weeks):
    _, frames = two_weeks
    assert dict(frames["events"].schema) == {"user_id": pl.String, "item_id": pl.String, "ts": UTC} | RESPONSES
    assert dict(frames["outcomes"].schema) == {"request_id": pl.String, "item_id": pl.String, "ts": UTC} | RESPONSES
    texts = dict.fromkeys(["request_id", "item_id", "user_id"], pl.String)
    plan = {"history": pl.List(pl.Int32), "cluster_id": pl.Int32, "policy": pl.String}
    versions = {"table_version": pl.String, "taxonomy_version": pl.String}
    place = {"position": pl.Int32, "propensity": pl.Float64}
    assert dict(frames["feedback"].schema) == texts | {"ts": UTC} | plan | versions | place
    words = {"item_id": pl.String, "title": pl.String, "tags": pl.List(pl.String)}
    more = {"category": pl.String, "description": pl.String, "duration_s": pl.Float64, "published_at": UTC}
    assert dict(frames["items"].schema) == words | more
    planned = ["history", "cluster_id", "table_version", "taxonomy_version"]
    for name in ("events", "feedback", "outcomes"):
        assert frames[name].drop(planned, strict=False).null_count().sum_horizontal().item() == 0
        assert frames[name]["item_id"].is_in(frames["items"]["item_id"].implode()).all()
    feedback = frames["feedback"].with_columns(early=pl.col("ts").dt.date() < FIRST_DAY + dt.timedelta(days=7))
    for column in planned:
        assert (feedback[column].is_null() == feedback["early"]).all(), column
    assert feedback.filter("early")["policy"].unique().to_list() == ["random"]


def test_empty_frames_have_the_same_schema():
    quiet = World(WorldOptions(FIRST_DAY, users=50, items=50)).simulate_day(FIRST_DAY)
    busy = World(WorldOptions(FIRST_DAY, users=50, items=50, random_shelf=1)).simulate_day(FIRST_DAY)
    for name in ("feedback", "outcomes"):
        assert getattr(quiet, name).is_empty()
        assert getattr(quiet, name).schema == getattr(busy, name).schema


def test_values_make_sense(two_weeks):
    _, frames = two_weeks
    plays = with_positive(frames["events"], frames["items"])
    assert (plays["watch_s"] >= 0).all()
    assert (plays["watch_s"] <= plays["duration_s"]).all()
    assert (plays["completed"] <= (plays["watch_s"] >= 0.95 * plays["duration_s"])).all()
    assert (plays["skipped"] <= (plays["watch_s"] < 0.1 * plays["duration_s"])).all()
    assert plays.filter("completed")["positive"].all()
    assert plays.filter("shared")["positive"].all()
    assert not plays.filter("skipped")["positive"].any()
    assert plays.filter(pl.col("liked") & (pl.col("watch_s") < 0.5 * pl.col("duration_s"))).height > 0
    feedback = frames["feedback"]
    assert feedback["request_id"].is_unique().all()
    assert feedback["request_id"].is_sorted()
    assert (feedback["request_id"].str.slice(0, 8) == feedback["ts"].dt.strftime("%Y%m%d")).all()
    assert 0.3 < frames["outcomes"].height / feedback.height < 0.9  # silence is common, not universal
    random, planned = feedback.filter(pl.col("history").is_null()), feedback.filter(pl.col("history").is_not_null())
    assert set(random["position"]) == {1, 2}
    assert set(planned["position"]) == {1, 2, 3, 4, 5}
    published = frames["items"].group_by(pl.col("published_at").dt.date().alias("day")).len().sort("day")
    for number in range(7):
        day = FIRST_DAY + dt.timedelta(days=number)
        count = published.filter(pl.col("day") < day)["len"].sum()
        assert np.allclose(on_day(random, number)["propensity"], 1 / count)
    assert (planned["propensity"] == 0.1).all()


def test_planned_exposures_are_items_of_the_cluster_that_was_served(two_weeks):
    world, frames = two_weeks
    planned = frames["feedback"].filter(pl.col("history").is_not_null())
    clusters = world.catalogue.main_topics[numbers(planned["item_id"])] % 12
    assert (planned["cluster_id"].to_numpy() == clusters).all()
    assert "i0000000" not in planned["item_id"]  # the one item that the policy does not know
    assert (planned["history"].list.len() == 2).all()
    assert not planned.filter(pl.col("history").list.contains(pl.col("cluster_id"))).height
    assert set(planned["table_version"]) == {"table-1"}
    assert set(planned["taxonomy_version"]) == {"taxonomy-1"}


def test_days_stay_within_themselves(two_weeks):
    world = World(OPTIONS)
    for _ in range(3):
        day = world.next_day
        traffic = world.simulate_day(day)
        for frame in (traffic.events, traffic.feedback, traffic.outcomes):
            assert set(frame["ts"].dt.date()) == {day}
            assert frame["ts"].is_sorted()
    _, frames = two_weeks
    assert frames["events"].group_by("user_id", "ts").len()["len"].max() == 1  # nobody plays two items at once


def test_each_outcome_follows_its_impression_and_is_an_event_too(two_weeks):
    _, frames = two_weeks
    outcomes = frames["outcomes"]
    joined = outcomes.join(frames["feedback"], on=["request_id", "item_id"], suffix="_served")
    assert joined.height == outcomes.height == outcomes["request_id"].n_unique()
    assert (joined["ts"] > joined["ts_served"]).all()
    keys = ["user_id", "item_id", "ts", *RESPONSES]
    assert joined.join(frames["events"], on=keys).height == joined.height


def histories(frames, clusters_of_day, length=2):
    """Users and moments -> the history held then, from nothing but the events; None where a user has none.

    Args:
        frames: of all days.
        clusters_of_day: the policy's clusters, by day.
        length: K.
    """
    plays = with_positive(frames["events"], frames["items"]).filter("positive").sort("ts")
    past = {}
    for user, item, ts in plays.select("user_id", "item_id", "ts").iter_rows():
        past.setdefault(user, []).append((ts, item))

    def history(user, now):
        clusters, found = clusters_of_day[now.date()], []
        for ts, item in reversed(past.get(user, [])):
            cluster = clusters.get(item)
            if ts < now and cluster is not None and cluster not in found:
                found.append(cluster)
            if len(found) == length:
                return sorted(found)
        return None

    return history


class Policies:
    """Remembers which clusters each day was served with."""

    def __init__(self, choose):
        self.choose = choose
        self.made = []
        self.clusters_of_day = {}

    def __call__(self, world, number):
        policy = self.choose(self, world, number)
        if policy is not None:
            self.made.append(policy)
            self.clusters_of_day[world.next_day] = dict(policy.item_clusters)
        return policy


def same_policy(self, world, number):
    return None if number < 2 else self.made[0] if self.made else RandomPolicy(world)


def same_clusters_in_a_new_policy(self, world, number):
    if number < 2:
        return None
    policy = RandomPolicy(world)
    if self.made:
        policy.item_clusters = dict(self.made[0].item_clusters)
    return policy


def other_clusters_on_a_later_day(self, world, number):
    return None if number < 2 else RandomPolicy(world, shift=number if number >= 4 else 0)


def more_clusters_on_a_later_day(self, world, number):
    return None if number < 2 else RandomPolicy(world, clusters=8 if number < 4 else 20)


def a_day_of_rest(self, world, number):
    return None if number in {0, 1, 4} else self.made[0] if self.made else RandomPolicy(world)


@pytest.fixture(
    scope="module",
    params=[
        same_policy,
        same_clusters_in_a_new_policy,
        other_clusters_on_a_later_day,
        more_clusters_on_a_later_day,
        a_day_of_rest,
    ],
)
def explored(request):
    """The frames of a week with days that have no shelf at all, and the brute-force history of each user."""
    policies = Policies(request.param)
    _, frames = simulate(replace(OPTIONS, random_shelf=0), 7, policies)
    return frames, histories(frames, policies.clusters_of_day), policies.clusters_of_day


def test_every_planned_history_equals_brute_force_over_the_events(explored):
    frames, history, _ = explored
    rows = frames["feedback"].select("user_id", "ts", "history").unique(maintain_order=True)
    assert rows.height > 600
    for user, ts, logged in rows.iter_rows():
        assert logged == history(user, ts), (user, ts)


def test_everybody_with_a_history_gets_five_places_after_each_session_and_nobody_else(explored):
    frames, history, explored_days = explored
    slot = pl.col("ts").dt.epoch("ms") // SLOT_MS
    plays = organic(frames).filter(pl.col("ts").dt.date().is_in(list(explored_days)))
    sessions = plays.group_by("user_id", slot=slot).agg(pl.col("ts").max())
    shelves = frames["feedback"].group_by("user_id", slot=slot).agg(pl.col("position").sort())
    served = {(user, number): positions for user, number, positions in shelves.iter_rows()}
    with_history = 0
    for user, number, last_play in sessions.iter_rows():
        holds = history(user, last_play + dt.timedelta(milliseconds=1)) is not None
        assert served.get((user, number)) == ([1, 2, 3, 4, 5] if holds else None)
        with_history += holds
    assert 500 < with_history < sessions.height
    assert len(served) == with_history


def test_users_without_k_clusters_get_no_exploration():
    world = World(OPTIONS)
    policy = RandomPolicy(world)
    policy.item_clusters = dict.fromkeys(policy.item_clusters, 0)  # one cluster: nobody ever has two
    for _ in range(3):
        traffic = world.simulate_day(world.next_day, policy)
        assert traffic.events.height > 0
        assert traffic.feedback.is_empty()
        assert traffic.outcomes.is_empty()


def test_without_a_random_shelf_there_is_no_exposure_before_a_policy():
    world, frames = simulate(WorldOptions(FIRST_DAY, users=200, items=300), 3, explored_from(2))
    assert set(frames["feedback"]["ts"].dt.date()) == {FIRST_DAY + dt.timedelta(days=2)}
    assert [day.exposures > 0 for day in world.days] == [False, False, True]


def test_the_counts_of_a_day_are_those_of_its_frames(two_weeks):
    world, frames = two_weeks
    plays = with_positive(organic(frames), frames["items"])
    outcomes = with_positive(frames["outcomes"], frames["items"])
    assert len(world.days) == 14
    for number, counts in enumerate(world.days):
        today = on_day(plays, number)
        assert counts.visitors == today["user_id"].n_unique()
        assert counts.plays == today.height
        assert counts.responses == {signal: today[signal].sum() for signal in SIGNALS}
        assert counts.exposures == on_day(frames["feedback"], number).height
        assert counts.positive_exposures == on_day(outcomes, number)["positive"].sum()
        assert 0 < counts.favourite_plays < counts.plays


def test_the_world_remembers_every_play(two_weeks):
    world, frames = two_weeks
    remembered = [np.concatenate(column) for column in zip(*world.plays(), strict=True)]
    logged = with_positive(frames["events"], frames["items"])
    found = zip(
        numbers(logged["user_id"]),
        numbers(logged["item_id"]),
        logged["ts"].dt.epoch("ms"),
        logged["positive"],
        strict=True,
    )
    assert sorted(found) == sorted(zip(*remembered, strict=True))


def test_a_session_has_one_play_and_a_cut_poisson_number_of_more(unchanging):
    _, frames = unchanging
    plays = organic(frames).group_by("user_id", pl.col("ts").dt.epoch("ms") // SLOT_MS).len()["len"].to_numpy()
    poisson = stats.poisson(MORE_PLAYS)
    expected = np.append(poisson.pmf(np.arange(MOST_PLAYS - 1)), poisson.sf(MOST_PLAYS - 2)) * len(plays)
    assert stats.chisquare(np.bincount(plays, minlength=MOST_PLAYS + 1)[1:], expected).pvalue > 0.001
    assert len(plays) > 2_000


def test_sessions_fall_into_any_part_of_the_day(unchanging):
    _, frames = unchanging
    slots = frames["events"].group_by("user_id", slot=pl.col("ts").dt.epoch("ms") // SLOT_MS).len()["slot"]
    counts = np.bincount(slots.to_numpy() % MOST_SESSIONS, minlength=MOST_SESSIONS)
    assert stats.chisquare(counts).pvalue > 0.001


def test_every_response_follows_the_log_odds_of_the_documentation(unchanging):
    """Expected and observed positive plays, by decile of the expectation and by place; feed and shelf."""
    world, frames = unchanging
    tastes, catalogue = world.truth().tastes, world.catalogue

    def expected(users, items, places):
        liking = (catalogue.weights[items] * tastes[users[:, None], catalogue.topics[items]]).sum(axis=1)
        return 1 / (1 + np.exp(-(BASE + TASTE * liking + catalogue.quality[items] - PLACE * places)))

    outcomes = with_positive(frames["outcomes"], frames["items"]).select("request_id", "positive")
    shown = frames["feedback"].join(outcomes, on="request_id", how="left", maintain_order="left")
    session = ["user_id", pl.col("ts").dt.epoch("ms") // SLOT_MS]
    feed = with_positive(organic(frames), frames["items"]).with_columns(position=pl.int_range(pl.len()).over(*session))
    for plays, most in ((shown, 10), (feed, 5)):
        places = plays["position"].to_numpy()
        rates = expected(numbers(plays["user_id"]), numbers(plays["item_id"]), places)
        positive = plays["positive"].fill_null(value=False).to_numpy()
        deciles = np.searchsorted(np.quantile(rates, np.arange(0.1, 1, 0.1)), rates)
        for groups in (deciles, places):
            for group in np.unique(groups):
                of_group = groups == group
                error = np.sqrt((rates * (1 - rates))[of_group].sum())
                assert abs(positive[of_group].sum() - rates[of_group].sum()) < 4 * error
        assert places.max() == most
        # Without the place the expectation is off at one end at least: that rates fall with it is no accident.
    flat = expected(numbers(shown["user_id"]), numbers(shown["item_id"]), 0)
    last = shown["position"].to_numpy() > 5
    missing = flat[last].sum() - shown["positive"].fill_null(value=False).to_numpy()[last].sum()
    assert missing > 4 * np.sqrt((flat * (1 - flat))[last].sum())


def test_rates_fall_with_the_place(unchanging):
    _, frames = unchanging
    outcomes = with_positive(frames["outcomes"], frames["items"]).select("request_id", "positive")
    shown = frames["feedback"].join(outcomes, on="request_id", how="left")
    by_place = (
        shown.group_by("position").agg(pl.col("positive").fill_null(value=False).sum(), pl.len()).sort("position")
    )
    share = by_place["positive"] / by_place["len"]
    assert stats.linregress(by_place["position"], share, alternative="less").pvalue < 0.001


def test_interests_grow_by_the_positive_plays_of_their_topic(two_weeks):
    world, _ = two_weeks
    born = World(OPTIONS).truth().tastes
    pleased = np.zeros_like(born)
    for users, items, _, positive in world.plays():
        np.add.at(pleased, (users[positive], world.catalogue.main_topics[items[positive]]), 1)
    grown = GROWTH * (1 - np.exp(-pleased / GROWTH_PLAYS))
    assert np.allclose(world.truth().tastes, born + grown, atol=1e-5)
    assert grown.max() > 0.9 * GROWTH


def test_users_who_do_not_grow_stay_as_they_were_born(unchanging):
    world, _ = unchanging
    assert (world.truth().tastes == World(world.options).truth().tastes).all()


def test_growing_raises_and_tiring_lowers_what_pleases():
    def positive_rate(**changes):
        still = {"growing": False, "tiring": False, "returning": False}
        world, _ = simulate(
            WorldOptions(FIRST_DAY, users=1_000, items=300, temper=Temper(**still | changes), seed=2), 7
        )
        plays = sum(day.plays for day in world.days)
        return sum(day.responses["positive"] for day in world.days) / plays, plays

    (still, plays), (growing, _), (tiring, _) = positive_rate(), positive_rate(growing=True), positive_rate(tiring=True)
    error = np.sqrt(2 * still * (1 - still) / plays)
    assert growing > still + 4 * error
    assert tiring < still - 4 * error


def test_those_who_are_pleased_come_back():
    """Days on which a user comes more in a world of returning than in the same world without, by what pleases them.

    The difference, because who comes often has a feed that knows them better.
    """
    days, pleased = {}, {}
    for returning in (True, False):
        temper = Temper(growing=False, tiring=False, returning=returning)
        options = WorldOptions(FIRST_DAY, users=1_500, items=300, temper=temper, seed=5)
        _, frames = simulate(options, 14)
        plays = with_positive(frames["events"], frames["items"]).group_by("user_id")
        found = plays.agg(pl.col("ts").dt.date().n_unique(), pl.col("positive").mean())
        days[returning], pleased[returning] = np.zeros(1_500), np.zeros(1_500)
        days[returning][numbers(found["user_id"])] = found["ts"]
        pleased[returning][numbers(found["user_id"])] = found["positive"]
    seen = days[False] >= 3
    found = stats.spearmanr((days[True] - days[False])[seen], pleased[False][seen], alternative="greater")
    assert found.pvalue < 0.001
    assert found.statistic > 0.1


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_a_world_can_tie_activity_to_taste(correlation):
    """What tastes tell about the days on which users come: about nothing, or much."""
    temper = Temper(growing=False, tiring=False, returning=False)
    world, frames = simulate(
        WorldOptions(FIRST_DAY, users=2_000, items=100, correlation=correlation, temper=temper, seed=1), 6
    )
    days = np.zeros(2_000)
    visits = frames["events"].group_by("user_id").agg(pl.col("ts").dt.date().n_unique())
    days[numbers(visits["user_id"])] = visits["ts"]
    tastes = world.truth().tastes - world.truth().tastes.mean(axis=0)
    centred = days - days.mean()
    explained = (tastes @ np.linalg.lstsq(tastes, centred, rcond=None)[0]).var() / centred.var()
    if correlation:
        assert explained > 0.3
    else:
        assert 0.0005 < stats.chi2(24).cdf(explained * 2_000) < 0.9995


def test_the_feed_narrows():
    """The share of plays in a user's three favourite topics, as the feed knows them in the morning, grows."""
    world, _ = simulate(WorldOptions(FIRST_DAY, users=800, items=600, seed=3), 14)
    shares = [day.favourite_plays / day.plays for day in world.days]
    assert np.mean(shares[-3:]) > np.mean(shares[:3]) + 0.05
    assert stats.linregress(np.arange(14), shares, alternative="greater").pvalue < 0.001


def test_favourites_are_those_that_the_feed_knew_in_the_morning():
    """Brute force over each day's plays; what the feed remembers is no part of the logs, so it is asked."""
    world = World(replace(OPTIONS, random_shelf=0))
    for number in range(4):
        favourites = np.argsort(-world._feed.plays, axis=1)[:, :3]
        plays = world.simulate_day(world.next_day).events
        topics = world.catalogue.main_topics[numbers(plays["item_id"])]
        expected = (favourites[numbers(plays["user_id"])] == topics[:, None]).any(axis=1).sum()
        assert world.days[number].favourite_plays == expected


def test_new_items_appear_every_day_and_are_shown_from_then_on():
    world = World(WorldOptions(FIRST_DAY, users=300, items=2_000, random_shelf=5, seed=1))
    known = 0
    for number in range(8):
        day = world.next_day
        traffic = world.simulate_day(day)
        ids = [f"i{item:07d}" for item in range(known, known + traffic.items.height)]
        assert traffic.items["item_id"].to_list() == ids
        assert traffic.items.height > 0
        assert (traffic.items["published_at"].dt.date() < day).all()
        if number:
            assert (traffic.items["published_at"].dt.date() == day - dt.timedelta(days=1)).all()
        known += traffic.items.height
        assert len(world.catalogue.item_ids) == known
        assert numbers(traffic.events["item_id"]).max() < known
        assert numbers(traffic.feedback["item_id"]).max() < known
    shown = set(traffic.feedback["item_id"]) | set(traffic.events["item_id"])
    assert shown & {f"i{item:07d}" for item in range(2_000, known)}


def test_positive_rates_differ_a_lot_between_cells_and_follow_the_truth(two_weeks):
    world, frames = two_weeks
    outcomes = with_positive(frames["outcomes"], frames["items"]).select("request_id", "positive")
    planned = frames["feedback"].filter(pl.col("history").is_not_null())
    logged = planned.join(outcomes, on="request_id", how="left").with_columns(pl.col("positive").fill_null(value=False))
    assert 0.1 < logged["positive"].mean() < 0.6
    truth = world.truth().history_rates(RandomPolicy(world).item_clusters, 2)
    assert truth["positive_rate"].is_between(0, 1).all()
    assert truth["positive_rate"].quantile(0.9) - truth["positive_rate"].quantile(0.1) > 0.2
    cells = (
        logged.group_by("history", "cluster_id").agg(pl.col("positive").mean(), pl.len()).filter(pl.col("len") >= 15)
    )
    both = cells.join(truth, on=["history", "cluster_id"])
    assert both.height > 30
    assert np.corrcoef(both["positive"], both["positive_rate"])[0, 1] > 0.4


def test_an_unknown_cluster_and_days_out_of_order_are_refused():
    world = World(OPTIONS)
    with pytest.raises(ValueError, match="the next one is 2026-01-05, not 2026-01-06"):
        world.simulate_day(FIRST_DAY + dt.timedelta(days=1))
    for _ in range(3):
        world.simulate_day(world.next_day)
    with pytest.raises(ValueError, match="the next one is 2026-01-08, not 2026-01-07"):
        world.simulate_day(FIRST_DAY + dt.timedelta(days=2))
    policy = RandomPolicy(world)
    policy.serve = lambda histories, known, rng: (
        np.full(len(histories), 77),
        np.ones(len(histories)),
        ["x"] * len(histories),
    )
    with pytest.raises(ValueError, match="served cluster 77, which holds no item"):
        world.simulate_day(world.next_day, policy)


@pytest.mark.parametrize(
    "change",
    [
        {"users": 0},
        {"items": 0},
        {"shelf": 0},
        {"random_shelf": -1},
        {"mix": 1.5},
        {"mix": -0.1},
        {"mix": float("nan")},
        {"correlation": 1.1},
        {"correlation": -1.1},
        {"positive_watch_share": 0.1},
        {"positive_watch_share": 0.95},
        {"topics": 25},
    ],
)
def test_options_out_of_range_are_refused_by_name(change):
    ((name, value),) = change.items()
    with pytest.raises(ValueError, match=f"{name}.*{re.escape(str(value))}"):
        WorldOptions(FIRST_DAY, **change)


@pytest.mark.parametrize(
    "change", [{"mix": 0.0}, {"mix": 1.0}, {"correlation": -1.0}, {"topics": 96}, {"topics": 768}, {"users": 1}]
)
def test_options_at_the_ends_of_their_ranges_make_a_world(change):
    world = World(WorldOptions(FIRST_DAY, **{"users": 60, "items": 800} | change))
    assert np.isfinite(world.truth().tastes).all()


def test_a_day_on_which_nobody_comes_has_empty_frames():
    world = World(WorldOptions(FIRST_DAY, users=1, items=50))
    traffic = [world.simulate_day(world.next_day) for _ in range(40)]
    empty = [day.events.is_empty() for day in traffic]
    assert any(empty)
    assert len({tuple(day.events.schema.items()) for day in traffic}) == 1
