"""Feedback for few of the pairs of a world: histories by hand, counts and true rates against the world itself."""

import datetime as dt
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.arena.few_feedback import (
    TEACHING_SHARE,
    FewFeedbackOptions,
    density_of,
    few_feedback,
    held_histories,
    histories_for,
)
from models.arena.world import World, WorldOptions

OPTIONS = FewFeedbackOptions(
    length=2,
    density=0.3,
    served=4,
    apart_share=0.2,
    judged=10,
    judged_served=6,
    judged_apart=3,
    least_teachers=2,
    least_judges=3,
    seed=4,
)


@pytest.fixture(scope="module")
def world():
    found = World(WorldOptions(first_day=dt.date(2026, 1, 5), users=1_500, items=300, shelf=1, seed=2))
    for _ in range(6):
        found.simulate_day(found.next_day)
    return found


@pytest.fixture(scope="module")
def feedback(world):
    return few_feedback(world, OPTIONS)


def test_a_history_is_the_latest_topics_that_pleased():
    topics = np.array([5, 7, 9, 7])  # of the items; the second and the last are of one topic
    users = np.array([0, 0, 1, 0, 0, 0, 1])
    items = np.array([0, 1, 0, 3, 2, 0, 2])
    positive = np.array([True, True, True, True, True, True, False])
    held = held_histories([(users, items, np.arange(7), positive)], topics, 2)
    assert held.tolist() == [[0, 5, 7], [0, 5, 9], [0, 7, 9]]


def test_density_counts_pairs_of_member_and_candidate():
    taught = pl.DataFrame(
        {"number": [0, 0, 1, 2], "history": [[0, 1], [0, 1], [1, 2], [0, 1]], "cluster_id": [3, 2, 3, 4]}
    )
    # (0, 3), (1, 3), (0, 2), (1, 2); then (2, 3) alone is new; then (0, 4), (1, 4)
    assert density_of(taught, 8) == pytest.approx(7 / 56)
    assert [histories_for(taught, pairs / 56, 8) for pairs in (1, 4, 5, 6, 50)] == [1, 1, 2, 3, 3]


def test_nobody_teaches_and_judges_and_what_is_apart_is_never_served(feedback):
    taught, judged = ({tuple(row) for row in frame["history"]} for frame in (feedback.taught, feedback.judged))
    assert not taught & judged
    assert len(judged) == OPTIONS.judged
    apart = set(feedback.judged.filter("apart")["cluster_id"])
    assert not apart & set(feedback.taught["cluster_id"])
    assert not apart & set(feedback.judged.filter(~pl.col("apart"))["cluster_id"])
    assert density_of(feedback.taught, 24) >= OPTIONS.density
    assert (feedback.taught["positives"] <= feedback.taught["impressions"]).all()


def test_counts_and_rates_are_those_of_users_to_whom_the_cluster_is_new(world, feedback):
    truth = world.truth()
    rates = truth.user_rates(np.arange(world.options.users), truth.item_topics)["positive"]
    known, recent, held = set(), {}, {}
    for users, items, _, positive in world.plays():
        topics = world.catalogue.main_topics[items]
        for user, topic, liked in zip(users.tolist(), topics.tolist(), positive.tolist(), strict=True):
            known.add((user, topic))
            if liked:
                recent[user] = ([topic] + [other for other in recent.get(user, []) if other != topic])[:2]
                if len(recent[user]) == 2:
                    held.setdefault(tuple(sorted(recent[user])), set()).add(user)
    teaches = np.random.default_rng([OPTIONS.seed, 7]).random(world.options.users) < TEACHING_SHARE
    expected_positives = variance = 0.0
    for history, cluster, impressions in feedback.taught.select("history", "cluster_id", "impressions").iter_rows():
        new = [user for user in held[tuple(history)] if teaches[user] and (user, cluster) not in known]
        assert impressions == len(new)
        expected_positives += rates[new, cluster].sum()
        variance += (rates[new, cluster] * (1 - rates[new, cluster])).sum()
    assert abs(feedback.taught["positives"].sum() - expected_positives) < 4 * variance**0.5
    for history, cluster, users, rate in feedback.judged.drop("apart").iter_rows():
        new = [user for user in held[tuple(history)] if not teaches[user] and (user, cluster) not in known]
        assert users == len(new)
        assert rate == pytest.approx(rates[new, cluster].mean())


def test_too_few_histories_are_refused(world):
    with pytest.raises(ValueError, match="simulate more users or days"):
        few_feedback(world, replace(OPTIONS, density=0.99))
