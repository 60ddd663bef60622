"""The truth: rates by brute force, what a single user does again and again, and that nothing that learns reads it."""

import copy
import math
import tracemalloc
from collections import defaultdict
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from support.worlds import FIRST_DAY, FRAMES, RandomPolicy, numbers, simulate, with_positive

from models.arena.mood import Temper
from models.arena.responses import SIGNALS
from models.arena.truth import (
    BASE,
    PLACE,
    TASTE,
    at_the_level_of,
    ceiling_intervals,
    ceiling_of_examples,
    noise_ceiling,
    oracle_ranking,
    rates_of_plans,
)
from models.arena.world import STARTED_ANYWAY, World, WorldOptions
from models.evaluation.metrics import f1_at_k, ndcg_at_k

PROJECT = Path(__file__).parents[3]
UNCHANGING = Temper(growing=False, tiring=False, returning=False)


@pytest.fixture(scope="module")
def tiny():
    """A world after five days, and clusters of pairs of topics, some of whose items have none."""
    world, _ = simulate(WorldOptions(FIRST_DAY, users=30, items=60, shelf=3, seed=2), 5)
    clusters = {
        item: topic % 6
        for number, (item, topic) in enumerate(zip(world.catalogue.item_ids, world.catalogue.main_topics, strict=True))
        if number % 5
    }
    return world, world.truth(), clusters


def sigmoid(log_odds):
    return 1 / (1 + math.exp(-log_odds))


def rates_of_one(truth, user, item, place):
    """Every signal's probability, as the documentation has it, for one user, item and place."""
    catalogue = truth.catalogue
    liking = sum(
        float(weight) * float(truth.tastes[user, topic])
        for topic, weight in zip(catalogue.topics[item], catalogue.weights[item], strict=True)
    )
    log_odds = BASE + TASTE * liking + float(catalogue.quality[item]) - PLACE * place
    positive, liked = sigmoid(log_odds), sigmoid(-3.4 + 0.6 * log_odds)
    finish = sigmoid(0.4 + 0.3 * log_odds - 0.7 * math.log(catalogue.duration_s[item] / 60))
    return {
        "positive": positive,
        "completed": positive * (1 - 0.2 * liked) * finish,
        "liked": positive * liked,
        "shared": positive * sigmoid(-5.4 + 0.6 * log_odds),
        "skipped": (1 - positive) * STARTED_ANYWAY * sigmoid(-0.9 - 0.6 * log_odds),
    }


def rates_of_cluster(truth, user, members):
    """Mean over items by their chance to be picked, and over places."""
    weights = truth.catalogue.pick_weights[members].astype(np.float64)
    total = dict.fromkeys(SIGNALS, 0.0)
    for item, weight in zip(members, weights / weights.sum(), strict=True):
        for place in range(1, truth.places + 1):
            for signal, rate in rates_of_one(truth, user, item, place).items():
                total[signal] += weight * rate / truth.places
    return total


def members_of(world, clusters):
    members = defaultdict(list)
    for number, item in enumerate(world.catalogue.item_ids):
        if item in clusters:
            members[clusters[item]].append(number)
    return members


def test_user_rates_equal_brute_force_over_items_and_places(tiny):
    world, truth, clusters = tiny
    users = np.array([7, 0, 21])
    found = truth.user_rates(users, clusters, SIGNALS)
    assert set(found) == set(SIGNALS)
    for row, user in enumerate(users):
        for cluster, members in members_of(world, clusters).items():
            for signal, rate in rates_of_cluster(truth, user, members).items():
                assert math.isclose(found[signal][row, cluster], rate, rel_tol=1e-4), (user, cluster, signal)


def test_rates_do_not_depend_on_who_else_is_asked_for():
    truth = World(WorldOptions(FIRST_DAY, users=600, items=50, seed=1)).truth()
    users = np.random.default_rng(0).permutation(600)
    everybody = truth.user_rates(users, truth.item_topics)["positive"]
    for place in (0, 249, 250, 599):
        alone = truth.user_rates(users[[place]], truth.item_topics)["positive"]
        assert np.allclose(everybody[place], alone[0], rtol=1e-5)


def test_the_perfect_taxonomy_is_the_main_topic_of_each_item(tiny):
    world, truth, _ = tiny
    assert list(truth.item_topics) == world.catalogue.item_ids.to_list()
    assert list(truth.item_topics.values()) == world.catalogue.main_topics.tolist()


def test_history_rates_are_means_over_those_who_hold_the_history(tiny):
    world, truth, clusters = tiny
    members = members_of(world, clusters)
    ids = world.catalogue.item_ids.to_list()
    last, played = defaultdict(dict), defaultdict(set)
    for play in world.plays():
        for user, item, time, positive in zip(*play, strict=True):
            if ids[item] in clusters:
                played[user].add(clusters[ids[item]])
            if positive and ids[item] in clusters:
                last[user][clusters[ids[item]]] = max(time, last[user].get(clusters[ids[item]], 0))
    holders = defaultdict(list)
    for user, times in last.items():
        if len(times) >= 2:
            holders[tuple(sorted(sorted(times, key=times.get)[-2:]))].append(user)
    assert max(map(len, holders.values())) > 1
    found = truth.history_rates(clusters, 2)
    assert found.height == len(holders) * 6
    for row in found.iter_rows(named=True):
        users = holders[tuple(row["history"])]
        assert row["users"] == len(users)
        rates = [rates_of_cluster(truth, user, members[row["cluster_id"]]) for user in users]
        for signal in SIGNALS:
            mean = sum(rate[signal] for rate in rates) / len(rates)
            assert math.isclose(row[f"{signal}_rate"], mean, rel_tol=1e-4)
        novel = [
            rate["positive"] for user, rate in zip(users, rates, strict=True) if row["cluster_id"] not in played[user]
        ]
        assert row["novel_users"] == len(novel)
        assert math.isclose(row["novel_positive_rate"], sum(novel) / max(len(novel), 1), rel_tol=1e-4)
    assert 0 < found["novel_users"].sum() < found["users"].sum()


def test_rates_of_chosen_histories_are_theirs_among_those_of_all(tiny, monkeypatch):
    _, truth, clusters = tiny
    everything = truth.history_rates(clusters, 2)
    held = [tuple(history) for history in everything["history"].unique(maintain_order=True).to_list()]
    unheld = next((one, other) for other in range(6) for one in range(other) if (one, other) not in held)
    chosen = [held[4], unheld, held[1]]
    of_chosen = everything.filter([tuple(history) in chosen for history in everything["history"].to_list()])
    assert of_chosen.height == 2 * 6
    asked = []
    rates_of = truth.user_rates
    monkeypatch.setattr(truth, "user_rates", lambda users, *rest: asked.extend(users) or rates_of(users, *rest))
    found = truth.history_rates(clusters, 2, chosen)
    same = ["history", "cluster_id", "users", "novel_users"]
    assert found.select(same).equals(of_chosen.select(same))
    for rate in set(found.columns) - set(same):
        assert np.allclose(found[rate], of_chosen[rate], rtol=1e-6)
    assert len(asked) == of_chosen.filter(cluster_id=0)["users"].sum()  # nobody else's rates are computed
    assert truth.history_rates(clusters, 2, [unheld]).is_empty()


def test_rates_of_many_clusters_take_no_array_of_items_and_clusters():
    truth = World(WorldOptions(FIRST_DAY, users=40, items=4_000, topics=768)).truth()
    tracemalloc.start()
    rates = truth.user_rates(np.arange(40), truth.item_topics, SIGNALS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all(each.shape == (40, 768) for each in rates.values())
    assert peak < 4_000 * 768 * 8  # bytes of one


def test_history_rates_of_a_world_where_nobody_has_a_history_are_an_empty_frame():
    truth = World(WorldOptions(FIRST_DAY, users=5, items=50)).truth()
    found = truth.history_rates(truth.item_topics, 2)
    assert found.is_empty()
    assert set(found.columns) == {
        *("history", "cluster_id", "users", "novel_users", "novel_positive_rate"),
        *(f"{signal}_rate" for signal in SIGNALS),
    }


def test_the_rate_is_what_a_single_user_does_again_and_again():
    """Users whose tastes stay as they are, 200 days of exploration: observed rates against the rates reported."""
    options = WorldOptions(FIRST_DAY, users=40, items=300, temper=UNCHANGING, seed=1)
    policies = []

    def policy_of(world, number):
        policies.append(policies[0] if policies else RandomPolicy(world))
        return policies[0]

    world, frames = simulate(options, 200, policy_of)
    rates = world.truth().user_rates(np.arange(40), policies[0].item_clusters, SIGNALS)
    outcomes = with_positive(frames["outcomes"], frames["items"]).select("request_id", *SIGNALS)
    logged = frames["feedback"].join(outcomes, on="request_id", how="left", maintain_order="left")
    logged = logged.with_columns(pl.col(*SIGNALS).fill_null(value=False), user=numbers(logged["user_id"]))

    def agrees(rows, signal):
        expected = rates[signal][rows["user"].to_numpy(), rows["cluster_id"].to_numpy()]
        error = np.sqrt((expected * (1 - expected)).sum())
        return abs(rows[signal].sum() - expected.sum()) <= 4 * error

    busiest = logged.filter(user=logged["user"].mode()[0])
    assert busiest.height > 3_000
    for signal in SIGNALS:
        assert agrees(busiest, signal), signal
        assert agrees(logged, signal), signal
        for cluster in range(12):
            assert agrees(logged.filter(cluster_id=cluster), signal), (signal, cluster)
    # Cluster by cluster it is this user's rates that fit, and nobody else's.
    clusters = busiest["cluster_id"].to_numpy()
    shown = np.bincount(clusters, minlength=12)
    pleased = np.bincount(clusters, weights=busiest["positive"].to_numpy(), minlength=12)
    expected = rates["positive"]
    squares = ((pleased - shown * expected) ** 2 / (shown * expected * (1 - expected))).sum(axis=1)
    assert np.flatnonzero(squares < stats.chi2(12).ppf(0.999)).tolist() == [busiest["user"][0]]


def test_rates_of_those_who_were_shown_something_are_means_weighted_by_impressions(tiny):
    _, truth, clusters = tiny
    shown = pl.DataFrame(
        {
            "history": [[0, 1], [0, 1], [2, 3]],
            "user_id": ["u0000007", "u0000021", "u0000007"],
            "impressions": [3, 1, 5],
        },
        schema_overrides={"history": pl.List(pl.Int32)},
    )
    found = truth.shown_history_rates(shown, clusters)
    alone = truth.user_rates(np.array([7, 21]), clusters)["positive"]
    expected = {(0, 1): (3 * alone[0] + alone[1]) / 4, (2, 3): alone[0]}
    assert found.height == 2 * alone.shape[1]
    for history, cluster, rate in found.iter_rows():
        assert math.isclose(rate, expected[tuple(history)][cluster], rel_tol=1e-6)


def test_the_oracles_ranking_by_hand():
    rates = pl.DataFrame(
        {
            "history": [[0, 1]] * 5 + [[2, 4]] * 5,
            "cluster_id": [0, 1, 2, 3, 4] * 2,
            "users": [3] * 10,
            "positive_rate": [0.9, 0.8, 0.1, 0.3, 0.2, 0.4, 0.4, 0.9, 0.1, 0.8],
            "liked_rate": [0.0, 0.0, 0.9, 0.1, 0.2, 0.1, 0.3, 0.0, 0.2, 0.0],
        },
        schema_overrides={"history": pl.List(pl.Int32), "cluster_id": pl.Int32},
    )

    def ranked(k, signal="positive"):
        found = oracle_ranking(rates, k, signal).select("history", "rank", "cluster_id").rows()
        return [(tuple(history), rank, cluster) for history, rank, cluster in found]

    first = ranked(2)
    assert first[:2] == [((0, 1), 1, 3), ((0, 1), 2, 4)]  # never a cluster of the history itself
    assert [row[:2] for row in first[2:]] == [((2, 4), 1), ((2, 4), 2)]
    assert {row[2] for row in first[2:]} == {0, 1}  # as good as one another: any order
    assert len(ranked(9)) == 6
    assert ranked(1, signal="liked") == [((0, 1), 1, 2), ((2, 4), 1, 1)]
    assert oracle_ranking(rates, 1, "positive")["positive_rate"].to_list() == [0.3, 0.4]


def test_rates_of_plans_by_hand():
    rates = pl.DataFrame(
        {
            "history": [[0, 1]] * 4 + [[0, 2]] * 4,
            "cluster_id": [0, 1, 2, 3] * 2,
            "users": [4] * 4 + [2] * 4,
            "novel_users": [0, 0, 3, 1, 0, 1, 0, 2],
            "novel_positive_rate": [0.0, 0.0, 0.2, 0.6, 0.0, 0.4, 0.0, 0.8],
        },
        schema_overrides={"history": pl.List(pl.Int32), "cluster_id": pl.Int32},
    )
    schema = {"history": pl.List(pl.Int32), "cluster_id": pl.Int32}
    before = pl.DataFrame([([0, 1], 2), ([0, 2], 1)], schema=schema, orient="row")
    after = pl.DataFrame([([0, 1], 3), ([0, 2], 1)], schema=schema, orient="row")
    assert rates_of_plans(rates, before, after, 1) == pytest.approx(
        {
            "true_rate_before": (3 * 0.2 + 0.4) / 4,
            "true_rate_after": (0.6 + 0.4) / 2,
            "true_rate_random": (3 * 0.2 + 0.6 + 0.4 + 2 * 0.8) / 7,  # never a cluster of the history itself
            "true_rate_oracle": (0.6 + 2 * 0.8) / 3,
            "novel_share_before": 4 / 6,
            "novel_share_after": 2 / 6,
            "novel_share_random": 7 / 12,
            "novel_share_oracle": 3 / 6,
        }
    )


def cells(impressions, seed=3, histories=6, clusters=8):
    rates = np.random.default_rng(seed).uniform(0.1, 0.5, (histories, clusters))
    return rates, pl.DataFrame(
        {
            "history": [[history, 99] for history in range(histories) for _ in range(clusters)],
            "cluster_id": list(range(clusters)) * histories,
            "impressions": np.full(histories * clusters, impressions),
            "positive_rate": rates.ravel(),
        }
    )


def test_the_noise_ceiling_is_one_without_noise_and_far_lower_with_one_impression():
    ceilings = [noise_ceiling(cells(impressions)[1], 3, seed=0) for impressions in (1, 20, 400, 10**9)]
    f1, ndcg = ([ceiling[name] for ceiling in ceilings] for name in ("f1_at_k", "ndcg_at_k"))
    assert f1 == sorted(f1)
    assert ndcg == sorted(ndcg)
    assert f1[-1] > 0.999
    assert ndcg[-1] > 0.999
    assert f1[0] < 0.55  # blind choice finds 3 of 8
    assert ndcg[0] < 0.75


@pytest.mark.parametrize("impressions", [1, 25])
def test_the_noise_ceiling_equals_a_plain_monte_carlo(impressions):
    rates, frame = cells(impressions)
    rng, logs = np.random.default_rng(77), 300
    scores = []
    for _ in range(logs):
        noisy = [
            np.array([sum(rng.random(impressions) < rate) / impressions for rate in of_history]) for of_history in rates
        ]
        f1 = [f1_at_k(true, found, 3) for true, found in zip(rates, noisy, strict=True)]
        ndcg = [ndcg_at_k(true, found, 3) for true, found in zip(rates, noisy, strict=True)]
        scores.append((np.mean(f1), np.nanmean(ndcg)))
    mean, error = np.mean(scores, axis=0), np.std(scores, axis=0) * np.sqrt(2 / logs)
    found = noise_ceiling(frame, 3, seed=5, logs=logs)
    assert abs(found["f1_at_k"] - mean[0]) < 4 * error[0]
    assert abs(found["ndcg_at_k"] - mean[1]) < 4 * error[1]


def test_the_noise_ceiling_is_repeatable_and_says_when_there_is_none():
    frame = cells(10)[1]
    assert noise_ceiling(frame, 3, seed=1) == noise_ceiling(frame, 3, seed=1)
    assert noise_ceiling(frame, 3, seed=1) != noise_ceiling(frame, 3, seed=2)
    with pytest.raises(ValueError, match="no noise ceiling: none of 6 held-out histories has 10 supported clusters"):
        noise_ceiling(frame, 5, seed=1)


def test_the_ceiling_of_examples_is_that_of_the_test_rows_alone():
    frame = cells(10)[1]
    log = frame.drop("positive_rate").with_columns(
        split=pl.when(pl.col("history").list.first() < 4).then(pl.lit("test")).otherwise(pl.lit("train"))
    )
    expected = noise_ceiling(frame.filter(pl.col("history").list.first() < 4), 3, seed=0)
    found = ceiling_of_examples(log, frame.select("history", "cluster_id", "positive_rate"), 3)
    assert found == {f"{measure}_ceiling": value for measure, value in expected.items()}
    nothing = ceiling_of_examples(log, frame.select("history", "cluster_id", "positive_rate"), 5)
    assert nothing == {"f1_at_k_ceiling": None, "ndcg_at_k_ceiling": None}


def test_the_ceiling_has_the_interval_of_its_mean_over_histories():
    frame = cells(20)[1]
    log, rates = frame.with_columns(split=pl.lit("test")).drop("positive_rate"), frame.drop("impressions")
    intervals, ceiling = ceiling_intervals(log, rates, 3), ceiling_of_examples(log, rates, 3)
    assert set(intervals) == set(ceiling)
    for name, (low, high) in intervals.items():
        assert low < ceiling[name] < high
    assert ceiling_intervals(log, rates, 5) == {}


def test_logs_are_the_same_whatever_becomes_of_the_truth():
    """A world whose truth is asked for and scrambled every day writes what a world does that nobody asked."""
    options = WorldOptions(FIRST_DAY, users=150, items=200, random_shelf=2, seed=4)
    plain, scrambled = World(options), World(options)
    rng = np.random.default_rng(9)
    for number in range(8):
        truth = scrambled.truth()
        truth.catalogue = copy.deepcopy(truth.catalogue)
        permutation = rng.permutation(24)
        assert (permutation != np.arange(24)).any()
        before = truth.user_rates(np.arange(150), truth.item_topics)["positive"]
        truth.tastes[:] = truth.tastes[:, permutation]  # in place: what the world still reads would change too
        truth.catalogue.topics[:] = rng.permutation(24)[truth.catalogue.topics]
        truth.catalogue.quality[:] = rng.normal(size=len(truth.catalogue.quality))
        after = truth.user_rates(np.arange(150), truth.item_topics)["positive"]
        assert not np.allclose(before, after)
        truth.history_rates(truth.item_topics, 2)
        policies = [RandomPolicy(world) if number >= 4 else None for world in (plain, scrambled)]
        days = [
            world.simulate_day(world.next_day, policy)
            for world, policy in zip((plain, scrambled), policies, strict=True)
        ]
        for name in FRAMES:
            assert getattr(days[0], name).equals(getattr(days[1], name)), (number, name)


def test_nothing_that_learns_mentions_the_world_or_its_truth():
    allowed = {
        PROJECT / "alignrec_assets" / f"{name}.py"
        for name in (
            *(f"commands/{name}" for name in ("simulate", "demo", "demo_report", "study", "few_feedback_study")),
            "assets/inference_scaling",
            "cli",
        )
    }
    learning = [
        path
        for path in chain(
            (PROJECT / "models").rglob("*.py"),
            (PROJECT / "alignrec_assets").rglob("*.py"),
            (PROJECT / "sql").rglob("*.sql"),
        )
        if PROJECT / "models" / "arena" not in path.parents and path not in allowed
    ]
    assert {"models", "alignrec_assets", "sql"} <= {path.relative_to(PROJECT).parts[0] for path in learning}
    words = ("models.arena", "arena", "simulation_truth", "alignrec_assets.commands.simulate")
    mentions = {
        str(path.relative_to(PROJECT)): word for path in learning for word in words if word in path.read_text("utf-8")
    }
    assert mentions == {}
    assert "models.arena" in (PROJECT / "alignrec_assets" / "commands" / "simulate.py").read_text("utf-8")
    assert "simulation_truth" in (PROJECT / "alignrec_assets" / "commands" / "simulate.py").read_text("utf-8")


def test_rates_at_the_level_of_a_log_have_its_mean_and_keep_their_odds_ratios():
    rates, impressions = np.array([0.2, 0.5, 0.8]), np.array([10, 30, 10])
    moved = at_the_level_of(rates, np.array([0.0, 0.4, 0.5]), impressions)
    assert np.average(moved, weights=impressions) == pytest.approx(17 / 50)
    odds = moved / (1 - moved)
    np.testing.assert_allclose(odds / odds[1], [0.25, 1.0, 4.0])
