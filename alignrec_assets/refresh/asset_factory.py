"""From declarations to Dagster's assets: built for the settings and the calendar of one home, not at import."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import dagster as dg

from alignrec_assets.partitions import partitions_back
from alignrec_assets.refresh.code_versions import version_of
from alignrec_assets.refresh.declarations import DECLARED, Declaration, Read, settings_of
from alignrec_assets.refresh.tables import CONTRACT_CHECK, Facts
from alignrec_assets.settings.schema import Settings
from alignrec_assets.warehouse.columns import Table
from alignrec_assets.warehouse.contract import conditions, row_rules
from alignrec_assets.warehouse.tables import TABLES
from models.files import fingerprint

GROUPS = {"registry": "checkpoints", "search": "evaluation", "scaling": "evaluation"}
"""Groups of the graph that are not called after the schema of a table: by schema, or by selection of a model."""


@dataclass(frozen=True)
class Step:
    """The function that makes an asset, with the asset's declaration."""

    declared: Declaration
    function: Callable[..., Any]


def makes(name: str) -> Callable[[Callable[..., Any]], Step]:
    """Mark the function that makes the asset of this name."""
    return lambda function: Step(DECLARED[name], function)


def steps_of(modules: Iterable[ModuleType]) -> list[Step]:
    """The steps that modules hold, each once."""
    found = {
        value.declared.name: value for module in modules for value in vars(module).values() if isinstance(value, Step)
    }
    return list(found.values())


def build_assets(steps: Iterable[Step], settings: Settings, days: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Dagster's assets of some steps, under some settings and on some days."""
    return [dg.asset(**asset_arguments(step.declared, settings, days))(step.function) for step in steps]


def asset_arguments(declared: Declaration, settings: Settings, days: dg.PartitionsDefinition) -> Facts:
    """Arguments of ``dg.asset``; description and schema of a table come from ``warehouse.tables``."""
    return {
        "key": asset_key(declared.name),
        "kinds": {*declared.kinds},
        "deps": [*(_dependency(read, declared, settings) for read in declared.reads), *map(asset_key, declared.gates)],
        "code_version": marked_version(declared, settings),
        "tags": {"selection": declared.selection},
        **(_table_arguments(declared) if declared.name in TABLES else _model_arguments(declared)),
        **({"partitions_def": days} if declared.daily else {}),
        **({"pool": "language_model"} if declared.language_model else {}),
    }


def marked_version(declared: Declaration, settings: Settings) -> str:
    """What the UI calls the code version: it holds the settings that count, so that a changed one marks the asset."""
    chosen = settings_of(declared.name, settings)
    version = version_of(declared.name)
    return fingerprint([version, chosen]) if chosen else version


def asset_key(name: str) -> dg.AssetKey:
    """Dagster's key of a table such as ``raw.events``, or of a model."""
    return dg.AssetKey(name.split("."))


def _table_arguments(declared: Declaration) -> Facts:
    table = TABLES[declared.name]
    return {
        "group_name": GROUPS.get(table.schema, table.schema),
        "description": table.description,
        "kinds": {*declared.kinds, "duckdb"},
        "check_specs": [_contract_spec(table)],
        "metadata": {"dagster/column_schema": _column_schema(table), "dagster/table_name": f"warehouse.{table.name}"},
        # Lets an unpartitioned asset run in the same range of days as the tables that read it.
        "backfill_policy": dg.BackfillPolicy.single_run(),
    }


def _model_arguments(declared: Declaration) -> Facts:
    return {"group_name": GROUPS.get(declared.selection, "checkpoints"), "description": declared.description}


def _dependency(read: Read, declared: Declaration, settings: Settings) -> dg.AssetDep:
    """A window is mapped; of all days before Dagster hears of the same day alone: it tracks no more than 100."""
    if declared.daily and read.reach == "window":
        mapping = dg.TimeWindowPartitionMapping(
            start_offset=-partitions_back(read.days(settings), settings.calendar.partition),
            allow_nonexistent_upstream_partitions=True,
        )
        return dg.AssetDep(asset_key(read.asset), partition_mapping=mapping)
    return dg.AssetDep(asset_key(read.asset))


def _column_schema(table: Table) -> dg.TableSchema:
    """The columns as the UI shows them, with what holds for each, and the rules of the whole row."""
    columns = [
        dg.TableColumn(
            column.name,
            column.type,
            column.description,
            dg.TableColumnConstraints(nullable=column.null, other=list(column.range)),
        )
        for column in table.columns
    ]
    return dg.TableSchema(columns, dg.TableConstraints(other=row_rules(table)))


def _contract_spec(table: Table) -> dg.AssetCheckSpec:
    described = "Held against the rows before they are committed: " + "; ".join([*row_rules(table), *conditions(table)])
    return dg.AssetCheckSpec(CONTRACT_CHECK, asset=table.name.split("."), blocking=True, description=described)
