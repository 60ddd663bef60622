"""Queries over a window of feedback, and as of a day, against a plain reading of what they say of themselves."""

from collections import defaultdict
from datetime import date, timedelta

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rows import comparable, fill

from alignrec_assets.warehouse.connection import create_tables
from alignrec_assets.warehouse.queries import query

DAYS = [date(2026, 1, 5) + timedelta(days=number) for number in range(6)]
WINDOW = {"first_day": DAYS[1], "as_of": DAYS[3], "taxonomy_version": "t"}
UNTIL = DAYS[4]

days, taxonomies = st.sampled_from(DAYS), st.sampled_from(["t", "older"])
histories, clusters = st.sampled_from([(1, 2), (1, 3)]), st.sampled_from([4, 5])
counts = st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))
exposures = st.sampled_from(["novel", "all"])
seen = st.lists(
    st.tuples(days, taxonomies, histories, clusters, st.sampled_from("abc"), st.booleans(), counts),
    max_size=30,
    unique_by=lambda row: row[:6],
)
scored = st.lists(
    st.tuples(days, taxonomies, histories, clusters, st.sampled_from(["positive", "liked"]), st.booleans(), counts),
    max_size=40,
    unique_by=lambda row: row[:5],
)


@pytest.fixture(scope="module")
def connection():
    connection = duckdb.connect()
    create_tables(connection)
    yield connection
    connection.close()


def read(connection, name, **parameters):
    rows = connection.execute(query(name), WINDOW | parameters).fetchall()
    return comparable(rows)


def signals(impressions, positives):
    """Counts of the other signals that differ from each other where there is room."""
    skips = impressions - positives
    return {"positives": positives, "likes": positives // 2, "shares": positives // 3, "completions": skips // 2,
            "skips": skips}  # fmt: skip


def cell_of(row, *more):
    """The columns before the counts, of which the last two are named."""
    named = ("day", "taxonomy_version", "history", "cluster_id", *more)
    return dict(zip(named, (*row[:2], list(row[2]), *row[3:6]), strict=True))


def load_users(connection, rows):
    fill(
        connection,
        "feedback.transition_users",
        [cell_of(row, "user_id", "novel") | {"impressions": row[6][0], **signals(*row[6])} for row in rows],
    )


def standing_rows(rows, counted, first, last):
    """Those of the standing taxonomy from a day to another, novel ones alone where these count."""
    return [row for row in rows if row[1] == "t" and first <= row[0] <= last and (row[5] or counted == "all")]


def sums(rows, key):
    """Impressions and positives by a key of (history, cluster, user)."""
    found = defaultdict(lambda: [0, 0])
    for _, _, history, cluster, user, _, (impressions, positives) in rows:
        total = found[key(history, cluster, user)]
        total[0] += impressions
        total[1] += positives
    return dict(sorted(found.items()))


def by_cluster(_, cluster, __):
    return cluster


@settings(max_examples=60, deadline=None)
@given(rows=seen, counted=exposures)
def test_windows_hold_the_days_from_the_first_to_the_last_of_one_taxonomy(connection, rows, counted):
    load_users(connection, rows)
    everything = standing_rows(rows, "all", DAYS[1], DAYS[3])
    holders = sums(everything, lambda history, _, user: (history, user))
    assert read(connection, "evaluation.history_holders") == [(*key, n) for key, (n, _) in holders.items()]
    impressions, novel = (sum(row[6][0] for row in part) for part in (everything, [r for r in everything if r[5]]))
    assert read(connection, "evaluation.novel_impressions") == [(impressions or None, novel)]

    window = standing_rows(rows, counted, DAYS[1], DAYS[3])
    before, later = (sums(part, by_cluster) for part in (window, standing_rows(rows, counted, DAYS[4], UNTIL)))
    expected = [
        (cluster, *before.get(cluster, (0, 0))[::-1], *later.get(cluster, (0, 0))[::-1])
        for cluster in sorted({*before, *later})
    ]
    assert read(connection, "evaluation.feedback_since", until=UNTIL, exposures=counted) == expected

    cells = sums(window, lambda history, cluster, _: (history, cluster))
    found = read(connection, "feedback.transition_scores", exposures=counted, share=1)
    assert [(*row[:3], row[5]) for row in found] == [(*key, n, positives) for key, (n, positives) in cells.items()]
    for history, cluster, _, novel_impressions, users, positive, liked, shared, completed, not_skipped in found:
        own = [row for row in window if row[2:4] == (history, cluster)]
        assert novel_impressions == sum(row[6][0] for row in own if row[5])
        assert users == len({row[4] for row in own})
        told = [signals(*row[6]) for row in own]
        named = {"positives": positive, "likes": liked, "shares": shared, "completions": completed}
        assert named == {name: sum(counts[name] for counts in told) for name in named}
        assert not_skipped == sum(row[6][0] for row in own) - sum(counts["skips"] for counts in told)


@settings(max_examples=60, deadline=None)
@given(rows=seen, counted=exposures)
def test_a_partition_is_compared_with_those_before_it_from_its_first_on(connection, rows, counted):
    load_users(connection, rows)
    connection.execute(
        "DELETE FROM feedback.transition_counts; INSERT INTO feedback.transition_counts BY NAME SELECT day, novel, "
        "taxonomy_version, history, cluster_id, sum(impressions) AS impressions, sum(positives) AS positives "
        "FROM feedback.transition_users GROUP BY ALL"
    )
    compared = {DAYS[5]: DAYS[2], DAYS[3]: DAYS[1]}
    parameters = {"days": [*compared], "firsts": [*compared.values()], "taxonomy_version": "t", "exposures": counted}
    found = connection.execute(query("evaluation.feedback_against_before"), parameters).fetchall()
    expected = []
    for day, first in sorted(compared.items()):
        before = sums(standing_rows(rows, counted, first, day - timedelta(days=1)), by_cluster)
        own = sums(standing_rows(rows, counted, day, day), by_cluster)
        for cluster in sorted({*before, *own}):
            expected.append((day, cluster, *before.get(cluster, (0, 0))[::-1], *own.get(cluster, (0, 0))[::-1]))
    assert found == expected


@settings(max_examples=60, deadline=None)
@given(rows=scored)
def test_scores_as_of_a_day_are_the_latest_up_to_it_unless_the_cell_is_gone(connection, rows):
    fill(
        connection,
        "feedback.transition_scores",
        [
            cell_of(row, "signal", "standing")
            | {"impressions": row[6][0], "users": 1, "positives": row[6][1], "score": 0.5}
            for row in rows
        ],
    )
    latest = {}
    for day, taxonomy, history, cluster, signal, standing, (impressions, positives) in sorted(rows):
        if day <= DAYS[3] and taxonomy == "t":
            latest[signal, history, cluster] = (impressions, 1, positives) if standing else None
    expected = [(*key, *counted) for key, counted in sorted(latest.items()) if counted]
    parameters = {"as_of": DAYS[3], "taxonomy_version": "t"}
    columns = ("signal", "history", "cluster_id", "impressions", "users", "positives")
    assert named_rows(connection, "feedback.standing_scores", columns, parameters) == expected
    for signal in ("positive", "liked"):
        found = named_rows(connection, "training.pointwise_examples", columns[1:], parameters | {"signal": signal})
        assert found == [row[1:] for row in expected if row[0] == signal]


def named_rows(connection, name, columns, parameters):
    found = connection.execute(f"SELECT {', '.join(columns)} FROM ({query(name)})", parameters).fetchall()
    return [tuple(tuple(value) if isinstance(value, list) else value for value in row) for row in found]
