"""Dagster's SQLite event log, with the events of many days in one transaction.

Dagster hands over the materializations of a range of days as one batch, and the days that a run is about to make as
another; its own SQLite log then opens, writes and commits two files for each day: 11 ms a day and table, 65 s of a run
over 365 days with its eight daily tables. Its log for Postgres batches by itself where DAGSTER_EVENT_BATCH_SIZE is set.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dagster import EventLogEntry

from alignrec_assets.instance.dagster_private import (
    ASSET_EVENTS,
    ConfigurableClassData,
    SqliteEventLogStorage,
    UserConfigSchema,
)

BATCH_VARIABLE = "DAGSTER_EVENT_BATCH_SIZE"
BATCH_EVENTS = 1000


class BatchedSqliteEventLog(SqliteEventLogStorage):
    """The event log of ``dagster.yaml``, where Dagster's default keeps its own: ``$DAGSTER_HOME/history/runs``."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Nothing is to be set."""
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Mapping[str, Any],  # noqa: ARG003 - Dagster gives it by name
    ) -> "BatchedSqliteEventLog":
        """The log of the home, in a process that hands its events over in batches."""
        os.environ.setdefault(BATCH_VARIABLE, str(BATCH_EVENTS))
        return cls(str(Path(os.environ["DAGSTER_HOME"]).expanduser() / "history" / "runs"), inst_data)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run: those of assets in one transaction of the run's file and one of the index.

        What the index tells of an asset itself is that of its last event, as in Dagster's log for Postgres.
        """
        of_assets = [event for event in events if event.dagster_event_type in ASSET_EVENTS]
        if of_assets:
            inserts = [self.prepare_insert_event(event) for event in of_assets]
            # The index first, for only there others write: a batch that fails is stored again, event by event.
            with self.index_transaction() as connection:
                numbers = [connection.execute(insert).lastrowid for insert in inserts]
                self._store_asset_event_tags(connection, of_assets, numbers)
                last = {event.get_dagster_event().asset_key: place for place, event in enumerate(of_assets)}
                for place in last.values():
                    self._store_asset_event(connection, of_assets[place], numbers[place])
            with self.run_connection(of_assets[0].run_id) as connection:
                for insert in inserts:
                    connection.execute(insert)
        for event in events:
            if event.dagster_event_type not in ASSET_EVENTS:
                self.store_event(event)
