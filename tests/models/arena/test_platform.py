"""The simulated platform: repeatable, in the contract; histories and feedback loop hold up to brute force."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from models.arena.platform import Platform, PlatformOptions, recent_clusters

FIRST_DAY = dt.date(2026, 1, 5)
OPTIONS = PlatformOptions(FIRST_DAY, users=400, items=600, seed=7)


class RandomPolicy:
    """Serves any cluster outside the history with equal chance; clusters are pairs of topics, one item is unknown."""

    K = 2
    table_version = "table-1"
    taxonomy_version = "taxonomy-1"

    def __init__(self, platform, clusters=12):
        self.clusters = clusters
        ids = platform.items()["item_id"].to_list()
        self.item_clusters = dict(zip(ids, (platform.item_topics() % clusters).tolist(), strict=True))
        del self.item_clusters[ids[0]]

    def serve(self, histories, rng):
        assert histories.shape[1] == self.K
        chance = rng.random((len(histories), self.clusters))
        np.put_along_axis(chance, histories, -1.0, axis=1)
        return chance.argmax(axis=1), np.full(len(histories), 1 / (self.clusters - self.K)), ["random"] * len(histories)


def simulate(options=OPTIONS, days=14, explore_from=7, policy=RandomPolicy):
    platform = Platform(options)
    traffic = [
        platform.simulate_day(
            options.first_day + dt.timedelta(days=day), policy(platform) if day >= explore_from else None
        )
        for day in range(days)
    ]
    frames = [pl.concat([getattr(day, name) for day in traffic]) for name in ("events", "feedback", "outcomes")]
    return platform, *frames


@pytest.fixture(scope="module")
def two_weeks():
    return simulate()


def with_positive(plays, platform):
    rule = (pl.col("watch_s") >= 0.5 * pl.col("duration_s")) | pl.col("liked")
    return plays.join(platform.items().select("item_id", "duration_s"), on="item_id").with_columns(positive=rule)


def test_same_seed_same_frames_and_another_seed_others(two_weeks):
    platform, events, feedback, outcomes = two_weeks
    again, *frames = simulate()
    assert again.items().equals(platform.items())
    for first, second in zip((events, feedback, outcomes), frames, strict=True):
        assert first.equals(second)
    _, other, *_ = simulate(PlatformOptions(FIRST_DAY, users=400, items=600, seed=8), days=1)
    assert not other.equals(events.filter(pl.col("ts").dt.date() == FIRST_DAY))


def test_a_second_platform_that_repeats_the_first_days_goes_on_in_the_same_way(two_weeks):
    _, events, feedback, _ = two_weeks
    platform, *_ = simulate(days=7)  # the first week, as another process would repeat it
    day = FIRST_DAY + dt.timedelta(days=7)
    traffic = platform.simulate_day(day, RandomPolicy(platform))
    assert traffic.events.equals(events.filter(pl.col("ts").dt.date() == day))
    assert traffic.feedback.equals(feedback.filter(pl.col("ts").dt.date() == day))


def test_frames_are_in_the_contract(two_weeks):
    platform, events, feedback, outcomes = two_weeks
    utc = pl.Datetime("us", "UTC")
    responses = {"watch_s": pl.Float64} | dict.fromkeys(["completed", "liked", "shared", "skipped"], pl.Boolean)
    assert dict(events.schema) == {"user_id": pl.String, "item_id": pl.String, "ts": utc} | responses
    assert dict(outcomes.schema) == {"request_id": pl.String, "item_id": pl.String, "ts": utc} | responses
    texts = dict.fromkeys(["request_id", "item_id", "user_id"], pl.String)
    plan = {"history": pl.List(pl.Int32), "cluster_id": pl.Int32, "policy": pl.String}
    versions = {"table_version": pl.String, "taxonomy_version": pl.String}
    place = {"position": pl.Int32, "propensity": pl.Float64}
    assert dict(feedback.schema) == texts | {"ts": utc} | plan | versions | place
    items = platform.items()
    assert set(items.columns) == {"item_id", "title", "tags", "category", "description", "duration_s", "published_at"}
    assert items["item_id"].is_unique().all()
    assert items["published_at"].dt.date().max() < FIRST_DAY
    for frame in (events, feedback, outcomes):
        assert frame.drop("history", strict=False).null_count().sum_horizontal().item() == 0
        assert frame["item_id"].is_in(items["item_id"].implode()).all()


def test_values_make_sense(two_weeks):
    platform, events, feedback, outcomes = two_weeks
    plays = with_positive(events, platform)
    assert (plays["watch_s"] >= 0).all()
    assert (plays["watch_s"] <= plays["duration_s"]).all()
    assert plays.filter("completed")["positive"].all()
    assert plays.filter("shared")["positive"].all()
    assert not plays.filter("skipped")["positive"].any()
    assert plays.filter(pl.col("liked") & (pl.col("watch_s") < 0.5 * pl.col("duration_s"))).height > 0
    assert feedback["request_id"].is_unique().all()
    assert feedback["ts"].dt.date().min() == FIRST_DAY + dt.timedelta(days=7)
    assert set(feedback["position"]) == {1, 2, 3, 4, 5}
    assert 0.3 < outcomes.height / feedback.height < 0.9  # silence is common, not universal
    served = [RandomPolicy(platform).item_clusters[item] for item in feedback["item_id"]]
    assert feedback["cluster_id"].to_list() == served


def test_days_stay_within_themselves(two_weeks):
    traffic = Platform(OPTIONS).simulate_day(FIRST_DAY)
    assert set(traffic.events["ts"].dt.date()) == {FIRST_DAY}
    assert traffic.feedback.is_empty()
    assert traffic.outcomes.is_empty()
    _, events, _, _ = two_weeks
    assert events.group_by("user_id", "ts").len()["len"].max() == 1


def test_each_outcome_follows_its_impression_and_is_an_event_too(two_weeks):
    _, events, feedback, outcomes = two_weeks
    joined = outcomes.join(feedback, on=["request_id", "item_id"], suffix="_served")
    assert joined.height == outcomes.height
    assert (joined["ts"] > joined["ts_served"]).all()
    keys = ["user_id", "item_id", "ts", "watch_s", "completed", "liked", "shared", "skipped"]
    assert joined.join(events, on=keys).height == joined.height


def test_every_history_equals_brute_force_over_the_events(two_weeks):
    platform, events, feedback, _ = two_weeks
    policy = RandomPolicy(platform)
    plays = with_positive(events, platform).filter("positive").sort("ts")
    past = {}
    for user, item, ts in plays.select("user_id", "item_id", "ts").iter_rows():
        past.setdefault(user, []).append((ts, policy.item_clusters.get(item)))

    def history(user, now):
        found = []
        for ts, cluster in reversed(past.get(user, [])):
            if ts < now and cluster is not None and cluster not in found:
                found.append(cluster)
            if len(found) == policy.K:
                return sorted(found)
        return None

    rows = feedback.select("user_id", "ts", "history").unique(maintain_order=True)
    assert rows.height > 1_000
    for user, ts, logged in rows.iter_rows():
        assert logged == history(user, ts)


def test_users_without_k_clusters_get_no_exploration():
    platform = Platform(OPTIONS)
    policy = RandomPolicy(platform)
    policy.item_clusters = dict.fromkeys(policy.item_clusters, 0)  # one cluster: nobody ever has two
    traffic = platform.simulate_day(FIRST_DAY, policy)
    assert traffic.events.height > 0
    assert traffic.feedback.is_empty()


def test_recent_clusters_by_hand():
    last = np.array([[5, 0, 9, 7], [0, 0, 3, 0], [1, 2, 3, 4]])
    histories, complete = recent_clusters(last, 2)
    assert complete.tolist() == [True, False, True]
    assert histories[complete].tolist() == [[2, 3], [2, 3]]
    assert not recent_clusters(last, 5)[1].any()


def test_the_feed_follows_its_own_past_and_narrows():
    """Share of the largest topic in ten plays of a user: the second ten against the first, the fourth against both."""
    platform, events, _, _ = simulate(PlatformOptions(FIRST_DAY, users=800, items=600, seed=3), explore_from=99)
    topics = platform.items().select("item_id").with_columns(topic=platform.item_topics())
    plays = events.sort("user_id", "ts").join(topics, on="item_id", maintain_order="left")
    plays = plays.with_columns(block=pl.int_range(pl.len()).over("user_id") // 10, plays=pl.len().over("user_id"))
    plays = plays.filter((pl.col("plays") >= 40) & (pl.col("block") < 4))
    largest = (
        plays.group_by("user_id", "block", "topic").len().group_by("user_id", "block").agg(pl.col("len").max() / 10)
    )
    first, second, _, fourth = largest.group_by("block").agg(pl.col("len").mean()).sort("block")["len"]
    assert second > first + 0.02
    assert fourth > first + 0.05


def test_positive_rates_differ_a_lot_between_cells_and_follow_the_truth(two_weeks):
    platform, _, feedback, outcomes = two_weeks
    positive = (
        with_positive(outcomes, platform).filter("positive").select("request_id", pl.lit(value=True).alias("positive"))
    )
    logged = feedback.join(positive, on="request_id", how="left").with_columns(
        pl.col("positive").fill_null(value=False)
    )
    assert 0.1 < logged["positive"].mean() < 0.6
    truth = platform.true_positive_rates(RandomPolicy(platform).item_clusters, 2)
    assert truth["positive_rate"].is_between(0, 1).all()
    assert truth["positive_rate"].quantile(0.9) - truth["positive_rate"].quantile(0.1) > 0.2
    cells = (
        logged.group_by("history", "cluster_id").agg(pl.col("positive").mean(), pl.len()).filter(pl.col("len") >= 15)
    )
    both = cells.join(truth, on=["history", "cluster_id"])
    assert both.height > 30
    assert np.corrcoef(both["positive"], both["positive_rate"])[0, 1] > 0.4


def test_the_true_rate_is_what_a_single_user_does_again_and_again(monkeypatch):
    """One user whose tastes stay as they are, 300 days of exploration: observed rates against the rates reported."""
    monkeypatch.setattr("models.arena.platform.GROWTH", 0.0)
    platform, _, feedback, outcomes = simulate(PlatformOptions(FIRST_DAY, users=1, items=300, seed=1), days=300)
    pleased = with_positive(outcomes, platform).filter("positive")["request_id"]
    logged = feedback.with_columns(positive=pl.col("request_id").is_in(pleased.implode()))
    truth = platform.true_positive_rates(RandomPolicy(platform).item_clusters, 2)
    assert truth["users"].to_list() == [1] * 12
    logged = logged.join(truth.select("cluster_id", "positive_rate"), on="cluster_id")
    liked = pl.col("positive_rate") > truth["positive_rate"].median()
    for half in (logged.filter(liked), logged.filter(~liked)):
        assert half.height > 300
        error = (half["positive_rate"] * (1 - half["positive_rate"])).sum() ** 0.5
        assert abs(half["positive"].sum() - half["positive_rate"].sum()) < 4 * error


@pytest.mark.parametrize(("mix", "low", "high"), [(0.0, 0.97, 1.0), (1.0, 0.3, 0.7)])
def test_mix_decides_how_much_of_taste_the_words_explain(mix, low, high):
    from models.arena.population import OWN_DEVIATION, make_population
    from models.arena.topics import attribute_matrix, load_topics

    # Share of the variance of tastes within the span of the attributes; 12 of 24 dimensions hold about half by chance.
    attributes = attribute_matrix(*load_topics())
    tastes = make_population(attributes, 3_000, mix, seed=0).tastes
    basis = np.linalg.qr(attributes - attributes.mean(axis=0))[0]
    explained = ((tastes @ basis) ** 2).sum() - len(tastes) * basis.shape[1] * OWN_DEVIATION**2
    total = (tastes**2).sum() - tastes.size * OWN_DEVIATION**2
    assert low <= explained / total <= high + 0.02


def test_an_unknown_cluster_and_days_out_of_order_are_refused():
    platform = Platform(OPTIONS)
    with pytest.raises(ValueError, match="the next one is 2026-01-05, not 2026-01-06"):
        platform.simulate_day(FIRST_DAY + dt.timedelta(days=1))
    for _ in range(3):
        platform.simulate_day(platform.next_day)
    policy = RandomPolicy(platform)
    policy.serve = lambda histories, rng: (np.full(len(histories), 77), np.ones(len(histories)), ["x"] * len(histories))
    with pytest.raises(ValueError, match="served cluster 77, which holds no item"):
        platform.simulate_day(platform.next_day, policy)


@pytest.mark.parametrize("change", [{"users": 0}, {"mix": 1.5}, {"positive_watch_share": 0.0}])
def test_options_out_of_range(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        PlatformOptions(FIRST_DAY, **change)
