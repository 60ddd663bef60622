"""The past of users before a day, in one row for each user and cluster, kept from day to day.

Without it every new day reads all days before it again.
"""

from bisect import bisect_left
from datetime import date
from typing import Any

import duckdb

from alignrec_assets.refresh.fingerprints import SeenDays
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.records import Record, read_records, write_records
from alignrec_assets.warehouse.tables import KEPT_PAST

DAYS = "interests.user_cluster_days"


def bring_to_day_before(connection: duckdb.DuckDBPyConnection, day: date, taxonomy: str) -> date | None:
    """Let ``interests.user_clusters`` hold the days before a day, and no other; a step calls it in its transaction.

    Where it holds an earlier part of the same days, later days are added. It is made from the beginning where it holds
    later days, or where days that it holds have changed.

    Returns:
        The last day that it holds; None where no day before has rows.
    """
    made = SeenDays(read_records(connection, DAYS))
    earlier = bisect_left(made.keys, day.isoformat())
    until = date.fromisoformat(made.keys[earlier - 1]) if earlier else None
    holds = read_records(connection, KEPT_PAST).get("")
    after = _holds_until(holds, made, taxonomy, until)
    if after is None:
        connection.execute(f"DELETE FROM {KEPT_PAST}")
    if until is not None and after != until:
        _add_days(connection, after or date.min, until, taxonomy)
    facts: dict[str, Any] = {"until": until and until.isoformat(), "taxonomy_version": taxonomy}
    version = until and made.version(date.min, until)
    write_records(connection, KEPT_PAST, {"": Record(str(version), 0, facts)})
    return until


def _holds_until(holds: Record | None, made: SeenDays, taxonomy: str, until: date | None) -> date | None:
    """The last day that the table holds, if all that it holds is wanted and as it was."""
    if holds is None or until is None or not holds.details["until"]:
        return None
    last = date.fromisoformat(holds.details["until"])
    same = holds.details["taxonomy_version"] == taxonomy and holds.fingerprint == made.version(date.min, last)
    return last if same and last <= until else None


def _add_days(connection: duckdb.DuckDBPyConnection, after: date, until: date, taxonomy: str) -> None:
    span = {"after": after, "until": until, "taxonomy_version": taxonomy}
    connection.execute(f"CREATE OR REPLACE TEMP TABLE changed_clusters AS {query('interests.user_clusters')}", span)
    connection.execute(
        f"DELETE FROM {KEPT_PAST} WHERE (user_id, cluster_id) IN (SELECT (user_id, cluster_id) FROM changed_clusters)"
    )
    connection.execute(f"INSERT INTO {KEPT_PAST} BY NAME FROM changed_clusters")
    connection.execute("DROP TABLE changed_clusters")
