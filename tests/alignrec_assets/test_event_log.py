"""The batched event log against Dagster's own SQLite log: the same events, in fewer transactions."""

import dagster as dg
import pytest
from dagster import DagsterEventType
from dagster._core.storage.event_log import SqliteEventLogStorage

from alignrec_assets.event_log import BATCH_VARIABLE, BatchedSqliteEventLog
from alignrec_assets.home import Home
from alignrec_assets.instance.dagster_home import INSTANCE_FILE, open_instance

DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-01-08")
ARGUMENTS = {"partitions_def": DAYS, "backfill_policy": dg.BackfillPolicy.single_run()}
RANGE = {"dagster/asset_partition_range_start": "2026-01-02", "dagster/asset_partition_range_end": "2026-01-06"}
INDEXED = [DagsterEventType.ASSET_MATERIALIZATION_PLANNED, DagsterEventType.ASSET_MATERIALIZATION]


@dg.asset(**ARGUMENTS, check_specs=[dg.AssetCheckSpec("sound", asset="log")])
def log(context):
    for day in context.partition_keys:
        context.add_asset_metadata({"dagster/partition_row_count": int(day[-1])}, partition_key=day)
    passed = dg.AssetCheckResult(check_name="sound", passed=True)
    return dg.MaterializeResult(data_version=dg.DataVersion("v"), check_results=[passed])


@dg.asset(**ARGUMENTS, deps=[log])
def counts():
    return dg.MaterializeResult()


@dg.asset(**ARGUMENTS, deps=[counts])
def broken():
    raise RuntimeError("no days today")


def run(folder, instance_file=None):
    """What a run over five days leaves in the log of the run and in the index, without numbers, times and ids."""
    home = Home(folder)
    home.create()
    if instance_file is not None:
        (home.dagster / INSTANCE_FILE).write_text(instance_file)
    with open_instance(home) as instance:
        result = dg.materialize([log, counts, broken], instance=instance, tags=RANGE, raise_on_error=False)
        told = [
            (event.event_type_value, event.step_key, event.asset_key, event.partition)
            for entry in instance.all_logs(result.run_id)
            if (event := entry.dagster_event) is not None and event.event_type != DagsterEventType.ENGINE_EVENT
        ]
        indexed = {
            type_: [
                (
                    record.asset_key,
                    record.partition_key,
                    record.asset_materialization and record.asset_materialization.metadata,
                )
                for record in instance.event_log_storage.get_event_records(dg.EventRecordsFilter(type_), ascending=True)
            ]
            for type_ in INDEXED
        }
        last = {
            record.asset_entry.asset_key: (
                record.asset_entry.last_run_id == result.run_id,
                record.asset_entry.last_materialization
                and record.asset_entry.last_materialization.asset_materialization.partition,
            )
            for record in instance.get_asset_records()
        }
        partitions = {
            asset.key: sorted(instance.get_materialized_partitions(asset.key)) for asset in (log, counts, broken)
        }
        version = instance.get_latest_data_version_record(log.key, partition_key="2026-01-03")
        return (
            type(instance.event_log_storage),
            sorted(told, key=str),
            indexed,
            last,
            partitions,
            version.asset_materialization.tags["dagster/data_version"],
        )


@pytest.fixture
def transactions(monkeypatch):
    """How often a file of the event log was opened and committed."""
    opened = []
    connect = SqliteEventLogStorage._connect

    def counted(log, shard):
        opened.append(shard)
        return connect(log, shard)

    monkeypatch.setattr(SqliteEventLogStorage, "_connect", counted)
    return opened


def test_a_run_over_days_leaves_what_dagsters_own_log_would(tmp_path, monkeypatch, transactions):
    monkeypatch.delenv(BATCH_VARIABLE, raising=False)
    own, *expected = run(tmp_path / "own", "telemetry:\n  enabled: false\n")
    one_by_one = len(transactions)
    batched, *found = run(tmp_path / "batched")
    assert (own, batched) == (SqliteEventLogStorage, BatchedSqliteEventLog)
    assert found == expected
    assert len(found[1][DagsterEventType.ASSET_MATERIALIZATION]) == 10
    assert len(transactions) - one_by_one < 0.75 * one_by_one


LONG = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2025-01-01")
FIRST, LAST, DAYS_OF_YEAR = "2024-01-01", "2024-12-31", 366


@dg.asset(
    partitions_def=LONG,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("sound", asset="year")],
    config_schema={"version": str},
)
def year(context):
    version = dg.DataVersion(context.op_execution_context.op_config["version"])
    return dg.MaterializeResult(
        data_version=version, check_results=[dg.AssetCheckResult(check_name="sound", passed=True)]
    )


def run_year(instance, version):
    """A run over a year; returns its id."""
    tags = {"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": LAST}
    config = {"ops": {"year": {"config": {"version": version}}}}
    return dg.materialize([year], instance=instance, tags=tags, run_config=config).run_id


def recorded(instance, type_):
    return instance.event_log_storage.get_event_records(dg.EventRecordsFilter(type_), ascending=True)


def test_of_a_long_range_every_day_is_known_and_little_is_kept(tmp_path):
    home = Home(tmp_path)
    home.create()
    made, planned = DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    with open_instance(home) as instance:
        run_id = run_year(instance, "a")
        assert len(instance.get_materialized_partitions(year.key)) == DAYS_OF_YEAR
        assert len(recorded(instance, made)) == DAYS_OF_YEAR
        assert [record.partition_key for record in recorded(instance, planned)] == [None]
        told = [entry.dagster_event for entry in instance.all_logs(run_id, of_type=made)]
        assert [event.partition for event in told] == [LAST]
        with instance.event_log_storage.index_connection() as connection:
            checks = connection.exec_driver_sql("SELECT execution_status, partition FROM asset_check_executions")
            assert checks.fetchall() == [("SUCCEEDED", None)]
        run_year(instance, "a")  # nothing is new
        assert len(recorded(instance, made)) == DAYS_OF_YEAR + 1
        run_year(instance, "b")
        assert len(recorded(instance, made)) == 2 * DAYS_OF_YEAR + 1
        version = instance.get_latest_data_version_record(year.key, partition_key="2024-05-05")
        assert version.asset_materialization.tags["dagster/data_version"] == "b"
        failed = instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations
        assert failed(year.key) == {}
