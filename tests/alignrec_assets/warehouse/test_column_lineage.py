"""Column lineage: by hand for some columns, and against the declared dependencies for all tables."""

import dagster as dg
import pytest

from alignrec_assets.refresh.declarations import DECLARED
from alignrec_assets.warehouse.column_lineage import LINEAGE, column_sources, lineage_metadata
from alignrec_assets.warehouse.tables import TABLES

BY_HAND = [
    # min(CASE WHEN events.positive THEN events.ts END)
    ("interests.user_cluster_days", "first_positive_ts", [("raw.events", "positive"), ("raw.events", "ts")]),
    ("interests.user_cluster_days", "cluster_id", [("interests.item_clusters", "cluster_id")]),
    # positive_moments is a union of the days before and the day's own events
    (
        "interests.first_interactions",
        "history",
        [("interests.item_clusters", "cluster_id"), ("interests.user_cluster_days", "cluster_id")],
    ),
    # logged and replayed impressions
    (
        "feedback.transition_users",
        "likes",
        [("interests.first_interactions", "liked"), ("raw.feedback_logs", "liked")],
    ),
    ("feedback.transition_users", "impressions", []),  # a count of rows
    ("feedback.transition_users", "taxonomy_version", []),  # a parameter
    ("feedback.transition_counts", "users", [("feedback.transition_users", "user_id")]),
    ("feedback.transition_scores", "users", [("feedback.transition_users", "user_id")]),
    ("raw.feedback_logs", "positive", [("raw.items", "duration_s")]),  # all else is read from landing files
    ("training.novel_transitions", "ts", [("interests.first_interactions", "ts")]),
    ("training.novelty_examples", "history", [("training.novel_transitions", "history")]),
    ("training.pointwise_examples", "impressions", [("feedback.transition_scores", "impressions")]),
]


@pytest.mark.parametrize(("table", "column", "expected"), BY_HAND)
def test_sources_by_hand(table, column, expected):
    assert column_sources(table)[column] == expected


def test_the_rule_for_positive_events_reads_the_length_of_the_item():
    assert ("raw.items", "duration_s") in column_sources("raw.events")["positive"]


@pytest.mark.parametrize("table", sorted(TABLES.keys() & DECLARED.keys()))
def test_every_source_is_a_column_of_a_table_that_the_asset_declares_to_read(table):
    read = {entry.asset for entry in DECLARED[table].reads}
    for sources in column_sources(table).values():
        for source, column in sources:
            assert column in {known.name for known in TABLES[source].columns}
            assert source in read


def test_metadata_is_what_dagster_shows():
    metadata = lineage_metadata("interests.user_cluster_days")
    shown = metadata[LINEAGE]
    assert "| first_ts | `raw.events.ts` |" in metadata["columns_come_from"].md_str
    assert shown.deps_by_column["user_id"] == [dg.TableColumnDep(dg.AssetKey(["raw", "events"]), "user_id")]


def test_a_table_without_a_query_has_no_lineage():
    assert column_sources("candidates.pools") == {}
    assert lineage_metadata("candidates.pools") == {}
