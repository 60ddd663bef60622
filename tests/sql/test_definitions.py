"""The queries against a slow, independent reading of the definitions, over small random logs.

The logs have ties (moments are hours, items share clusters), impressions of no, this or another taxonomy, open windows,
days that arrive late, and a taxonomy that changes under standing days.
"""

from collections import Counter
from datetime import date, datetime, timedelta

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.definitions import Event, Impression, Reference
from support.rows import comparable, fill

from alignrec_assets.assets.past_interests import bring_to_day_before
from alignrec_assets.warehouse.connection import create_tables
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.records import Record, write_records
from alignrec_assets.warehouse.rows import replace_days, set_wanted_days

START = datetime(2026, 1, 5)
DAYS = [date(2026, 1, 5) + timedelta(days=number) for number in range(4)]
ITEMS = [f"item{number}" for number in range(10)]
TAXONOMY = {
    "old": {item: place % 5 for place, item in enumerate(ITEMS)},
    "new": {item: place // 3 for place, item in enumerate(ITEMS)},
}
EXPLORED_HOURS = 5
SOURCES = ("logged", "random", "replay")

users = st.sampled_from(["ada", "fay", "ida"])  # by their hashes the last two are replayed
moments = st.integers(0, len(DAYS) * 24 - 1).map(lambda hour: START + timedelta(hours=hour))
events = st.lists(
    st.builds(Event, users, st.sampled_from(ITEMS), moments, st.booleans()),
    max_size=40,
    unique_by=lambda event: (event.user, event.item, event.ts),
)
plans = st.one_of(
    st.just((None, None, None)),
    st.tuples(
        st.sampled_from(["old", "new", "foreign"]),
        st.sampled_from([None, (0, 1), (1, 3), (0, 9), (0, 1, 2)]),
        st.integers(0, 4),
    ),
)
impressions = st.lists(
    st.builds(
        lambda user, item, ts, positive, final, policy, plan: Impression(
            user, item, ts, positive, final, policy, *plan
        ),
        users,
        st.sampled_from(ITEMS),
        moments,
        st.booleans(),
        st.booleans(),
        st.sampled_from(["random", "table"]),
        plans,
    ),
    max_size=15,
)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        create_tables(connection)
        yield connection


def land(connection, events, impressions):
    fill(
        connection,
        "raw.events",
        [
            {"day": e.ts.date(), "user_id": e.user, "item_id": e.item, "ts": e.ts, "positive": e.positive}
            for e in events
        ],
    )
    fill(
        connection,
        "raw.feedback_logs",
        [
            {
                "day": shown.ts.date(),
                "request_id": str(number),
                "item_id": shown.item,
                "user_id": shown.user,
                "ts": shown.ts,
                "history": None if shown.history is None else list(shown.history),
                "cluster_id": shown.cluster,
                "policy": shown.policy,
                "taxonomy_version": shown.taxonomy,
                "positive": shown.positive,
                "final": shown.final,
            }
            for number, shown in enumerate(impressions)
        ],
    )


def cluster(connection, taxonomy):
    rows = [{"taxonomy_version": taxonomy, "item_id": i, "cluster_id": c} for i, c in TAXONOMY[taxonomy].items()]
    fill(connection, "interests.item_clusters", rows)
    known = sorted(set(TAXONOMY[taxonomy].values()))
    fill(
        connection,
        "interests.clusters",
        [{"taxonomy_version": taxonomy, "cluster_id": each, "label": f"label {each}"} for each in known],
    )


def make(connection, days, taxonomy, source, k=2):
    """The daily tables, as the line makes them."""
    named = {"taxonomy_version": taxonomy, "history_clusters": k}
    replace_days(connection, "interests.user_cluster_days", days)
    record_days(connection, days)
    named["snapshot_day"] = bring_to_day_before(connection, min(days), taxonomy)
    assert_kept_past(connection, named["snapshot_day"])
    explored = {"explored_minutes": EXPLORED_HOURS * 60}
    replace_days(connection, "interests.first_interactions", days, named | explored)
    replace_days(connection, "training.novel_transitions", days)
    replace_days(connection, "feedback.transition_users", days, named | {"source": source, "replay_share": 0.5})
    replace_days(connection, "feedback.transition_counts", days)


def assert_kept_past(connection, until):
    columns = "user_id, cluster_id, min(first_ts), max(last_positive_ts)"
    before = f"SELECT {columns} FROM interests.user_cluster_days WHERE day <= $until GROUP BY user_id, cluster_id"
    expected = connection.execute(before, {"until": until}).fetchall() if until else []
    kept = rows_of(connection, "user_id, cluster_id, first_ts, last_positive_ts", "interests.user_clusters")
    assert sorted(map(str, kept)) == sorted(map(str, expected))


def record_days(connection, days):
    """As the line records days: the version follows from their content."""
    held = "SELECT day, string_agg(CAST(d AS VARCHAR), '|' ORDER BY user_id, cluster_id) FROM {} AS d GROUP BY day"
    content = dict(connection.execute(held.format("interests.user_cluster_days")).fetchall())
    records = {day.isoformat(): Record(content.get(day, ""), int(day in content)) for day in days}
    write_records(connection, "interests.user_cluster_days", records)


def reference(events, impressions, taxonomy, k=2):
    return Reference(events, impressions, TAXONOMY[taxonomy], taxonomy, k, timedelta(hours=EXPLORED_HOURS))


def rows_of(connection, columns, table):
    rows = connection.execute(f"SELECT {columns} FROM {table}").fetchall()
    return comparable(rows)


def check(connection, told, taxonomy, source, k=2):
    """Every daily table against the reference, and what is asked of them."""
    first = rows_of(
        connection, "user_id, cluster_id, history, item_id, ts, positive, explored", "interests.first_interactions"
    )
    assert len(first) == len(set(first))
    assert set(first) == told.first_interactions()
    transitions = rows_of(connection, "user_id, cluster_id, history, ts", "training.novel_transitions")
    assert set(transitions) == told.novel_transitions()
    counted = rows_of(
        connection, "day, user_id, history, cluster_id, novel, impressions, positives", "feedback.transition_users"
    )
    expected = {}
    for ts, user, history, served, novel, positive, _ in told.exposures(source):
        key = (ts.date(), user, history, served, novel)
        shown, liked = expected.get(key, (0, 0))
        expected[key] = (shown + 1, liked + positive)
    assert sorted(counted) == sorted((*key, *value) for key, value in expected.items())
    for exposures in ("novel", "all"):
        span = {"first_day": DAYS[1], "as_of": DAYS[2], "taxonomy_version": taxonomy}
        cells = connection.execute(
            query("feedback.transition_scores"), {**span, "exposures": exposures, "share": 1.0}
        ).fetchall()
        since, until = (START + timedelta(days=number) for number in (1, 3))
        assert {(tuple(row[0]), row[1]): (row[2], row[4], row[5]) for row in cells} == told.cells(
            source, since, until, only_novel=exposures == "novel"
        )
    named = {"taxonomy_version": taxonomy, "history_clusters": k}
    held = connection.execute(query("candidates.held_histories"), named).fetchall()
    at_the_end = [told.history(user, datetime.max) for user in {event.user for event in told.events}]
    assert [(tuple(history), users) for history, users in held] == sorted(Counter(filter(None, at_the_end)).items())
    set_wanted_days(connection, DAYS)
    asked = named | {"source": source, "replay_share": 0.5, "snapshot_day": None}
    policies = connection.execute(query("evaluation.exposures_by_policy"), asked).fetchall()
    assert policies == by_policy(told.exposures(source))


def by_policy(exposures):
    """(policy, impressions, novel ones, positive ones of novel clusters, positive ones of known clusters), sorted."""
    found = {}
    for *_, novel, positive, policy in exposures:
        shown, new, liked, known = found.get(policy, (0, 0, 0, 0))
        found[policy] = (shown + 1, new + novel, liked + (novel and positive), known + (positive and not novel))
    return [(policy, *counts) for policy, counts in sorted(found.items())]


@settings(max_examples=80, deadline=None)
@given(events=events, impressions=impressions, source=st.sampled_from(SOURCES), k=st.sampled_from([2, 2, 1, 3]))
def test_daily_tables_say_what_the_definitions_say(connection, events, impressions, source, k):
    land(connection, events, impressions)
    cluster(connection, "old")
    make(connection, DAYS, "old", source, k)
    check(connection, reference(events, impressions, "old", k), "old", source, k)


@settings(max_examples=20, deadline=None)
@given(events=events, impressions=impressions, source=st.sampled_from(SOURCES), late=st.integers(0, len(DAYS) - 1))
def test_late_rows_and_another_taxonomy_leave_nothing_of_what_was_before(connection, events, impressions, source, late):
    on_time = [each for each in events if each.ts.date() != DAYS[late]]
    cluster(connection, "old")
    land(connection, on_time, impressions)
    for day in DAYS:
        make(connection, [day], "old", source)
    check(connection, reference(on_time, impressions, "old"), "old", source)
    land(connection, events, impressions)
    make(connection, DAYS[late:], "old", source)
    check(connection, reference(events, impressions, "old"), "old", source)
    cluster(connection, "new")
    make(connection, DAYS, "new", source)
    check(connection, reference(events, impressions, "new"), "new", source)


@settings(max_examples=20, deadline=None)
@given(events=events, impressions=impressions, source=st.sampled_from(("logged", "random")))
def test_every_impression_is_counted_or_waits_or_is_left_out(connection, events, impressions, source):
    land(connection, events, impressions)
    cluster(connection, "old")
    make(connection, DAYS, "old", source)
    set_wanted_days(connection, DAYS)
    named = {"taxonomy_version": "old", "history_clusters": 2, "source": source}
    found = connection.execute(query("feedback.uncounted_impressions"), named).fetchall()
    assert [day for day, *_ in sorted(found)] == DAYS
    told = reference(events, impressions, "old").exposures(source)
    for day, waiting, left_out in found:
        of_day = [i for i in impressions if i.ts.date() == day and (source == "logged" or i.policy == "random")]
        counted = sum(1 for ts, *_ in told if ts.date() == day)
        assert waiting == sum(not shown.final for shown in of_day)
        assert left_out == len(of_day) - waiting - counted


def test_a_users_own_cluster_teaches_as_known_and_not_as_novel(connection):
    """The smallest input of the audit: four events in cluster 2, and an exposure of it."""
    events = [Event("ada", f"item{n}", START + timedelta(hours=n), True) for n in (0, 1)]
    events += [Event("ada", "item2", START + timedelta(hours=n), False) for n in (2, 3, 4, 5)]
    shown = Impression("ada", "item7", START + timedelta(hours=8), True, True, "random", None, None, None)
    cluster(connection, "old")
    land(connection, events, [shown])
    make(connection, DAYS, "old", "random")
    assert rows_of(connection, "history, cluster_id, novel", "feedback.transition_users") == [((0, 1), 2, False)]


def test_s_is_of_the_moment_for_exposures_as_for_mining(connection):
    """Positives in clusters 0 and 1 on day 1 and 3 at 02:00 on day 2: an exposure at 06:00 has S = {1, 3}."""
    at = [START, START + timedelta(hours=1), START + timedelta(hours=26)]
    events = [Event("ada", item, ts, True) for item, ts in zip(("item0", "item1", "item3"), at, strict=True)]
    shown = Impression("ada", "item2", START + timedelta(hours=30), True, True, "random", None, None, None)
    cluster(connection, "old")
    land(connection, events, [shown])
    make(connection, DAYS, "old", "random")
    assert rows_of(connection, "history, cluster_id, novel", "feedback.transition_users") == [((1, 3), 2, True)]


def test_what_is_touched_at_the_moment_of_the_impression_was_novel_before_it(connection):
    liked = [Event("ada", f"item{n}", START + timedelta(hours=n), True) for n in (0, 1)]
    at = START + timedelta(hours=5)
    shown = Impression("ada", "item7", at, True, True, "random", None, None, None)
    cluster(connection, "old")
    for earlier, novel in ((timedelta(0), True), (timedelta(seconds=1), False)):
        land(connection, [*liked, Event("ada", "item2", at - earlier, False)], [shown])
        make(connection, DAYS, "old", "random")
        assert rows_of(connection, "cluster_id, novel", "feedback.transition_users") == [(2, novel)]


def test_a_cluster_is_known_from_its_first_touch_on_whatever_came_later(connection):
    liked = [Event("ada", f"item{n}", START + timedelta(hours=n), True) for n in (0, 1)]
    touches = [Event("ada", "item2", START + timedelta(hours=n), False) for n in (2, 50)]
    shown = Impression("ada", "item7", START + timedelta(hours=26), True, True, "random", None, None, None)
    cluster(connection, "old")
    land(connection, [*liked, *touches], [shown])
    make(connection, DAYS, "old", "random")
    assert rows_of(connection, "cluster_id, novel", "feedback.transition_users") == [(2, False)]


def test_an_open_window_is_no_answer(connection):
    plan = ("old", (0, 1), 2)
    open_one, closed = (Impression("ada", "item2", START, False, final, "table", *plan) for final in (False, True))
    cluster(connection, "old")
    for shown, counted in ((open_one, []), (closed, [((0, 1), 2, 1, 0)])):
        land(connection, [], [shown])
        make(connection, DAYS, "old", "logged")
        assert (
            rows_of(connection, "history, cluster_id, impressions, positives", "feedback.transition_users") == counted
        )


def test_what_exploration_caused_is_no_transition_whatever_item_was_played(connection):
    events = [Event("ada", f"item{n}", START + timedelta(hours=n), True) for n in (0, 1)]
    events.append(Event("ada", "item7", START + timedelta(hours=9), True))  # another item of cluster 2
    cluster(connection, "old")
    for hours, caused in ((EXPLORED_HOURS - 1, True), (EXPLORED_HOURS, False)):
        ts = START + timedelta(hours=9 - hours)
        land(connection, events, [Impression("ada", "item2", ts, True, True, "table", None, None, None)])
        make(connection, DAYS, "old", "logged")
        assert rows_of(connection, "cluster_id, explored", "interests.first_interactions") == [(2, caused)]
        assert len(rows_of(connection, "cluster_id", "training.novel_transitions")) == (0 if caused else 1)
