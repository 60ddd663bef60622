"""What an upgrade of Dagster moves: each name outside its public API that the project uses, and what depends on it."""

import ast
import inspect
from dataclasses import dataclass
from datetime import date
from functools import reduce
from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest

ROOT = Path(__file__).resolve().parents[3]
PRIVATE = ROOT / "alignrec_assets" / "instance" / "dagster_private.py"
LOG = "dagster._core.storage.event_log"
STEP = "dagster._core.execution.plan.execute_step"
BATCHES = "event_log.py stores the events of many days in one transaction"
CHECKS = "check_results.py reads the last results of checks: publication and automation are held by those that failed"
CREDIT = "credit_days tells Dagster of the good days of a failed step, with their data versions"
CONTEXT = "dagster._core.execution.context"
METADATA = "add_metadata_of_days gives each day of a long range its metadata"
SLOTS = "dagster_home.py frees the places of runs whose process is gone"
PRUNING = "housekeeping/pruning.py keeps the runs that made what stands"
# Module, name in it, parameters by name (None: it is no function), and what depends on it.
USES = [
    ("dagster._config", "UserConfigSchema", None, BATCHES),
    ("dagster._serdes", "ConfigurableClassData", None, BATCHES),
    ("dagster._core.events", "ASSET_EVENTS", None, BATCHES),
    ("dagster._core.events", "AssetMaterializationPlannedData", "asset_key partition partitions_subset", BATCHES),
    ("dagster._core.definitions.data_version", "DATA_VERSION_TAG", None, BATCHES),
    (LOG, "SqliteEventLogStorage", "base_dir inst_data", BATCHES),
    (LOG, "SqliteEventLogStorage.config_type", "", BATCHES),
    (LOG, "SqliteEventLogStorage.from_config_value", "inst_data config_value", BATCHES),
    (LOG, "SqliteEventLogStorage.store_event", "self event", BATCHES),
    (LOG, "SqliteEventLogStorage.store_event_batch", "self events", BATCHES),
    (LOG, "SqliteEventLogStorage.prepare_insert_event", "self event", BATCHES),
    (LOG, "SqliteEventLogStorage.index_transaction", "self", BATCHES),
    (LOG, "SqliteEventLogStorage.run_connection", "self run_id", BATCHES),
    (LOG, "SqliteEventLogStorage.store_asset_check_event", "self event event_id", BATCHES),
    (LOG, "SqliteEventLogStorage._store_asset_event", "self conn event event_id", BATCHES),
    (LOG, "SqliteEventLogStorage._store_asset_event_tags", "self conn events event_ids", BATCHES),
    ("dagster._core.storage.asset_check_execution_record", "AssetCheckExecutionRecordStatus.SUCCEEDED", None, CHECKS),
    ("dagster._core.storage.asset_check_execution_record", "AssetCheckExecutionRecordStatus.FAILED", None, CHECKS),
    (f"{LOG}.base", "EventLogStorage.get_latest_asset_check_execution_by_key", "self check_keys", CHECKS),
    (f"{LOG}.base", "EventLogStorage.get_asset_check_execution_history", "self check_key limit cursor status", CHECKS),
    (
        STEP,
        "_build_data_version_tags",
        "data_version code_version input_provenance_data data_version_is_user_provided",
        CREDIT,
    ),
    (f"{CONTEXT}.metadata_logging", "AssetMetadataHandle", None, METADATA),
    (f"{CONTEXT}.metadata_logging", "OutputMetadataHandle", None, METADATA),
    (f"{CONTEXT}.metadata_logging", "OutputMetadataAccumulator.per_output_metadata", None, METADATA),
    (STEP, "_get_code_version", "asset_key step_context", CREDIT),
    (STEP, "_get_input_provenance_data", "asset_key step_context", CREDIT),
    ("dagster", "AssetExecutionContext.get_step_execution_context", "self", CREDIT),
    ("dagster", "DagsterInstance.event_log_storage", None, f"{CHECKS}; {SLOTS}"),
    (f"{LOG}.base", "EventLogStorage.free_concurrency_slots_for_run", "self run_id", SLOTS),
    ("dagster", "DagsterInstance.report_run_failed", "self dagster_run message", SLOTS),
    ("dagster", "DagsterInstance.add_run_tags", "self run_id new_tags", SLOTS),
    ("dagster", "DagsterInstance.all_logs", "self run_id of_type", SLOTS),
    ("dagster", "DagsterInstance.all_asset_keys", "self", PRUNING),
    ("dagster", "DagsterInstance.get_latest_storage_id_by_partition", "self asset_key event_type", PRUNING),
    ("dagster", "DagsterInstance.compute_log_manager", None, PRUNING),
]


@pytest.mark.parametrize(("module", "name", "parameters", "needed_by"), USES, ids=[use[1] for use in USES])
def test_dagster_still_has_what_is_not_public(module, name, parameters, needed_by):
    told = f"Dagster {dg.__version__} moved or changed {module}.{name}: {needed_by}"
    try:
        found = reduce(getattr, name.split("."), import_module(module))
    except (ImportError, AttributeError) as error:
        raise AssertionError(told) from error
    if parameters is not None:
        has = list(inspect.signature(found).parameters)
        assert has[: len(parameters.split())] == parameters.split(), told


def private_imports(path):
    """Names that a file imports from Dagster's private modules."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Import)]
    return {
        (getattr(node, "module", None) or alias.name, alias.name)
        for node in found
        for alias in node.names
        if f".{getattr(node, 'module', None) or alias.name}".startswith(".dagster._")
    }


def test_one_file_imports_from_private_modules_and_this_test_knows_all_that_it_imports():
    files = [*(ROOT / "alignrec_assets").rglob("*.py"), *(ROOT / "models").rglob("*.py")]
    assert [path for path in files if private_imports(path)] == [PRIVATE]
    assert private_imports(PRIVATE) <= {(module, name.split(".")[0]) for module, name, *_ in USES}


@dataclass(frozen=True)
class Made:
    rows: int
    data_version: str


def test_a_day_that_a_failed_step_credits_is_told_as_one_of_a_step_that_succeeds():
    from alignrec_assets.instance.dagster_private import credit_days

    partitions = dg.DailyPartitionsDefinition("2026-01-05", end_date="2026-01-08")
    key, day = dg.AssetKey("table"), date(2026, 1, 6)

    @dg.asset
    def source():
        return dg.MaterializeResult(data_version=dg.DataVersion("of the source"))

    @dg.asset(name="table", deps=[source], partitions_def=partitions, code_version="1")
    def succeeds(context):
        return dg.MaterializeResult(
            data_version=dg.DataVersion("of the day"), metadata={"dagster/partition_row_count": 7}
        )

    @dg.asset(name="table", deps=[source], partitions_def=partitions, code_version="1")
    def fails(context):
        credit_days(context, {day: Made(7, "of the day")})
        raise RuntimeError("another day is broken")

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([source], instance=instance)
        told = []
        for asset in (succeeds, fails):
            dg.materialize(
                [source, asset],
                instance=instance,
                selection=[asset],
                partition_key=day.isoformat(),
                raise_on_error=False,
            )
            event = instance.get_latest_materialization_event(key).asset_materialization
            told.append((event.partition, event.metadata, event.tags))
    assert told[0] == told[1]
    assert told[0][2]["dagster/data_version"] == "of the day"
