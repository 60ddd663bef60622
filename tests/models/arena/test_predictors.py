"""The predictors by hand and brute force, the contest between them, and the order in which they find what pleases."""

import math

import numpy as np
import polars as pl
import pytest
from support.worlds import FIRST_DAY, RandomPolicy, numbers, with_positive

from models.arena.predictors import (
    FACTORS,
    LIFT_SUPPORT,
    MIXES,
    PREDICTORS,
    RANKED,
    TILT,
    TopicLog,
    compare_predictors,
    contests_over_worlds,
    predictions,
)
from models.arena.topics import attribute_matrix, load_topics
from models.arena.world import World, WorldOptions

USERS = 30
ATTRIBUTES = attribute_matrix(*load_topics(24))
CONTEST = WorldOptions(FIRST_DAY, users=4_000, topics=48, random_shelf=1)


@pytest.fixture(scope="module")
def log():
    """Numbers of plays and exposures drawn at random; the first user was never pleased."""
    rng = np.random.default_rng(4)
    made = TopicLog(World(WorldOptions(FIRST_DAY, users=USERS, items=40)))
    made.plays = rng.poisson(0.8, (USERS, 24)).astype(float)
    made.positives = rng.binomial(made.plays.astype(int), 0.6).astype(float)
    made.positives[0] = 0
    made.exposures = rng.integers(0, 50, 24).astype(float)
    made.positive_exposures = rng.binomial(made.exposures.astype(int), 0.3).astype(float)
    return made


@pytest.fixture(scope="module")
def simulated():
    """A world after six days, the last two of them explored; its log, its traffic, its truth."""
    world = World(WorldOptions(FIRST_DAY, users=300, items=400, random_shelf=2, seed=6))
    log, traffic = TopicLog(world), []
    for number in range(6):
        traffic.append(world.simulate_day(world.next_day, RandomPolicy(world) if number >= 4 else None))
        log.add(traffic[-1])
    return world, log, traffic, world.truth()


@pytest.fixture(scope="module")
def contests():
    return contests_over_worlds(CONTEST, days=14, seeds=1, mixes=(0.0, 0.5, 1.0), k=3)


def test_popularity_and_prior_by_hand(log):
    found = predictions(log, ATTRIBUTES)
    assert set(found) == set(PREDICTORS) - {"oracle"}
    for topic in range(24):
        plays = sum(log.plays[user, topic] for user in range(USERS))
        prior = (log.positive_exposures[topic] + 1) / (log.exposures[topic] + 2)
        assert (found["popularity"][:, topic] == plays).all()
        assert np.allclose(found["prior"][:, topic], prior)
    assert (found["random"] == 0).all()
    assert all(scores.shape == (USERS, 24) for scores in found.values())


def test_item_to_item_is_the_prior_times_the_mean_lift_over_what_pleased(log):
    pleased = [{topic for topic in range(24) if log.positives[user, topic] > 0} for user in range(USERS)]
    found = predictions(log, ATTRIBUTES)["item_to_item"]

    def lift(one, other):
        both = sum(one in liked and other in liked for liked in pleased)
        by_chance = sum(one in liked for liked in pleased) * sum(other in liked for liked in pleased) / USERS
        return (both + LIFT_SUPPORT) / (by_chance + LIFT_SUPPORT)

    for user, liked in enumerate(pleased):
        for topic in range(24):
            prior = (log.positive_exposures[topic] + 1) / (log.exposures[topic] + 2)
            mean = sum(lift(topic, one) for one in liked) / len(liked) if liked else 0.0
            assert math.isclose(found[user, topic], prior * mean, rel_tol=1e-9, abs_tol=1e-12)


def test_words_are_the_cosine_with_what_pleased(log):
    found = predictions(log, ATTRIBUTES)["words"]
    for user in range(USERS):
        profile = sum((ATTRIBUTES[topic] for topic in range(24) if log.positives[user, topic] > 0), np.zeros(16))
        for topic in range(24):
            dot = sum(a * b for a, b in zip(profile, ATTRIBUTES[topic], strict=True))
            lengths = math.hypot(*profile) * math.hypot(*ATTRIBUTES[topic])
            assert math.isclose(found[user, topic], dot / lengths if lengths else 0.0, rel_tol=1e-9, abs_tol=1e-12)
    assert (found[0] == 0).all()


def test_factorisation_is_the_prior_tilted_by_the_two_strongest_factors(log):
    pleased = (log.positives > 0).astype(float)
    share = pleased.mean(axis=0)
    left, strength, right = np.linalg.svd((pleased - share) / np.sqrt(share * (1 - share)))
    personal = (left[:, :FACTORS] * strength[:FACTORS]) @ right[:FACTORS]
    prior = (log.positive_exposures + 1) / (log.exposures + 2)
    # scikit-learn's truncated decomposition is an iterative one.
    assert np.allclose(predictions(log, ATTRIBUTES)["factorisation"], prior * np.exp(TILT * personal), rtol=0.02)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # scikit-learn's share of a variance of zero
def test_predictions_of_a_log_without_a_play_are_finite():
    empty = TopicLog(World(WorldOptions(FIRST_DAY, users=USERS, items=40)))
    for name, scores in predictions(empty, ATTRIBUTES).items():
        assert np.isfinite(scores).all(), name
        assert (scores == scores[0, 0]).all(), name


def test_the_log_counts_plays_and_exposures_by_topic(simulated):
    world, log, traffic, _ = simulated
    items = pl.concat([day.items for day in traffic])
    plays, positives = np.zeros((300, 24)), np.zeros((300, 24))
    exposures, positive_exposures = np.zeros(24), np.zeros(24)
    topics = world.catalogue.main_topics
    for day in traffic:
        events = with_positive(day.events, items)
        rows = zip(numbers(events["user_id"]), topics[numbers(events["item_id"])], events["positive"], strict=True)
        for user, topic, positive in rows:
            plays[user, topic] += 1
            positives[user, topic] += positive
        for topic in topics[numbers(day.feedback["item_id"])]:
            exposures[topic] += 1
        outcomes = with_positive(day.outcomes, items)
        for topic, positive in zip(topics[numbers(outcomes["item_id"])], outcomes["positive"], strict=True):
            positive_exposures[topic] += positive
    assert (log.plays == plays).all()
    assert (log.positives == positives).all()
    assert (log.exposures == exposures).all()
    assert (log.positive_exposures == positive_exposures).all()
    assert log.exposures.sum() == sum(day.exposures for day in world.days) > 1_000
    assert log.positive_exposures.sum() == sum(day.positive_exposures for day in world.days) > 100


def test_the_contest_equals_brute_force(simulated):
    world, log, _, truth = simulated
    k = 3
    contest = compare_predictors(world, log, truth, k, seed=0)
    judged = [user for user in range(300) if (log.plays[user] == 0).sum() >= 2 * k and log.positives[user].sum() > 0]
    assert contest.users == len(judged) > 100
    rates = truth.user_rates(np.array(judged), truth.item_topics)["positive"]
    scores = predictions(log, ATTRIBUTES)
    oracle, random, words, shared = [], [], [], []
    for row, user in enumerate(judged):
        novel = [topic for topic in range(24) if log.plays[user, topic] == 0]
        best = sorted(novel, key=lambda topic: -rates[row, topic])[:k]
        guessed = sorted(novel, key=lambda topic: -scores["item_to_item"][user, topic])[:k]
        oracle.append(np.mean(rates[row, best]))
        random.append(np.mean(rates[row, novel]))
        words.append(np.mean(rates[row, guessed]))
        shared.append(len(set(best) & set(guessed)) / k)
    assert math.isclose(contest.rates["oracle"], np.mean(oracle))
    assert math.isclose(contest.rates["random"], np.mean(random))
    assert math.isclose(contest.rates["item_to_item"], np.mean(words))
    assert math.isclose(contest.f1_at_k["item_to_item"], np.mean(shared))
    explained = (np.mean(words) - np.mean(random)) / (np.mean(oracle) - np.mean(random))
    assert math.isclose(contest.explained("item_to_item"), explained)
    assert contest.explained("oracle") == 1
    assert contest.explained("random") == 0
    assert math.isclose(contest.f1_at_k["oracle"], 1)


def test_at_most_a_thousand_users_are_judged_and_the_seed_says_who():
    world = World(WorldOptions(FIRST_DAY, users=2_500, items=200, random_shelf=1))
    log = TopicLog(world)
    log.add(world.simulate_day(FIRST_DAY))
    truth = world.truth()
    one, other = (compare_predictors(world, log, truth, 3, seed) for seed in (1, 2))
    assert one.users == other.users == 1_000
    assert one.rates["oracle"] != other.rates["oracle"]


def test_a_contest_that_nobody_can_be_judged_in_is_refused(simulated):
    world, log, _, truth = simulated
    with pytest.raises(ValueError, match="no user has 26 topics left to explore"):
        compare_predictors(world, log, truth, 13, seed=0)
    with pytest.raises(ValueError, match="no user has 6 topics left to explore"):
        compare_predictors(world, TopicLog(world), truth, 3, seed=0)  # nobody was ever pleased


def test_contests_over_worlds_are_those_held_one_by_one():
    options = WorldOptions(FIRST_DAY, users=200, items=200, random_shelf=1)
    found = contests_over_worlds(options, days=3, seeds=2, mixes=(0.25, 1.0), k=3)
    assert found.select("mix", "seed").rows() == [(0.25, 0), (0.25, 1), (1.0, 0), (1.0, 1)]
    world = World(WorldOptions(FIRST_DAY, users=200, items=200, random_shelf=1, seed=1, mix=1.0))
    log = TopicLog(world)
    for _ in range(3):
        log.add(world.simulate_day(world.next_day))
    contest = compare_predictors(world, log, world.truth(), 3, seed=0)
    last = found.row(-1, named=True)
    explained = [contest.explained(name) for name in PREDICTORS]
    assert [last[f"explained_{name}"] for name in PREDICTORS] == explained
    ranked = [contest.explained(name) for name in RANKED]
    assert last["in_order"] == (ranked == sorted(set(ranked)))


def test_predictors_come_in_their_order_and_none_explains_all(contests):
    assert contests["in_order"].to_list() == [True] * 3
    for name in set(RANKED) - {"random", "oracle"}:
        assert contests[f"explained_{name}"].is_between(0.02, 0.9).all(), name
    assert contests["explained_oracle"].to_list() == [1.0] * 3
    assert contests["explained_random"].to_list() == [0.0] * 3


def test_words_explain_much_where_taste_follows_them_and_nothing_where_it_contradicts_them(contests):
    followed, half, contradicted = contests.sort("mix")["explained_words"]
    assert followed > 0.3
    assert followed - half > 0.05
    assert half - contradicted > 0.05
    assert abs(contradicted) < 0.1


@pytest.mark.full
def test_predictors_come_in_their_order_in_all_worlds():
    options = WorldOptions(FIRST_DAY, users=6_000, topics=48, random_shelf=1)
    contests = contests_over_worlds(options, days=14, seeds=5, mixes=MIXES, k=3)
    assert contests.height == 25
    assert contests.filter(~pl.col("in_order")).to_dicts() == []


@pytest.mark.full
def test_predictors_come_in_their_order_in_worlds_of_768_topics():
    """Five random exposures a session: with one, the prior fell behind popularity in one of three worlds."""
    options = WorldOptions(FIRST_DAY, users=20_000, items=7_680, topics=768, random_shelf=5)
    contests = contests_over_worlds(options, days=14, seeds=1, mixes=(0.0, 0.5, 1.0), k=3)
    assert contests["in_order"].to_list() == [True] * 3
    assert contests["explained_words"].is_sorted(descending=True)
    for name in set(RANKED) - {"random", "oracle"}:
        assert contests[f"explained_{name}"].is_between(0.02, 0.9).all(), name
