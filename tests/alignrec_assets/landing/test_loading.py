"""Landing files become raw tables; a row that breaks the data contract is named with file, row, field and fix."""

import gzip
import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.landing import (
    D1,
    D2,
    D3,
    D4,
    EVENT,
    IMPRESSION,
    ITEMS,
    RULE,
    connect,
    load,
    reasons,
    rows,
    tables,
    write,
    zone_of,
)

from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.loading import LoadReport, PositiveRule, load_events, load_items
from alignrec_assets.landing.survey import out_of_scope, survey
from alignrec_assets.landing.zone import AttributionWindow, Calendar

# The contract, read well ---------------------------------------------------------------------------------------------


def test_a_row_belongs_to_the_day_of_its_time_stamp_not_of_its_folder(landing, connection):
    late = [
        EVENT,
        EVENT | {"user_id": "v", "ts": "2026-01-03T00:30:00+02:00"},
        EVENT | {"user_id": "w", "ts": "2026-01-04"},
    ]
    write(landing / "events" / "day=2026-01-04" / "x.csv", late)
    events, _ = load(connection, landing)
    assert rows(connection, "raw.events", "day, user_id, ts") == [
        (D2, "u", datetime(2026, 1, 2, 10)),
        (D2, "v", datetime(2026, 1, 2, 22, 30)),
        (D4, "w", datetime(2026, 1, 4)),
    ]
    assert events == {
        D1: LoadReport(0, 0, 0),
        D2: LoadReport(2, 0, 0),
        D3: LoadReport(0, 0, 0),
        D4: LoadReport(1, 0, 0),
    }


def test_csv_json_and_parquet_give_equal_tables(tmp_path):
    utc = datetime(2026, 1, 2, 10, tzinfo=UTC)
    items = [
        ITEMS[0] | {"category": "nature", "description": 'a "quoted", text', "embedding": [0.25, -1.5, 1e-7],
                    "updated_at": "2026-01-01T00:00:00Z", "published_at": "2025-05-01"},
        {"item_id": "b", "title": "Brötchen | täglich", "tags": ["x|y", "z"], "embedding": [1.0, 2.0, 3.0]},
    ]  # fmt: skip
    events = [
        EVENT | {"watch_s": 12.5, "rating": 3.5, "liked": True, "completed": False},
        EVENT | {"user_id": "v", "ts": "2026-01-03 11:00:00", "watch_s": -1.0},
        EVENT | {"user_id": "w", "item_id": "zzz", "skipped": True, "positive": False},
    ]
    feedback = [IMPRESSION | {"position": 0, "propensity": 0.1}, IMPRESSION | {"request_id": "q", "history": [1, 1]}]
    outcomes = [{"request_id": "r", "item_id": "a", "ts": "2026-01-02T10:01:00Z", "watch_s": 70.0, "shared": True}]
    results = []
    for suffix in ("csv", "jsonl", "parquet"):
        folder = tmp_path / suffix
        contents = {"items": items, "events": events, "feedback": feedback, "outcomes": outcomes}
        for kind, content in contents.items():
            path = write(folder / kind / f"part.{suffix}", content)
            if suffix == "parquet" and kind == "events":  # a true time stamp with a zone, and numbers of another width
                frame = pl.read_parquet(path).with_columns(
                    pl.Series("ts", [utc, datetime(2026, 1, 3, 11, tzinfo=UTC), utc]),
                    pl.col("watch_s").cast(pl.Float32),
                )
                frame.write_parquet(path)
        with connect() as connection:
            load(connection, folder)
            found = tables(connection)
        del found["raw.landing_files"]
        found["raw.rejected_rows"] = [
            (kind, day, row, reason.replace("[1,1]", "[1, 1]"))  # the value as it was written
            for kind, day, _, row, reason, _ in found["raw.rejected_rows"]
        ]
        results.append(found)
    assert results[0] == results[1] == results[2]
    assert len(results[0]["raw.events"]) == 1
    assert len(results[0]["raw.rejected_rows"]) == 3
    (first, second) = results[0]["raw.items"]
    assert first[3] == ["bird", "night"] and second[3] == ["x|y", "z"]
    assert first[8] == pytest.approx([0.25, -1.5, 1e-7])


def test_tags_of_a_csv_may_be_joined_by_bars_and_gzip_is_read(landing, connection):
    (landing / "items" / "items.jsonl").unlink()
    with gzip.open(landing / "items" / "items.csv.gz", "wt") as stream:
        stream.write("item_id,tags,colour\na,bird| night |,red\nb,\"['x', 'y']\",blue\n")
    load_items(connection, zone_of(landing))
    assert rows(connection, "raw.items", "item_id, tags") == [("a", ["bird", "night"]), ("b", ["x", "y"])]


def test_the_latest_row_of_an_item_wins_then_the_last_file_then_the_last_row(landing, connection):
    day = ["2026-01-01", "2026-01-02"]
    write(landing / "items" / "1.jsonl", [{"item_id": "a", "title": "newer", "updated_at": day[1]}])
    write(landing / "items" / "2.jsonl", [{"item_id": "a", "title": "older", "updated_at": day[0]}])
    write(landing / "items" / "3.jsonl", [{"item_id": "b", "title": "first"}, {"item_id": "b", "title": "second"}])
    write(landing / "items" / "4.jsonl", [{"item_id": "c", "title": "by file"}])
    (landing / "items" / "items.jsonl").unlink()
    write(landing / "items" / "0.jsonl", ITEMS)
    report = load_items(connection, zone_of(landing))
    assert rows(connection, "raw.items", "item_id, title") == [("a", "newer"), ("b", "second"), ("c", "by file")]
    assert report == LoadReport(3, 0, 5)


@pytest.mark.parametrize("type_", [pl.Int16, pl.Int32, pl.Int64, pl.Float64])
def test_histories_of_parquet_are_judged_whatever_their_type(landing, connection, type_):
    bad = {"n": [1, None], "e": [], "t": [3, 3], "m": [-1, 2]}
    if type_ in (pl.Int64, pl.Float64):
        bad["l"] = [2**31, 1]
    if type_ == pl.Float64:
        bad["f"] = [1.5, 2]
    histories = {"r": [7, 3, 5]} | bad
    frame = pl.DataFrame([IMPRESSION | {"request_id": request} for request in histories])
    frame = frame.with_columns(pl.Series("history", list(histories.values()), dtype=pl.List(type_)))
    path = landing / "feedback" / "x.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)
    load(connection, landing)
    assert rows(connection, "raw.feedback_logs", "request_id, history") == [("r", [3, 5, 7])]
    found = connection.sql("FROM raw.rejected_rows SELECT row_number, reason ORDER BY row_number").fetchall()
    assert [row for row, _ in found] == list(range(2, len(histories) + 1))
    ends = {"t": "names a cluster twice"}
    for request, (_, reason) in zip(bad, found, strict=True):
        assert reason.startswith("history: ") and reason.endswith(ends.get(request, "is not a list of cluster ids"))


SIGNALS: list[tuple[dict, str, bool | None]] = [
    ({"liked": True}, "a", True),
    ({"completed": True}, "a", True),
    ({"rating": 4.0}, "a", True),
    ({"rating": 3.9}, "a", False),
    ({"watch_s": 50.0}, "a", True),
    ({"watch_s": 49.9}, "a", False),
    ({"watch_s": 50.0}, "b", False),  # a duration of 0 is unknown
    ({"watch_s": 50.0}, "c", False),  # no duration at all
    ({"skipped": True}, "a", False),
    ({"shared": True}, "a", False),
    ({}, "a", None),  # no signal: what the rule says
    ({"liked": True, "positive": False}, "a", False),  # given beats derived
    ({"skipped": True, "positive": True}, "a", True),
]


@pytest.mark.parametrize("when_unknown", [True, False])
def test_positive_is_derived_where_absent(landing, connection, when_unknown):
    events = [
        EVENT | {"user_id": f"{place:02}", "item_id": item} | signals
        for place, (signals, item, _) in enumerate(SIGNALS)
    ]
    write(landing / "events" / "x.jsonl", events)
    load(connection, landing, rule=PositiveRule(0.5, 4.0, liked=True, completed=True, when_unknown=when_unknown))
    expected = [when_unknown if positive is None else positive for _, _, positive in SIGNALS]
    assert [positive for _, positive in rows(connection, "raw.events", "user_id, positive")] == expected


def test_a_rule_without_thresholds_leaves_signals_out(landing, connection):
    signals = [{"liked": True}, {"completed": True}, {"rating": 5.0}, {"watch_s": 100.0}]
    write(landing / "events" / "x.jsonl", [EVENT | {"user_id": f"u{i}"} | signal for i, signal in enumerate(signals)])
    load(connection, landing, rule=PositiveRule(None, None, liked=False, completed=False, when_unknown=True))
    assert rows(connection, "raw.events", "positive") == [(False,)] * 4


# Reading again -------------------------------------------------------------------------------------------------------


def test_reading_twice_and_overlapping_ranges_change_nothing(landing, connection):
    write(landing / "events" / "day=2026-01-02" / "x.jsonl", [EVENT, EVENT | {"user_id": ""}, EVENT | {"user_id": "v"}])
    write(landing / "events" / "day=2026-01-03" / "y.parquet", [EVENT, EVENT | {"ts": "2026-01-03 05:00:00"}])
    write(landing / "feedback" / "x.jsonl", [IMPRESSION, IMPRESSION | {"request_id": "s", "propensity": 2}])
    write(landing / "outcomes" / "x.jsonl", [{"request_id": "r", "item_id": "a", "ts": "bad"}])
    events, _ = load(connection, landing)
    before = tables(connection)
    assert events[D2] == LoadReport(2, 1, 1)
    load(connection, landing, days=[D2])
    load(connection, landing, days=[D1, D2, D3])
    load(connection, landing)
    assert tables(connection) == before
    assert len(before["raw.events"]) == 3
    assert len(before["raw.rejected_rows"]) == 3


def test_a_copy_of_a_file_merges_and_a_conflicting_row_is_rejected(landing, connection):
    write(landing / "events" / "1.jsonl", [EVENT | {"rating": 5.0}])
    write(landing / "events" / "2.parquet", [EVENT | {"rating": 5.0}])
    write(landing / "events" / "3.csv", [EVENT | {"rating": 1.0}])
    events, _ = load(connection, landing)
    assert rows(connection, "raw.events", "rating") == [(5.0,)]
    assert events[D2] == LoadReport(1, 1, 1)
    assert reasons(connection) == ["user_id, item_id, ts: the same event has other values in events/1.jsonl, row 1"]


def test_a_bad_row_does_not_stand_in_the_way_of_a_good_one(landing, connection):
    write(landing / "events" / "x.jsonl", [EVENT | {"watch_s": -1}, EVENT | {"watch_s": 1}])
    write(landing / "feedback" / "x.jsonl", [IMPRESSION | {"propensity": 7}, IMPRESSION | {"propensity": 0.5}])
    load(connection, landing)
    assert rows(connection, "raw.events", "watch_s") == [(1.0,)]
    assert rows(connection, "raw.feedback_logs", "propensity") == [(0.5,)]
    assert reasons(connection) == [
        "propensity: '7' is not a probability above 0 and up to 1",
        "watch_s: -1 is negative",
    ]


def test_a_removed_file_vanishes_and_a_changed_one_is_read_again(landing, connection):
    path = write(landing / "events" / "x.jsonl", [EVENT])
    write(landing / "events" / "y.jsonl", [EVENT | {"user_id": "v"}])
    load(connection, landing)
    path.unlink()
    write(landing / "events" / "y.jsonl", [EVENT | {"user_id": "w", "ts": "2026-01-03"}])
    load(connection, landing)
    assert rows(connection, "raw.events", "day, user_id") == [(D3, "w")]
    assert rows(connection, "raw.landing_files", "kind, file, rows") == [
        ("events", "events/y.jsonl", 1),
        ("items", "items/items.jsonl", 3),
    ]
    assert rows(connection, "raw.landing_days", "file, day, rows") == [
        ("events/y.jsonl", D3, 1),
        ("items/items.jsonl", None, 3),
    ]


# Feedback ------------------------------------------------------------------------------------------------------------


def test_random_exposures_may_lack_history_cluster_taxonomy_and_table(landing, connection):
    bare = {
        "item_id": "a",
        "user_id": "u",
        "ts": "2026-01-02",
        "policy": "random",
        "propensity": 0.01,
        "positive": True,
    }
    write(landing / "feedback" / "x.jsonl", [bare | {"request_id": "r"}, bare | {"request_id": "s", "policy": "table"}])
    load(connection, landing)
    found = rows(connection, "raw.feedback_logs", "request_id, history, cluster_id, taxonomy_version, positive")
    assert found == [("r", None, None, None, True)]
    assert reasons(connection) == [
        "history: missing; cluster_id: missing; taxonomy_version: missing; table_version: missing"
    ]


def test_an_outcome_of_the_next_day_counts_when_only_the_day_of_the_impression_is_loaded(landing, connection):
    write(landing / "feedback" / "x.jsonl", [IMPRESSION])
    outcome = {"request_id": "r", "item_id": "a", "ts": "2026-01-03T09:00:00Z", "liked": True}
    write(landing / "outcomes" / "day=2026-01-04" / "x.jsonl", [outcome])
    load(connection, landing, days=[D2])
    assert rows(connection, "raw.feedback_logs", "liked, positive") == [(True, True)]
    load(connection, landing, days=[D2], window=AttributionWindow(22.0))
    assert rows(connection, "raw.feedback_logs", "liked, positive") == [(None, False)]


def test_outcomes_that_count_for_nothing_are_counted_by_reason_and_day(landing, connection, comes_out):
    midnight = IMPRESSION | {"request_id": "m", "ts": "2026-01-03T00:00:01Z"}
    write(landing / "feedback" / "x.jsonl", [IMPRESSION, midnight])
    stamps = {
        "2026-01-02T09:59:59.98Z": None,  # 20 ms before its impression: clocks differ
        "2026-01-02T09:59:54Z": "before its impression",
        "2026-01-02T10:00:00Z": None,
        "2026-01-03T10:00:01Z": "after the attribution window of its impression",
        "2026-01-04T00:00:00Z": "after the attribution window of its impression",
    }
    outcome = {"request_id": "r", "item_id": "a", "liked": True}
    early = [outcome | {"request_id": "m", "ts": "2026-01-02T23:59:59Z"}]  # on the other side of midnight
    unknown = [outcome | {"ts": "2026-01-02T10:00:00Z"} | other for other in ({"request_id": "x"}, {"item_id": "b"})]
    write(landing / "outcomes" / "x.jsonl", [outcome | {"ts": ts} for ts in stamps] + unknown + early)
    for days in ([D1, D2, D3, D4], [D4], [D2], [D3]):
        _, reports = load(connection, landing, days=days)
        nothing = "no impression has this request_id and item_id"
        expected = {
            D1: (0, {}),
            D2: (6, {"before its impression": 1, nothing: 2}),
            D3: (1, {"after the attribution window of its impression": 1}),
            D4: (1, {nothing: 1}),  # its impression lies farther back than the window reaches
        }
        assert {day: (reports[day].outcomes, reports[day].unmatched) for day in days} == {
            day: expected[day] for day in days
        }
    assert rows(connection, "raw.feedback_logs", "request_id, liked") == [("m", True), ("r", True)]
    comes_out("unmatched outcomes", "an outcome 20 ms before its impression", "counts: `landing.clock_tolerance_s`")
    comes_out("unmatched outcomes", "outcomes too early, too late, or of no impression", "counted by reason and day")


def test_history_is_stored_sorted(landing, connection):
    write(landing / "feedback" / "x.jsonl", [IMPRESSION | {"history": [7, 3]}])
    load(connection, landing)
    assert rows(connection, "raw.feedback_logs", "history, cluster_id") == [([3, 7], 5)]


def test_the_first_row_of_a_request_stays_whatever_range_is_loaded(landing, connection):
    write(
        landing / "feedback" / "1.jsonl", [IMPRESSION | {"ts": "2026-01-02T23:59:00Z"}, IMPRESSION | {"item_id": "b"}]
    )
    write(landing / "feedback" / "2.jsonl", [IMPRESSION | {"ts": "2026-01-03T00:01:00Z"}])
    write(landing / "feedback" / "3.parquet", [IMPRESSION | {"ts": "2026-01-02T23:59:00Z"}])
    _, feedback = load(connection, landing)
    whole = tables(connection)
    assert rows(connection, "raw.feedback_logs", "day, item_id") == [(D2, "a"), (D2, "b")]
    assert feedback[D2] == LoadReport(2, 0, 1)
    assert reasons(connection) == ["request_id: duplicate request id 'r' with other values in feedback/1.jsonl, row 1"]
    for day in (D3, D2):
        load(connection, landing, days=[day])
    assert tables(connection) == whole


@pytest.mark.parametrize(
    ("last_event", "last_day", "final"),
    [
        ("2026-01-03", None, False),  # the third of January may go on
        ("2026-01-04", None, True),
        ("2026-01-03", D4, False),
        ("2026-01-03", D3, True),  # a closed log is whole
        ("2026-01-02", D2, False),  # but its last day's outcomes are cut off
    ],
)
def test_an_impression_is_final_once_its_window_has_closed_within_the_data(
    landing, connection, last_event, last_day, final
):
    write(landing / "feedback" / "x.jsonl", [IMPRESSION])
    write(landing / "events" / "x.jsonl", [EVENT | {"ts": last_event}])
    load(connection, landing, calendar=Calendar(D1, last_day or date(2026, 2, 1), closed=last_day is not None))
    assert rows(connection, "raw.feedback_logs", "final") == [(final,)]


# Bad rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user_id": " "}, "user_id: missing"),
        ({"item_id": None}, "item_id: missing"),
        ({"item_id": "nobody"}, "item_id: 'nobody' is not among the items"),
        ({"ts": None}, "ts: missing"),
        ({"ts": "yesterday"}, "ts: 'yesterday' is not an ISO 8601 time"),
        ({"ts": 1767348000}, "ts: '1767348000' is not an ISO 8601 time"),
        ({"ts": "infinity"}, "ts: 'infinity' is not an ISO 8601 time"),
        ({"watch_s": "long"}, "watch_s: 'long' is not a number"),
        ({"watch_s": "nan"}, "watch_s: 'nan' is not a number"),
        ({"watch_s": -0.5}, "watch_s: -0.5 is negative"),
        ({"rating": "good"}, "rating: 'good' is not a number"),
        ({"liked": "maybe"}, "liked: 'maybe' is not true or false"),
        ({"completed": 7}, "completed: '7' is not true or false"),
        ({"positive": "so"}, "positive: 'so' is not true or false"),
        ({"user_id": None, "watch_s": -1}, "user_id: missing; watch_s: -1 is negative"),
    ],
)
def test_a_bad_event_is_rejected_with_its_reason(landing, connection, change, reason):
    write(landing / "events" / "x.jsonl", [EVENT, EVENT | {"user_id": "v"} | change])
    events, _ = load(connection, landing)
    assert len(rows(connection, "raw.events")) == 1
    ((kind, day, file, row, found, payload),) = rows(connection, "raw.rejected_rows")
    assert (kind, file, row, found) == ("events", "events/x.jsonl", 2, reason)
    assert events[day].rejected == 1
    assert json.loads(payload)["ts"] == (None if change.get("ts", "") is None else str(change.get("ts", EVENT["ts"])))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"request_id": None}, "request_id: missing"),
        ({"policy": ""}, "policy: missing"),
        ({"history": [3, 3]}, "history: [3,3] names a cluster twice"),
        ({"history": []}, "history: '[]' is not a list of cluster ids"),
        ({"history": [1.5]}, "history: '[1.5]' is not a list of cluster ids"),
        ({"history": ["x", 2]}, """history: '["x",2]' is not a list of cluster ids"""),
        ({"history": None}, "history: missing"),
        ({"cluster_id": "owls"}, "cluster_id: 'owls' is not a cluster id"),
        ({"cluster_id": -1}, "cluster_id: '-1' is not a cluster id"),
        ({"taxonomy_version": None}, "taxonomy_version: missing"),
        ({"table_version": None}, "table_version: missing"),
        ({"position": -1}, "position: '-1' is not a place counted from 0"),
        ({"propensity": 0}, "propensity: '0' is not a probability above 0 and up to 1"),
        ({"propensity": 1.01}, "propensity: '1.01' is not a probability above 0 and up to 1"),
        ({"propensity": "high"}, "propensity: 'high' is not a probability above 0 and up to 1"),
        ({"watch_s": -1}, "watch_s: -1 is negative"),
        ({"item_id": "nobody"}, "item_id: 'nobody' is not among the items"),
    ],
)
def test_a_bad_impression_is_rejected_with_its_reason(landing, connection, change, reason):
    write(landing / "feedback" / "x.jsonl", [IMPRESSION, IMPRESSION | {"request_id": "s"} | change])
    _, feedback = load(connection, landing)
    assert reasons(connection) == [reason]
    assert feedback[D2] == LoadReport(1, 1, 0)


def test_a_bad_outcome_is_rejected_by_the_day_of_its_own_time_stamp(landing, connection):
    write(landing / "feedback" / "x.jsonl", [IMPRESSION])
    bad = {"request_id": "r", "item_id": "a", "ts": "2026-01-03", "watch_s": "x"}
    write(landing / "outcomes" / "x.jsonl", [bad, bad | {"request_id": None, "watch_s": 1}])
    _, feedback = load(connection, landing)
    assert rows(connection, "raw.rejected_rows", "kind, day, row_number, reason") == [
        ("outcomes", D3, 1, "watch_s: 'x' is not a number"),
        ("outcomes", D3, 2, "request_id: missing"),
    ]
    assert feedback[D2] == LoadReport(1, 0, 0)
    assert feedback[D3] == LoadReport(0, 2, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"item_id": ""}, "item_id: missing"),
        ({"title": None}, "title, tags, category, embedding: all missing, at least one is needed"),
        ({"title": None, "tags": []}, "title, tags, category, embedding: all missing, at least one is needed"),
        ({"duration_s": -1}, "duration_s: -1 is negative"),
        ({"duration_s": "1 min"}, "duration_s: '1 min' is not a number"),
        ({"updated_at": "new"}, "updated_at: 'new' is not an ISO 8601 time"),
        ({"published_at": "1999"}, "published_at: '1999' is not an ISO 8601 time"),
        ({"embedding": [1, "x"]}, "embedding: not a list of finite numbers"),
        ({"embedding": "x"}, "embedding: not a list of finite numbers"),
        ({"embedding": []}, "embedding: not a list of finite numbers"),
    ],
)
def test_a_bad_item_is_rejected_with_its_reason(landing, connection, change, reason):
    write(landing / "items" / "z.jsonl", [{"item_id": "z", "title": "Zebras"} | change])
    report = load_items(connection, zone_of(landing))
    assert report == LoadReport(3, 1, 0)
    assert rows(connection, "raw.rejected_rows", "kind, day, row_number, reason") == [("items", D1, 1, reason)]


def test_a_bad_time_stamp_is_filed_under_the_day_of_arrival(landing, connection):
    write(landing / "events" / "day=2026-01-03" / "x.csv", [EVENT | {"ts": "?"}])
    write(landing / "events" / "y.csv", [EVENT | {"ts": "?"}])
    load(connection, landing)
    assert rows(connection, "raw.rejected_rows", "day, file") == [
        (D1, "events/y.csv"),
        (D3, "events/day=2026-01-03/x.csv"),
    ]


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.jsonl", "x.csv.gz"])
@pytest.mark.parametrize("kind", ["events", "feedback"])
def test_an_empty_file_is_one_rejected_row(landing, connection, kind, name):
    for file in (name, f"other-{name}"):
        path = landing / kind / "day=2026-01-02" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    reports = dict(zip(("events", "feedback"), load(connection, landing), strict=True))
    assert sorted(rows(connection, "raw.rejected_rows")) == [
        (kind, D2, f"{kind}/day=2026-01-02/{file}", None, "empty file: it holds no bytes", None)
        for file in (f"other-{name}", name)
    ]
    assert reports[kind][D2] == LoadReport(0, 2, 0)
    assert rows(connection, f"raw.{'feedback_logs' if kind == 'feedback' else kind}") == []


def test_a_day_without_rows_and_a_single_user_are_fine(landing, connection):
    write(landing / "events" / "x.csv", [EVENT])
    (landing / "events" / "header.csv").write_text("user_id,item_id,ts\n")
    events, feedback = load(connection, landing)
    assert [events[day].rows for day in (D1, D2, D3, D4)] == [0, 1, 0, 0]
    assert list(feedback.values()) == [LoadReport(0, 0, 0)] * 4


# Bad files -----------------------------------------------------------------------------------------------------------


def test_no_items_at_all_is_an_error(tmp_path, connection):
    with pytest.raises(LandingError, match="items holds no files"):
        load_items(connection, zone_of(tmp_path))


def test_a_file_that_vanishes_after_the_survey_is_named(landing, connection):
    path = write(landing / "events" / "x.csv", [EVENT])
    load(connection, landing)
    path.unlink()
    with pytest.raises(LandingError, match="is gone"):
        load_events(connection, zone_of(landing), [D2], RULE)


def test_a_failed_load_leaves_the_tables_as_they_were(landing, connection):
    write(landing / "events" / "x.csv", [EVENT])
    load(connection, landing)
    before = tables(connection)
    connection.execute("BEGIN")
    path = write(landing / "events" / "y.csv", [EVENT])
    survey(connection, zone_of(landing), "events")
    path.unlink()
    with pytest.raises(LandingError):
        load_events(connection, zone_of(landing), [D2], RULE)
    connection.execute("ROLLBACK")
    assert tables(connection) == before


# Against a plain reading ---------------------------------------------------------------------------------------------

STAMPS = [
    "2026-01-01T00:00:00Z", "2026-01-01T23:59:59.5Z", "2026-01-02 00:00:00", "2026-01-03T01:00:00+02:00", "2026-01-04",
    "2025-12-31T23:59:59Z", "2026-01-05T00:00:00Z", "soon", "",
]  # fmt: skip
OPTIONAL = {
    "watch_s": st.sampled_from(["", "0", "49.5", "50", "-1", "x"]),
    "rating": st.sampled_from(["", "3.5", "4"]),
    "liked": st.sampled_from(["", "true", "0", "?"]),
    "skipped": st.sampled_from(["", "1"]),
    "positive": st.sampled_from(["", "", "true", "false"]),
}
EVENTS = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["u", "v", ""]),
        "item_id": st.sampled_from(["a", "b", "zzz"]),
        "ts": st.sampled_from(STAMPS),
    },
    optional=OPTIONAL,
)
FILES = st.dictionaries(
    st.sampled_from(["1", "2", "day=2026-01-03/3"]), st.lists(EVENTS, min_size=1, max_size=8), max_size=3
)


def read_number(text):
    return float(text) if text else None


def read_flag(text):
    return {"true": True, "1": True, "false": False, "0": False}[text] if text else None


def reference_events(files: dict[str, list[dict]]):
    """The contract in plain Python: (kept events by key, rejected rows by day)."""
    kept, contents, rejected = {}, {}, Counter()
    for name, content in sorted(files.items()):
        arrival = D3 if name.startswith("day=") else D1
        for row in content:
            try:
                moment = datetime.fromisoformat(row["ts"]).replace(tzinfo=None) if row["ts"] else None
                zone = datetime.fromisoformat(row["ts"]).utcoffset() if row["ts"] else None
                moment = moment - zone if moment and zone else moment
            except ValueError:
                moment = None
            day = moment.date() if moment else arrival
            if not D1 <= day <= D4:
                rejected["out of scope"] += 1
                continue
            try:
                numbers = [read_number(row.get("watch_s", "")), read_number(row.get("rating", ""))]
                flags = [read_flag(row.get(flag, "")) for flag in ("liked", "skipped", "positive")]
            except (ValueError, KeyError):
                rejected[day] += 1
                continue
            good = row["user_id"] and row["item_id"] in "abc" and moment and moment.date() == day
            if not good or (numbers[0] or 0) < 0:
                rejected[day] += 1
                continue
            key = (row["user_id"], row["item_id"], moment)
            if contents.setdefault(key, (numbers, flags)) != (numbers, flags):
                rejected[day] += 1
                continue
            (watch, rating), (liked, _, positive) = numbers, flags
            derived = bool(liked or (rating or 0) >= 4 or (row["item_id"] == "a" and (watch or 0) >= 50))
            kept[key] = (day, *key, watch, rating, positive if positive is not None else derived)
    return sorted(kept.values(), key=str), rejected


@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=FILES, suffix=st.sampled_from(["csv", "jsonl"]), ranges=st.sampled_from([[4], [1, 1, 1, 1], [2, 2], [3, 1]])
)
def test_events_equal_a_plain_reading_of_the_contract(tmp_path_factory, files, suffix, ranges):
    landing = tmp_path_factory.mktemp("landing")
    write(landing / "items" / "items.jsonl", ITEMS)
    for name, content in files.items():
        blank = {"watch_s": ""} if suffix == "csv" else {}
        write(landing / "events" / f"{name}.{suffix}", [blank | row for row in content])
    days = [D1, D2, D3, D4]
    with connect() as connection:
        load_items(connection, zone_of(landing))
        survey(connection, zone_of(landing), "events")
        reports = {}
        for length in ranges:
            taken, days = days[:length], days[length:]
            reports |= load_events(connection, zone_of(landing), taken, RULE)
        found = rows(connection, "raw.events", "day, user_id, item_id, ts, watch_s, rating, positive")
        rejected = Counter(
            dict(connection.execute("FROM raw.rejected_rows SELECT day, count(*) GROUP BY day").fetchall())
        )
        outside = sum(side.rows for side in out_of_scope(connection, zone_of(landing)))
    expected, expected_rejected = reference_events(files)
    assert found == expected
    assert outside == expected_rejected.pop("out of scope", 0)
    assert rejected == expected_rejected
    told = sum(report.rows + report.rejected + report.duplicates for report in reports.values())
    assert told + outside == sum(map(len, files.values()))


def test_zones_are_read_as_moments(landing, connection):
    moment = datetime(2026, 1, 3, 3, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    write(landing / "events" / "x.csv", [EVENT | {"ts": moment.isoformat()}])
    load(connection, landing)
    assert rows(connection, "raw.events", "ts") == [(moment.astimezone(UTC).replace(tzinfo=None),)]
