"""Dagster's SQLite event log, with the events of many days in one transaction, and of a long range what is looked at.

Dagster hands over the materializations of a range of days as one batch, and the days that a run is about to make as
another; its own SQLite log then opens, writes and commits two files for each day: 11 ms a day and table, 65 s of a run
over 365 days with its eight daily tables. Its log for Postgres batches by itself where DAGSTER_EVENT_BATCH_SIZE is set.

A run over 8,036 days would leave 1.1 GB: each day is planned for every asset and for every check, and told twice. So:

- A check of whole tables is planned once, not for each day: no result of it would ever name one.
- Of a batch with many days of an asset the index knows every day that was made; what was planned, and the log of the
  run, name the last alone. The UI shows no day of so long a range as under way, and days that failed as missing.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dagster import DagsterEventType, EventLogEntry

from alignrec_assets.instance.dagster_private import (
    ASSET_EVENTS,
    ConfigurableClassData,
    SqliteEventLogStorage,
    UserConfigSchema,
)

MADE, CHECK_PLANNED = DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
BATCH_VARIABLE = "DAGSTER_EVENT_BATCH_SIZE"
BATCH_EVENTS = 1000
MOST_ALIKE = 200
"""So many events of one type and asset in a batch are all told; of more of them, the last."""


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
        told = _told(of_assets)
        indexed = [event for event in of_assets if id(event) in told or event.dagster_event_type == MADE]
        if indexed:
            # The index first, for only there others write: a batch that fails is stored again, event by event.
            with self.index_transaction() as connection:
                inserts = [self.prepare_insert_event(event) for event in indexed]
                numbers = [connection.execute(insert).lastrowid for insert in inserts]
                self._store_asset_event_tags(connection, indexed, numbers)
                last = {event.get_dagster_event().asset_key: place for place, event in enumerate(indexed)}
                for place in last.values():
                    self._store_asset_event(connection, indexed[place], numbers[place])
            with self.run_connection(indexed[0].run_id) as connection:
                for event, insert in zip(indexed, inserts, strict=True):
                    if id(event) in told:
                        connection.execute(insert)
        for event in events:
            if event.dagster_event_type not in ASSET_EVENTS:
                self.store_event(event)

    def store_asset_check_event(self, event: EventLogEntry, event_id: int | None) -> None:
        """Store the plan or the result of a check; the plan once, whatever the days of the run."""
        happened = event.get_dagster_event()
        if event.dagster_event_type == CHECK_PLANNED:
            data = happened.asset_check_planned_data
            once = type(data)(asset_key=data.asset_key, check_name=data.check_name)
            event = event._replace(dagster_event=happened._replace(event_specific_data=once))
        super().store_asset_check_event(event, event_id)


def _told(events: Sequence[EventLogEntry]) -> set[int]:
    """Of events of assets, those for the log of the run, by identity: of many alike the last alone."""
    kinds = [(event.dagster_event_type, event.get_dagster_event().asset_key) for event in events]
    alike, last = Counter(kinds), {kind: id(event) for kind, event in zip(kinds, events, strict=True)}
    return {
        id(event)
        for kind, event in zip(kinds, events, strict=True)
        if alike[kind] <= MOST_ALIKE or last[kind] == id(event)
    }
