"""What `alignrec ingest` asks of a log."""

from datetime import datetime, timedelta

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from alignrec_assets.warehouse.queries import query

START = datetime(2026, 1, 5)
rows = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 5)), max_size=12)


@settings(max_examples=40, deadline=None)
@given(events=rows, shown=rows)
def test_items_met_strictly_before_an_impression_are_counted_once(events, shown):
    expected = {}
    for user, _, at in shown:
        before = len({item for who, item, when in events if who == user and when < at})
        expected[before] = expected.get(before, 0) + 1
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA raw")
        for table, lines in (("events", events), ("feedback_logs", shown)):
            connection.execute(f"CREATE TABLE raw.{table} (user_id VARCHAR, item_id VARCHAR, ts TIMESTAMP)")
            for user, item, at in lines:
                connection.execute(
                    f"INSERT INTO raw.{table} VALUES (?, ?, ?)", [user, item, START + timedelta(hours=at)]
                )
        found = connection.execute(query("ingest.impressions_by_items_before")).fetchall()
    assert {int(before): count for before, count in found} == expected
