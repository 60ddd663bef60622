"""All that this project takes from Dagster's private modules, as they are in Dagster 1.13, which pyproject.toml holds.

No other module imports from them. Dagster may move any of these in a minor release; then
``tests/alignrec_assets/instance/test_dagster_private.py`` names what moved and what here depends on it.

What and why:

- ``SqliteEventLogStorage``, ``ASSET_EVENTS``, ``DATA_VERSION_TAG``, ``AssetMaterializationPlannedData``,
  ``ConfigurableClassData``, ``UserConfigSchema``: ``event_log`` stores the events of many days in one transaction.
  Dagster has no public base class for an event log.
- ``ENDED_CHECK``: ``check_results`` asks for the last result of a check and leaves out executions without a result.
  The public API knows a check's latest execution only, whatever became of it.
- ``add_metadata_of_days``: the public ``add_asset_metadata`` copies and checks what all days before were given, so that
  8,036 days took 13 s for each table.
- ``credit_days``: a step that fails credits none of its partitions, and an ``AssetMaterialization`` that it logs itself
  carries no data version. Dagster builds these tags in private functions at a step's end.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, Protocol

import dagster as dg
from dagster._config import UserConfigSchema
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.events import ASSET_EVENTS, AssetMaterializationPlannedData
from dagster._core.execution.context.metadata_logging import (
    AssetMetadataHandle,
    OutputMetadataAccumulator,
    OutputMetadataHandle,
)
from dagster._core.execution.plan.execute_step import (
    _build_data_version_tags,
    _get_code_version,
    _get_input_provenance_data,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData

__all__ = [
    "ASSET_EVENTS",
    "DATA_VERSION_TAG",
    "ENDED_CHECK",
    "AssetMaterializationPlannedData",
    "ConfigurableClassData",
    "SqliteEventLogStorage",
    "UserConfigSchema",
    "add_metadata_of_days",
    "credit_days",
]

ENDED_CHECK = frozenset({AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED})
"""States of an execution of a check that has a result."""


class MadeDay(Protocol):
    """What Dagster is told of a day that was made."""

    @property
    def rows(self) -> int:
        """How many rows the day has."""

    @property
    def data_version(self) -> str:
        """What readers of the day compare."""


def credit_days(context: dg.AssetExecutionContext, days: Mapping[date, MadeDay]) -> None:
    """Tell Dagster of the good days of a step that is about to fail: a failed step credits none."""
    step = context.get_step_execution_context()
    code, inputs = _get_code_version(context.asset_key, step), _get_input_provenance_data(context.asset_key, step)
    for day, made in days.items():
        # As Dagster does at a step's end; without them the UI goes by times, and marks too much or too little.
        tags = _build_data_version_tags(dg.DataVersion(made.data_version), code, inputs, True)
        metadata = {"dagster/partition_row_count": made.rows}
        context.log_event(
            dg.AssetMaterialization(context.asset_key, partition=day.isoformat(), metadata=metadata, tags=tags)
        )


def add_metadata_of_days(context: dg.AssetExecutionContext, days: Mapping[date, Mapping[str, Any]]) -> None:
    """Give each partition of the step's asset its metadata, as ``context.add_asset_metadata`` would one by one."""
    step = context.get_step_execution_context()
    given: dict[OutputMetadataHandle | AssetMetadataHandle, Mapping[str, Any]] = {
        AssetMetadataHandle(asset_key=context.asset_key, partition_key=day.isoformat()): metadata
        for day, metadata in days.items()
    }
    before = step._metadata_accumulator.per_output_metadata
    step._metadata_accumulator = OutputMetadataAccumulator(per_output_metadata={**before, **given})
