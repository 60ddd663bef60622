"""The queries on interests, transitions and feedback against a plain-Python reading of the definitions."""

from collections import defaultdict
from datetime import date, datetime, timedelta

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rows import comparable, fill

from alignrec_assets.warehouse.connection import create_tables
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.rows import append_rows, replace_days

START = datetime(2026, 1, 5)
DAYS = [date(2026, 1, 5) + timedelta(days=number) for number in range(3)]
CLUSTERS = {f"item{number}": number % 5 for number in range(10)}
TAXONOMY = "taxonomy-a"
PARAMETERS = {"taxonomy_version": TAXONOMY, "history_clusters": 2, "explored_minutes": 60, "snapshot_day": None}

events_strategy = st.lists(
    st.tuples(
        st.sampled_from(["ada", "bob"]),
        st.sampled_from(sorted(CLUSTERS)),
        st.integers(0, 3 * 24 * 4 - 1),  # quarter hours
        st.booleans(),
    ),
    max_size=40,
    unique_by=lambda event: event[:3],
)


@pytest.fixture(scope="module")
def connection():
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    create_tables(connection)
    fill(
        connection,
        "interests.item_clusters",
        [{"taxonomy_version": TAXONOMY, "item_id": item, "cluster_id": cluster} for item, cluster in CLUSTERS.items()],
    )
    fill(
        connection,
        "interests.clusters",
        [{"taxonomy_version": TAXONOMY, "cluster_id": cluster, "label": f"label {cluster}"} for cluster in range(5)],
    )
    yield connection
    connection.close()


def moment(quarter):
    return START + timedelta(minutes=15 * quarter)


def load(connection, events, impressions=()):
    fill(
        connection,
        "raw.events",
        [
            {"day": moment(at).date(), "user_id": user, "item_id": item, "ts": moment(at), "positive": positive}
            for user, item, at, positive in events
        ],
    )
    fill(connection, "raw.feedback_logs", list(impressions))
    replace_days(connection, "interests.user_cluster_days", DAYS)
    replace_days(connection, "interests.first_interactions", DAYS, PARAMETERS)
    replace_days(connection, "training.novel_transitions", DAYS)


def read(connection, table, columns):
    rows = connection.execute(f"SELECT {columns} FROM {table}").fetchall()
    return comparable(rows)


@settings(max_examples=25, deadline=None)
@given(events=events_strategy)
def test_days_one_by_one_equal_the_range(connection, events):
    load(connection, events)
    at_once = set(read(connection, "interests.first_interactions", "user_id, cluster_id, history, ts, positive"))
    for day in DAYS:
        replace_days(connection, "interests.user_cluster_days", [day])
        replace_days(connection, "interests.first_interactions", [day], PARAMETERS)
    one_by_one = read(connection, "interests.first_interactions", "user_id, cluster_id, history, ts, positive")
    assert set(one_by_one) == at_once
    assert len(one_by_one) == len(at_once)


@pytest.mark.parametrize(
    ("minutes", "explored"), [((200, 30), True), ((200, 90), False), ((30, -5), True), ((0,), True), ((), False)]
)
def test_the_last_impression_before_a_first_interaction_tells_whether_it_was_explored(connection, minutes, explored):
    first = START + timedelta(hours=20)
    before = [*(("item3", each) for each in minutes), ("item4", 10)]  # the last one of another cluster
    shown = [
        {"day": DAYS[0], "user_id": "ada", "item_id": item, "ts": first - timedelta(minutes=each)}
        for item, each in before
    ]
    load(connection, [("ada", "item1", 4, True), ("ada", "item2", 8, True), ("ada", "item3", 80, True)], shown)
    found = read(connection, "interests.first_interactions", "cluster_id, explored")
    assert (3, explored) in found


def test_of_clusters_liked_at_one_moment_the_lower_ones_are_the_history(connection):
    load(connection, [*(("ada", f"item{number}", 4, True) for number in (3, 1, 2)), ("ada", "item4", 9, False)])
    assert read(connection, "interests.first_interactions", "cluster_id, history") == [(4, (1, 2))]


@settings(max_examples=25, deadline=None)
@given(events=events_strategy)
def test_user_cluster_days_hold_the_days_own_extremes(connection, events):
    load(connection, events)
    expected = defaultdict(list)
    for user, item, at, positive in events:
        expected[(moment(at).date(), user, CLUSTERS[item])].append((moment(at), positive))
    found = read(
        connection,
        "interests.user_cluster_days",
        "day, user_id, cluster_id, first_ts, last_ts, first_positive_ts, last_positive_ts",
    )
    assert len(found) == len(expected)
    for day, user, cluster, first, last, first_positive, last_positive in found:
        moments = [at for at, _ in expected[(day, user, cluster)]]
        positives = [at for at, positive in expected[(day, user, cluster)] if positive]
        assert (first, last) == (min(moments), max(moments))
        assert (first_positive, last_positive) == (min(positives, default=None), max(positives, default=None))


def impression(user, item, at, **columns):
    return {
        "day": moment(at).date(),
        "request_id": f"{user}-{item}-{at}",
        "user_id": user,
        "item_id": item,
        "ts": moment(at),
        "policy": "table",
        "positive": False,
        "liked": False,
        "final": True,
        **columns,
    }


def users_table(connection, source, replay_share=0.5):
    parameters = {
        "taxonomy_version": TAXONOMY,
        "history_clusters": 2,
        "source": source,
        "replay_share": replay_share,
        "snapshot_day": None,
    }
    replace_days(connection, "feedback.transition_users", DAYS, parameters)
    replace_days(connection, "feedback.transition_counts", DAYS)
    return read(
        connection, "feedback.transition_users", "day, history, cluster_id, user_id, impressions, positives, likes"
    )


def test_logged_feedback_is_counted_by_user_and_random_alone_by_setting(connection):
    standing = {"taxonomy_version": TAXONOMY, "history": [0, 1]}
    logs = [
        impression("ada", "item2", 1, cluster_id=2, positive=True, liked=True, **standing),
        impression("ada", "item7", 2, cluster_id=2, **standing),
        impression("bob", "item3", 3, cluster_id=3, policy="random", **standing),
        # Serving an own cluster is no exploration.
        impression("bob", "item1", 4, cluster_id=1, **standing),
    ]
    load(connection, [], logs)
    assert set(users_table(connection, "logged")) == {
        (DAYS[0], (0, 1), 2, "ada", 2, 1, 1),
        (DAYS[0], (0, 1), 3, "bob", 1, 0, 0),
    }
    counts = read(connection, "feedback.transition_counts", "history, cluster_id, impressions, users, positives")
    assert set(counts) == {((0, 1), 2, 2, 1, 1), ((0, 1), 3, 1, 1, 0)}
    assert users_table(connection, "random") == [(DAYS[0], (0, 1), 3, "bob", 1, 0, 0)]


def test_each_signal_is_summed_apart(connection):
    standing = {"taxonomy_version": TAXONOMY, "history": [0, 1], "cluster_id": 2, "skipped": False}
    raised = [("positive", "liked", "shared", "completed"), ("liked", "shared", "completed"), ("shared", "completed")]
    raised += [("completed", "skipped"), ("skipped",), ("skipped",), ()]
    logs = [
        impression("ada", f"item{2 + 5 * (number % 2)}", number, **{**standing, **dict.fromkeys(flags, True)})
        for number, flags in enumerate(raised, start=1)
    ]
    load(connection, [], logs)
    users_table(connection, "logged")
    columns = "impressions, positives, likes, shares, completions, skips"
    for table in ("feedback.transition_users", "feedback.transition_counts"):
        assert read(connection, table, columns) == [(7, 1, 2, 3, 4, 3)]


def test_impressions_of_another_taxonomy_are_derived_again(connection):
    events = [("ada", "item0", 0, True), ("ada", "item4", 1, True), ("bob", "item0", 0, True)]
    later = 24 * 4 + 1
    logs = [
        impression("ada", "item7", later, cluster_id=9, taxonomy_version="older", history=[7, 8], positive=True),
        # An unknown cluster in a log is no reason to lose what the user did.
        impression("ada", "item6", later, cluster_id=1, taxonomy_version=TAXONOMY, history=[0, 99]),
        impression("ada", "item3", later, positive=True),  # never had a taxonomy: random exposures of a bare platform
        impression("bob", "item3", later, positive=True),  # bob has one positive cluster: no S, cannot be carried over
    ]
    load(connection, events, logs)
    assert set(users_table(connection, "logged")) == {
        (DAYS[1], (0, 4), 2, "ada", 1, 1, 0),
        (DAYS[1], (0, 4), 3, "ada", 1, 1, 0),
        (DAYS[1], (0, 4), 1, "ada", 1, 0, 0),
    }


def test_what_was_logged_stands_up_to_the_largest_cluster_and_for_items_without_one(connection):
    standing = {"taxonomy_version": TAXONOMY, "history": [0, 4]}
    logs = [
        impression("ada", "gone", 1, cluster_id=3, **standing),  # an item that no cluster holds
        impression("bob", "item2", 2, cluster_id=2, **standing),
        impression("bob", "item4", 3, **{**standing, "history": [0, 1]}, cluster_id=4),
        impression("cyd", "item2", 4, cluster_id=2, taxonomy_version=TAXONOMY),  # without S, and nobody knows cyd
    ]
    load(connection, [], logs)
    assert {row[1:4] for row in users_table(connection, "logged")} == {
        ((0, 4), 3, "ada"),
        ((0, 4), 2, "bob"),
        ((0, 1), 4, "bob"),
    }


def test_a_history_that_is_held_is_of_the_last_positives_under_the_taxonomy(connection):
    positive = [("ada", "item0", 0), ("ada", "item1", 1), ("ada", "item2", 2), ("ada", "item0", 280)]
    load(connection, [(*event, True) for event in positive] + [("ada", "item3", 281, False)])
    connection.execute(
        "INSERT INTO interests.user_cluster_days SELECT * REPLACE ('older' AS taxonomy_version, 4 AS cluster_id) "
        "FROM interests.user_cluster_days WHERE cluster_id = 0"
    )
    asked = {"taxonomy_version": TAXONOMY, "history_clusters": 2}
    assert connection.execute(query("candidates.held_histories"), asked).fetchall() == [([0, 2], 1)]


@settings(max_examples=25, deadline=None)
@given(events=events_strategy)
def test_replay_never_uses_an_event_that_teaches_the_novelty_model(connection, events):
    load(connection, events)
    replayed = users_table(connection, "replay", replay_share=0.6)
    parameters = {"until": DAYS[-1], "taxonomy_version": TAXONOMY, "replay_share": 0.6}
    taught = connection.execute(query("training.novelty_examples"), parameters).fetchall()
    replay_users, taught_users = {row[3] for row in replayed}, {row[2] for row in taught}
    assert not replay_users & taught_users
    firsts = read(connection, "interests.first_interactions", "user_id, positive")
    assert sum(row[5] for row in replayed) + len(taught) == sum(positive for _, positive in firsts)
    assert sum(row[4] for row in replayed) == sum(user in replay_users for user, _ in firsts)


def test_scores_count_distinct_users_over_the_window(connection):
    row = {"taxonomy_version": TAXONOMY, "history": [0, 1], "cluster_id": 2, "user_id": "ada", "likes": 0, "shares": 0}
    row["novel"] = True
    fill(
        connection,
        "feedback.transition_users",
        [
            {**row, "day": DAYS[0], "impressions": 3, "positives": 1, "completions": 0, "skips": 2},
            {**row, "day": DAYS[1], "impressions": 2, "positives": 2, "completions": 0, "skips": 0},
            {**row, "day": DAYS[2], "impressions": 9, "positives": 9, "completions": 0, "skips": 0},
        ],
    )
    parameters = {"first_day": DAYS[0], "as_of": DAYS[1], "taxonomy_version": TAXONOMY}
    parameters |= {"exposures": "novel", "share": 1.0}
    cells = connection.execute(query("feedback.transition_scores"), parameters).fetchall()
    # history, cluster, impressions, novel ones, users, then positive, liked, shared, completed and not skipped
    assert cells == [([0, 1], 2, 5, 5, 1, 3, 0, 0, 0, 3)]
    parameters["first_day"] = DAYS[1]
    assert connection.execute(query("feedback.transition_scores"), parameters).fetchall() == [
        ([0, 1], 2, 2, 2, 1, 2, 0, 0, 0, 2)
    ]


def test_rows_are_inserted_by_name_and_nothing_else(connection):
    rows = pl.DataFrame({"cluster_id": [1], "item_id": ["x"], "similarity": [0.5], "taxonomy_version": ["t"]})
    append_rows(connection, "interests.item_clusters", rows)
    assert connection.execute("FROM interests.item_clusters WHERE item_id = 'x'").fetchall() == [("t", "x", 1, 0.5)]
    connection.execute("DELETE FROM interests.item_clusters WHERE item_id = 'x'")
    with pytest.raises(ValueError, match=r"interests\.item_clusters has columns"):
        append_rows(connection, "interests.item_clusters", rows.drop("similarity"))
