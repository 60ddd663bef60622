"""What the descriptions of the tables ask of rows, on a real warehouse."""

from datetime import date, datetime, timedelta

import duckdb
import polars as pl
import pytest

from alignrec_assets.home import Home
from alignrec_assets.warehouse import contract
from alignrec_assets.warehouse.connection import Warehouse, create_tables
from alignrec_assets.warehouse.contract import ContractError, broken_days, check_table, conditions
from alignrec_assets.warehouse.rows import append_rows, replace_table, table_frame
from alignrec_assets.warehouse.tables import TABLES

DAY = date(2026, 1, 5)


@pytest.fixture
def connection():
    with duckdb.connect() as opened:
        create_tables(opened)
        yield opened


def count_row(day, cluster=3, **changes):
    return {
        "day": day,
        "taxonomy_version": "t",
        "history": [1, 2],
        "cluster_id": cluster,
        "novel": True,
        "impressions": 10,
        "users": 4,
        **dict.fromkeys(("positives", "likes", "shares", "completions", "skips"), 2),
        **changes,
    }


def whole_rows(table, rows):
    """The rows with null in every column that they do not name."""
    names = [column.name for column in TABLES[table].columns]
    return pl.DataFrame([dict.fromkeys(names) | row for row in rows])


def broken(connection, rows):
    frame = pl.DataFrame(rows)
    append_rows(connection, "feedback.transition_counts", frame)
    days = dict(sorted(frame.group_by("day").len().iter_rows()))
    return broken_days(connection, "feedback.transition_counts", days)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_condition_is_one_that_duckdb_understands_and_no_rows_break_none(connection, table):
    check_table(connection, table.name)
    assert set(table.key) <= {column.name for column in table.columns}
    for condition in conditions(table):
        connection.execute(f"FROM {table.name} SELECT * WHERE {condition}")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"users": None}, "1 rows break `users IS NOT NULL`"),
        ({"users": 11}, "`users <= impressions`"),
        ({"users": 0}, "`users >= 1`"),
        ({"skips": -1}, "`skips >= 0`"),
        ({"likes": 11}, "`likes <= impressions`"),
        ({"history": [1, 3]}, "`NOT list_contains(history, cluster_id)`"),
    ],
)
def test_a_day_that_breaks_a_condition_is_named_with_the_condition_and_an_example(connection, changes, told):
    bad = DAY + timedelta(days=1)
    found = broken(connection, [count_row(DAY), count_row(bad), count_row(bad, **changes | {"taxonomy_version": "u"})])
    assert list(found) == [bad]
    assert told in found[bad]
    assert '"taxonomy_version":"u"' in found[bad]


def test_a_key_may_repeat_on_another_day_only(connection):
    other = DAY + timedelta(days=1)
    assert broken(connection, [count_row(DAY), count_row(DAY, cluster=4), count_row(other)]) == {}
    found = broken(connection, [count_row(other)])
    assert list(found) == [other]
    assert (
        "values of the key (history, cluster_id, novel) stand in several rows, such as [[1, 2], 3, True]"
        in found[other]
    )


def test_no_example_names_a_user(connection):
    noon = datetime(2026, 1, 5, 12)
    event = {"day": DAY, "user_id": "ada", "item_id": "i", "ts": noon, "positive": True, "watch_s": -1.0}
    append_rows(connection, "raw.events", whole_rows("raw.events", [event]))
    (told,) = broken_days(connection, "raw.events", {DAY: 1}).values()
    assert '"item_id":"i"' in told
    assert "ada" not in told
    met = {"day": DAY, "taxonomy_version": "t", "user_id": "ada", "cluster_id": 3, "first_ts": noon, "last_ts": noon}
    append_rows(connection, "interests.user_cluster_days", whole_rows("interests.user_cluster_days", [met, met]))
    (told,) = broken_days(connection, "interests.user_cluster_days", {DAY: 2}).values()
    assert "stand in several rows, such as ['***', 3] in 2" in told


def test_days_are_looked_at_in_parts_of_bounded_size(connection, monkeypatch):
    monkeypatch.setattr(contract, "ROWS_AT_ONCE", 2)
    days = [DAY + timedelta(days=number) for number in range(7)]
    rows = [count_row(day, cluster) for day in days for cluster in (3, 4, 5)[: 1 + day.day % 3]]
    assert broken(connection, rows) == {}
    found = broken(connection, [count_row(days[2], 9, users=99), count_row(days[5], 9, users=99)])
    assert list(found) == [days[2], days[5]]


def test_what_is_no_number_is_in_no_range(connection):
    row = {"history": [1, 2], "draw_order": 0, "cluster_id": 3, "draws": 1, "novelty_probability": float("nan")}
    with pytest.raises(ContractError, match=r"candidates\.pools: 1 rows break `NOT isnan\(novelty_probability\)`"):
        replace_table(connection, "candidates.pools", pl.DataFrame([row]))


def test_a_table_that_breaks_its_contract_is_never_committed(tmp_path):
    warehouse = Warehouse(Home(tmp_path))
    good = {"taxonomy_version": "t", "item_id": "a", "cluster_id": 0, "similarity": 0.5}
    with warehouse.writing() as opened:
        replace_table(opened, "interests.item_clusters", pl.DataFrame([good]))
    with pytest.raises(ContractError, match="item_id"), warehouse.writing() as opened:
        replace_table(opened, "interests.item_clusters", pl.DataFrame([good, good]))
    with warehouse.reading() as opened:
        assert table_frame(opened, "interests.item_clusters").to_dicts() == [good]


def test_raw_rows_may_lack_what_the_data_contract_lets_them_lack(connection):
    row = {
        "day": DAY,
        "request_id": "r",
        "item_id": "i",
        "user_id": "u",
        "ts": datetime(2026, 1, 5, 12),
        "policy": "random",
        "positive": False,
        "final": True,
    }
    append_rows(connection, "raw.feedback_logs", whole_rows("raw.feedback_logs", [row]))
    assert broken_days(connection, "raw.feedback_logs", {DAY: 1}) == {}
