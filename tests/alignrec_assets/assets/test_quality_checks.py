"""Checks beyond the contracts, on warehouses whose figures are set by hand."""

import json
from datetime import date, timedelta

import dagster as dg
import polars as pl
import pytest

from alignrec_assets.assets import quality_checks
from alignrec_assets.partitions import FIRST_DAY_TAG, LAST_DAY_TAG
from alignrec_assets.refresh.taxonomies import append_assignments
from alignrec_assets.resources import HomeResource
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import Record, write_records
from alignrec_assets.warehouse.rows import append_rows
from models.files import content_hash

FIRST = date(2026, 1, 5)
CHECKS = {
    (".".join(key.asset_key.path), key.name): check
    for check in quality_checks.build_checks("warn")
    for key in check.check_keys
}


def record(home, asset, *days):
    """Records of days from the first on: rows, and facts."""
    with Warehouse(home).writing() as connection:
        records = {str(FIRST + timedelta(days=at)): Record(str(at), *day) for at, day in enumerate(days)}
        write_records(connection, asset, records)


def run(home, asset, name, instance=None, **tags):
    """The check in a run of its own; returns what it told Dagster."""
    resources = {"home": HomeResource(database=str(home.warehouse))}
    defs = dg.Definitions(asset_checks=[CHECKS[asset, name]], resources=resources, executor=dg.in_process_executor)
    done = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, tags=tags, raise_on_error=False
    )
    (found,) = done.get_asset_check_evaluations()
    return found


def test_a_day_of_unusual_volume_is_named(home):
    record(home, "raw.events", (100,), (110,), (90,), (100,), (33,), (250,), (400,), (0,))
    found = run(home, "raw.events", "volume")
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert set(found.metadata) == {"days", "2026-01-09", "2026-01-11", "2026-01-12"}
    assert found.metadata["2026-01-09"].value.startswith("33 rows, 0.33 times the mean of the 4 days before")


@pytest.mark.parametrize("severity", ["warn", "error"])
def test_a_day_that_stops_the_line_is_judged_again_in_runs_of_other_days_until_it_passes(home, monkeypatch, severity):
    monkeypatch.setenv("ALIGNREC_CHECKS__SEVERITY", severity)
    usual = [(100,), (110,), (90,), (100,)]
    record(home, "raw.events", *usual, (900,), (100,), (100,))
    with dg.DagsterInstance.ephemeral() as instance:
        passed = [
            run(home, "raw.events", "volume", instance, **{"dagster/partition": f"2026-01-{day:02}"}).passed
            for day in (8, 9, 11)
        ]
        assert passed == [True, False, severity == "warn"]
        record(home, "raw.events", *usual, (95,), (100,), (100,))
        assert run(home, "raw.events", "volume", instance, **{"dagster/partition": "2026-01-11"}).passed


def test_the_first_days_have_no_usual_volume(home):
    record(home, "raw.events", (100,), (1,), (1000,))
    assert run(home, "raw.events", "volume").passed


def test_a_day_with_many_rejected_rows_is_named(home, monkeypatch):
    record(
        home,
        "raw.feedback_logs",
        (95, {"rejected": 5, "duplicates": 0}),
        (90, {"rejected": 6, "duplicates": 4}),
        (0, {"rejected": 0}),
    )
    found = run(home, "raw.feedback_logs", "rejected_share")
    assert found.description.startswith("2026-01-06: 6 of 100 rows rejected (6.0%)")
    monkeypatch.setenv("ALIGNREC_CHECKS__SEVERITY", "error")
    assert run(home, "raw.feedback_logs", "rejected_share").severity == dg.AssetCheckSeverity.ERROR
    monkeypatch.setenv("ALIGNREC_CHECKS__REJECTED_SHARE", "0.06")
    assert run(home, "raw.feedback_logs", "rejected_share").passed


def test_events_without_a_cluster_are_counted_by_day(home):
    days = [FIRST] * 10 + [FIRST + timedelta(days=1)] * 10
    events = pl.DataFrame(
        {
            "day": days,
            "user_id": [f"u{at}" for at in range(20)],
            "item_id": ["known"] * 9 + ["new"] + ["known"] * 8 + ["new"] * 2,
            "ts": days,
            **dict.fromkeys(("watch_s", "rating", "completed", "liked", "shared", "skipped")),
            "positive": True,
        }
    )
    assigned = {"taxonomy_version": ["t"], "item_id": ["known"], "cluster_id": [0], "similarity": [0.5]}
    with Warehouse(home).writing() as connection:
        append_rows(connection, "raw.events", events)
        append_rows(connection, "interests.item_clusters", pl.DataFrame(assigned))
    record(home, "interests.user_cluster_days", (10,), (10,))
    found = run(home, "interests.user_cluster_days", "clustered_share")
    assert found.description == "2026-01-06: 8 of 10 events are of items with a cluster (80.0%)"


def feedback(day, positives, clusters=range(4)):
    counts = dict.fromkeys(("likes", "shares", "completions", "skips"), 0)
    return [
        {"day": FIRST + timedelta(days=day), "taxonomy_version": "t", "history": [8, 9], "cluster_id": cluster,
         "novel": True, "impressions": 400, "users": 9, "positives": positives + 10 * cluster, **counts}
        for cluster in clusters
    ]  # fmt: skip


def test_a_day_whose_rates_drifted_is_named(home):
    with Warehouse(home).writing() as connection:
        rows = [row for day, positives in enumerate((100, 104, 98, 180)) for row in feedback(day, positives)]
        append_rows(connection, "feedback.transition_counts", pl.DataFrame(rows))
    record(home, "feedback.transition_counts", (4,), (4,), (4,), (4,))
    found = run(home, "feedback.transition_counts", "feedback_rates")
    assert found.description.startswith("2026-01-08: rates of 4 clusters differ by 0.1")
    assert set(found.metadata) == {"days", "2026-01-08"}


@pytest.mark.parametrize(("later", "passed"), [(0.5, True), (0.3, False)])
def test_new_items_that_fit_badly_ask_for_a_new_taxonomy(home, later, passed):
    for name, similarity in (("old", 0.5), ("new", later)):
        rows = {"item_id": [name], "cluster_id": [1], "similarity": [similarity]}
        schema = {"cluster_id": pl.Int32, "similarity": pl.Float32}
        append_assignments(home, "t", pl.DataFrame(rows, schema_overrides=schema))
    found = run(home, "interests.item_clusters", "new_items_fit")
    assert found.passed == passed
    assert found.metadata["similarity_of_new_items"].value == pytest.approx(later / 0.5)


def checkpoint(home, model, figures, curve):
    folder = home.checkpoints / model / "v"
    folder.mkdir(parents=True)
    manifest = {"format_version": 1, "version": "v", "content_hash": content_hash(), "figures": figures, "curve": curve}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with Warehouse(home).writing() as connection:
        write_records(connection, model, {"": Record("v", 0, {"folder": str(folder.relative_to(home.path))})})


@pytest.mark.parametrize(
    ("losses", "passed"), [([3.0, 2.0, 2.9], True), ([3.0, 2.0, 3.1], False), ([3.0, float("nan")], False)]
)
def test_a_training_that_diverges_is_told(home, losses, passed):
    checkpoint(home, "novelty_model", {}, [{"step": at, "validation_loss": loss} for at, loss in enumerate(losses)])
    found = run(home, "novelty_model", "training_converged")
    assert found.passed == passed
    assert passed or "lower the learning rate" in found.description


def test_steps_behind_the_weights_that_were_kept_tell_nothing_of_a_training(home):
    curve = [{"step": step, "validation_loss": loss} for step, loss in ((8, 3.0), (16, 2.0), (32, 9.0))]
    checkpoint(home, "novelty_model", {"steps": 16, "steps_taken": 32}, curve)
    assert run(home, "novelty_model", "training_converged").passed


def test_before_there_is_a_model_nothing_is_said_of_its_training(home):
    with Warehouse(home).writing() as connection:
        write_records(connection, "alignment_model", {"": Record("none yet")})
    assert run(home, "alignment_model", "training_converged").passed


def test_gates_are_limits_of_the_settings(home, monkeypatch):
    checkpoint(home, "novelty_model", {"format_validity_tuned": 0.89, "recall_at_3": 0.2, "training_examples": 4}, [])
    found = run(home, "novelty_model", "gates")
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert found.description.startswith(
        "format validity 0.890 is under publication.format_validity_limit = 0.9, after 4 examples, where 30 have "
        "sufficed: ingest more users or days"
    )
    monkeypatch.setenv("ALIGNREC_PUBLICATION__FORMAT_VALIDITY_LIMIT", "0.8")
    assert run(home, "novelty_model", "gates").passed
    monkeypatch.setenv("ALIGNREC_PUBLICATION__RECALL_LIMIT", "0.25")
    assert "recall@3 of held-out transitions 0.200" in run(home, "novelty_model", "gates").description


def test_a_figure_that_is_not_a_number_passes_no_gate(home):
    checkpoint(home, "novelty_model", {"format_validity_tuned": float("nan"), "recall_at_3": 0.2}, [])
    assert run(home, "novelty_model", "gates").description.startswith("format validity nan is under")


@pytest.mark.filterwarnings("ignore::dagster.PreviewWarning")
def test_dagster_gives_the_result_of_a_partitioned_check_over_several_days_to_no_day():
    """Why daily checks have no partitions. Once this fails: partition them, and the UI shows each day's result.

    The days would stay planned for ever, so the UI would call them skipped although they passed, and the condition
    ``all_deps_blocking_checks_passed`` would hold back everything after them.
    """
    days = dg.DailyPartitionsDefinition(FIRST.isoformat())

    @dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
    def table():
        return dg.MaterializeResult()

    @dg.asset_check(asset=table, partitions_def=days)
    def check():
        return dg.AssetCheckResult(passed=True)

    job = dg.Definitions([table], asset_checks=[check]).resolve_implicit_global_asset_job_def()
    span = {FIRST_DAY_TAG: "2026-01-05", LAST_DAY_TAG: "2026-01-06"}
    with dg.DagsterInstance.ephemeral() as instance:
        job.execute_in_process(instance=instance, tags=span)
        key = dg.AssetCheckKey(table.key, "check")
        records = instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    states = {record.partition: record.status.value for record in records}
    assert states == {"2026-01-05": "PLANNED", "2026-01-06": "PLANNED", None: "SUCCEEDED"}
