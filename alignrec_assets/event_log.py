"""Dagster's SQLite event log, with the events of many days in one transaction, and of a long range what is looked at.

Dagster hands over the materializations of a range of days as one batch, and the days that a run is about to make as
another; its own SQLite log then opens, writes and commits two files for each day: 11 ms a day and table, 65 s of a run
over 365 days with its eight daily tables. Its log for Postgres batches by itself where DAGSTER_EVENT_BATCH_SIZE is set.

A run over 8,036 days would leave 1.1 GB: each day is planned for every asset and for every check, and told twice. So:

- A check of whole tables is planned once, not for each day: no result of it would ever name one.
- Of a batch with many days of an asset one event says that they are planned, and names none: the UI shows no day of so
  long a range as under way, and those that failed as missing. The log of the run names the last day that was made.
- The index knows every day that was made; one that is as it was before is not told again.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dagster import AssetKey, DagsterEventType, EventLogEntry

from alignrec_assets.instance.dagster_private import (
    ASSET_EVENTS,
    DATA_VERSION_TAG,
    AssetMaterializationPlannedData,
    ConfigurableClassData,
    SqliteEventLogStorage,
    UserConfigSchema,
)

MADE, PLANNED = DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_MATERIALIZATION_PLANNED
CHECK_PLANNED = DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
BATCH_VARIABLE = "DAGSTER_EVENT_BATCH_SIZE"
BATCH_EVENTS = 1000
MOST_ALIKE = 200
"""So many events of one type and asset in a batch are all told, as Dagster would."""


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
        for alike in _alike(of_assets):
            if len(alike) <= MOST_ALIKE:
                self._store(alike, in_run=alike)
            elif alike[0].dagster_event_type == PLANNED:
                last = _of_no_day(alike[-1])
                self._store([last], in_run=[last])
            else:
                self._store([*self._news(alike[:-1]), alike[-1]], in_run=alike[-1:])
        for event in events:
            if event.dagster_event_type not in ASSET_EVENTS:
                self.store_event(event)

    def _store(self, events: Sequence[EventLogEntry], in_run: Sequence[EventLogEntry]) -> None:
        """Store events of an asset in the index, and some of them, the last ones, in the log of their run."""
        inserts = [self.prepare_insert_event(event) for event in events]
        # The index first, for only there others write: a batch that fails is stored again, event by event.
        with self.index_transaction() as connection:
            numbers = [connection.execute(insert).lastrowid for insert in inserts]
            self._store_asset_event_tags(connection, events, numbers)
            self._store_asset_event(connection, events[-1], numbers[-1])
        with self.run_connection(events[0].run_id) as connection:
            for insert in inserts[-len(in_run) :]:
                connection.execute(insert)

    def _news(self, made: Sequence[EventLogEntry]) -> list[EventLogEntry]:
        """Materializations of days that were never made, or whose version is another one than before."""
        key = made[0].get_dagster_event().asset_key
        days = [day for event in made if (day := event.get_dagster_event().partition) is not None]
        if key is None or len(days) < len(made):
            return list(made)
        before = self.get_latest_tags_by_partition(key, MADE, [DATA_VERSION_TAG], asset_partitions=days)
        return [event for day, event in zip(days, made, strict=True) if before.get(day) != _version_of(event)]

    def store_asset_check_event(self, event: EventLogEntry, event_id: int | None) -> None:
        """Store the plan or the result of a check; the plan once, whatever the days of the run."""
        happened = event.get_dagster_event()
        if event.dagster_event_type == CHECK_PLANNED:
            data = happened.asset_check_planned_data
            once = type(data)(asset_key=data.asset_key, check_name=data.check_name)
            event = event._replace(dagster_event=happened._replace(event_specific_data=once))
        super().store_asset_check_event(event, event_id)


def _alike(events: Sequence[EventLogEntry]) -> list[list[EventLogEntry]]:
    """Events of assets by type and asset, in the order in which these came."""
    groups: dict[tuple[DagsterEventType | None, AssetKey | None], list[EventLogEntry]] = {}
    for event in events:
        groups.setdefault((event.dagster_event_type, event.get_dagster_event().asset_key), []).append(event)
    return list(groups.values())


def _version_of(made: EventLogEntry) -> dict[str, str]:
    """The data version of a materialization, as the index tells it."""
    tags = made.asset_materialization.tags if made.asset_materialization else None
    return {name: value for name, value in (tags or {}).items() if name == DATA_VERSION_TAG}


def _of_no_day(planned: EventLogEntry) -> EventLogEntry:
    """A planned materialization without its partition."""
    happened = planned.get_dagster_event()
    data = AssetMaterializationPlannedData(happened.event_specific_data.asset_key)  # type: ignore[union-attr]
    return planned._replace(dagster_event=happened._replace(event_specific_data=data))
