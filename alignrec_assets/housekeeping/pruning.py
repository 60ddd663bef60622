"""`alignrec prune` and the job ``housekeeping`` remove what the settings no longer keep, never what the line uses now.

They remove raw rows of old days, finished runs, checkpoints, published versions, and unfinished work. The records of
the line tell what it uses: the folders in ``registry.fingerprints``, the current taxonomy, the current version.
"""

import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster import AssetRecordsFilter, DagsterEventType, DagsterRunStatus, RunsFilter

from alignrec_assets.home import Home
from alignrec_assets.instance.dagster_home import prepare_instance, runs_under_way
from alignrec_assets.refresh.taxonomies import standing_taxonomy
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.sections import HousekeepingSettings
from alignrec_assets.settings.sources import load_settings
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.records import read_records
from models.files import MANIFEST_FILE, remove_folder
from models.messages import listed
from models.progress import Log
from models.serving.transition_table import CURRENT_FILE, current_version

RAW_LOGS = {"raw.events": "events", "raw.feedback_logs": "feedback"}
FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
SEARCHES, SHARDS, ASSIGNMENTS = "alignment_search", "shards", "item_clusters"
PARTIAL = re.compile(r"^\..*\.(\d+)\.partial(\.wal)?$")
"""The name that ``models.files`` gives a file or folder while a process writes it."""
TRIAL = re.compile(r"^\.?([0-9a-f]{16})[-.]")
"""The names of all files and folders of a search begin with its name."""


@dataclass(frozen=True)
class Piece:
    """Something to remove; the bytes of raw days are estimated from DuckDB's blocks by their share of the rows."""

    kind: str
    name: str
    bytes: int
    remove: Callable[[], None]


@dataclass
class Pruning:
    """What is removed, and notes on what stays although the settings do not keep it."""

    pieces: list[Piece] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan_pruning(home: Home, write: Log, own_run: str | None = None) -> Pruning:
    """Find what the settings no longer keep, and remove nothing. ``own_run`` is the run that prunes, if any."""
    prepare_instance(home)
    chosen = load_settings(home).housekeeping
    found = Pruning()
    with dg.DagsterInstance.get() as instance:
        under_way = runs_under_way(instance, write, own_run)
        found.pieces += _raw_days(home, chosen.raw_days)
        found.pieces += _runs(instance, home, chosen.run_days, found.notes)
    if under_way:
        found.notes.append(f"run {listed(under_way)} is under way: checkpoints, versions and unfinished work stay")
        return found
    versions = _published_manifests(home)
    kept = _kept_versions(home, versions, chosen.published_versions)
    found.pieces += [_folder("published version", home, home.published / name) for name in versions if name not in kept]
    found.pieces += _checkpoints(home, chosen.checkpoints_per_model, [versions[name] for name in kept])
    found.pieces += _assignments(home, {piece.name for piece in found.pieces})
    found.pieces += _searches(home, chosen.checkpoints_per_model)
    found.pieces += _unfinished(home, chosen, {piece.name for piece in found.pieces})
    return found


def prune(home: Home, found: Pruning) -> None:
    """Remove what was found, also from the tables that list it."""
    for piece in found.pieces:
        piece.remove()
    if not home.warehouse.exists():
        return
    warehouse = Warehouse(home)
    with warehouse.writing() as connection:
        _forget_folders(connection, home)
    if any(piece.kind == "raw days" for piece in found.pieces):
        warehouse.compact()


@dg.op(
    description="What `alignrec prune` does, piece by piece in the log; `alignrec prune --dry-run` shows it beforehand."
)
def prune_home(context: dg.OpExecutionContext, home: HomeResource) -> None:
    """Prune as a run, for the schedule."""
    found = plan_pruning(home.home, context.log.info, context.run.run_id)
    for piece in found.pieces:
        context.log.info(f"{piece.kind} {piece.name}: {piece.bytes:,} bytes")
    prune(home.home, found)
    for note in found.notes:
        context.log.info(note)
    freed = sum(piece.bytes for piece in found.pieces)
    context.log.info(f"{len(found.pieces)} pieces, {freed:,} bytes are gone")
    context.add_output_metadata({"pieces": len(found.pieces), "bytes": freed})


@dg.job(
    description="Removes what the settings under housekeeping no longer keep.", tags={"alignrec/kind": "housekeeping"}
)
def housekeeping() -> None:
    """One step."""
    prune_home()


# Raw days ------------------------------------------------------------------------------------------------------------


def _raw_days(home: Home, keep: int | None) -> Iterator[Piece]:
    """For each raw log, the days before the last days that are kept."""
    if keep is None or not home.warehouse.exists():
        return
    with Warehouse(home).reading() as connection:
        recorded = [max(read_records(connection, table), default=None) for table in RAW_LOGS]
        latest = max((date.fromisoformat(day) for day in recorded if day is not None), default=date.min)
        if latest - date.min < timedelta(days=keep):
            return
        first_kept = latest - timedelta(days=keep - 1)
        counted = connection.execute(query("housekeeping.old_raw_days"), {"first_kept": first_kept}).fetchall()
        for table, total, rows, first, last, days in counted:
            if rows:
                name = f"{table}, {days} days from {first} to {last}, {rows:,} rows"
                size = _table_bytes(connection, table) * rows // total
                yield Piece("raw days", name, size, _raw_remover(home, table, first_kept))


def _table_bytes(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    ((blocks,),) = connection.execute(
        f"SELECT count(DISTINCT block_id) FROM pragma_storage_info('{table}') WHERE block_id >= 0"
    ).fetchall()
    ((block_size,),) = connection.execute("SELECT block_size FROM pragma_database_size()").fetchall()
    return int(blocks) * int(block_size)


def _raw_remover(home: Home, table: str, first_kept: date) -> Callable[[], None]:
    def remove() -> None:
        with Warehouse(home).writing() as connection:
            connection.execute(
                "INSERT INTO raw.pruned_items BY NAME "
                f"FROM {table} SELECT DISTINCT $kind AS kind, day, item_id WHERE day < $day",
                {"kind": RAW_LOGS[table], "day": first_kept},
            )
            connection.execute(f"DELETE FROM {table} WHERE day < $1", [first_kept])

    return remove


# Run history ---------------------------------------------------------------------------------------------------------


def _runs(instance: dg.DagsterInstance, home: Home, keep_days: int, notes: list[str]) -> Iterator[Piece]:
    """Finished runs. Deleting a run erases its materializations, so runs that made current assets are kept."""
    before = time.time() - timedelta(days=keep_days).total_seconds()
    records = instance.get_run_records(RunsFilter(statuses=FINISHED))
    old = {record.dagster_run.run_id: record for record in records if (record.end_time or time.time()) < before}
    holders = _latest_makers(instance) if old else set()
    held = len(holders & set(old))
    if held:
        notes.append(f"{held} older runs stay: they made what stands now, and the UI would forget it with them")
    for run_id, record in old.items():
        if run_id not in holders:
            ended = datetime.fromtimestamp(record.end_time or 0, UTC).date()
            size = sum(map(_size, [*_event_files(home, run_id), home.dagster / "storage" / run_id]))
            name = f"{run_id[:8]} ({record.dagster_run.job_name}), ended {ended}"
            yield Piece("run", name, size, _run_remover(home, run_id))


def _latest_makers(instance: dg.DagsterInstance) -> set[str]:
    """Runs that hold the latest materialization of an asset or of a day of one."""
    makers = set()
    for key in instance.all_asset_keys():
        latest = instance.get_latest_materialization_event(key)
        if latest is not None:
            makers.add(latest.run_id)
        by_day = instance.get_latest_storage_id_by_partition(key, DagsterEventType.ASSET_MATERIALIZATION)
        if by_day:
            wanted = AssetRecordsFilter(asset_key=key, storage_ids=list(by_day.values()))
            makers |= {record.run_id for record in instance.fetch_materializations(wanted, limit=len(by_day)).records}
    return makers


def _event_files(home: Home, run_id: str) -> list[Path]:
    return list((home.dagster / "history" / "runs").glob(f"{run_id}.db*"))


def _run_remover(home: Home, run_id: str) -> Callable[[], None]:
    def remove() -> None:
        with dg.DagsterInstance.get() as instance:
            instance.delete_run(run_id)
            instance.compute_log_manager.delete_logs(prefix=[run_id])
        # Dagster empties the event file of a run, but does not delete it.
        for path in _event_files(home, run_id):
            path.unlink(missing_ok=True)

    return remove


# Checkpoints and versions --------------------------------------------------------------------------------------------


def _published_manifests(home: Home) -> dict[str, dict[str, Any]]:
    """Manifest of every published version, the newest first."""
    paths = home.published.glob(f"[0-9a-f]*/{MANIFEST_FILE}")
    return _newest_first({path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths})


def _newest_first(manifests: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return dict(sorted(manifests.items(), key=lambda entry: (entry[1]["made_at"], entry[0]), reverse=True))


def _kept_versions(home: Home, manifests: dict[str, dict[str, Any]], keep: int) -> list[str]:
    """The current version, the version that it replaced, and so on; where these are too few, the newest others."""
    if not (home.published / CURRENT_FILE).exists():
        return list(manifests)
    kept: dict[str, None] = {}
    version: str | None = current_version(home.published)
    if version not in manifests:
        raise ValueError(
            f"{home.published / CURRENT_FILE} names {version}, which is no version there: nothing is pruned until "
            f"`alignrec rollback VERSION` names one of {listed(list(manifests))}"
        )
    while version in manifests and version not in kept and len(kept) < keep:
        kept[version] = None
        version = manifests[version]["replaces"]
    return list(islice(dict.fromkeys([*kept, *manifests]), keep))


def _checkpoints(home: Home, keep: int, versions: list[dict[str, Any]]) -> Iterator[Piece]:
    """Checkpoints beyond the newest of each model."""
    used = _folders_in_use(home) | {home.checkpoints / "taxonomy" / str(standing_taxonomy(home))}
    named = {version[model] for version in versions for model in ("taxonomy", "novelty_model", "alignment_model")}
    for model in sorted(path for path in home.checkpoints.iterdir() if path.is_dir() and path.name != SEARCHES):
        manifests = {
            path.parent.name: json.loads(path.read_text(encoding="utf-8"))
            for path in model.glob(f"[!.]*/{MANIFEST_FILE}")
        }
        for name, manifest in islice(_newest_first(manifests).items(), keep, None):
            is_named = bool({manifest["content_hash"], manifest["version"]} & named)
            if model / name not in used and not is_named:
                yield _folder("checkpoint", home, model / name)


def _assignments(home: Home, going: Collection[str]) -> Iterator[Piece]:
    """Assignments of taxonomies that are removed now, or were removed before."""
    for path in sorted((home.checkpoints / ASSIGNMENTS).glob("*")):
        taxonomy = home.checkpoints / "taxonomy" / path.name
        if not taxonomy.exists() or _relative(home, taxonomy) in going:
            yield _folder("assignments", home, path)


def _folders_in_use(home: Home) -> set[Path]:
    """Folders that the records of the line name."""
    if not home.warehouse.exists():
        return set()
    with Warehouse(home).reading() as connection:
        rows = connection.execute("FROM registry.fingerprints SELECT details ->> 'folder'").fetchall()
    return {home.path / folder for (folder,) in rows if folder is not None}


def _searches(home: Home, keep: int) -> Iterator[Piece]:
    """Whole searches beyond the newest, because a search without its trials cannot resume."""
    folder = home.checkpoints / SEARCHES
    searches: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        matched = TRIAL.match(path.name)
        if matched:
            searches.setdefault(matched.group(1), []).append(path)
    newest = sorted(searches, key=lambda name: max(map(_changed, searches[name])), reverse=True)
    for name in newest[keep:]:
        # Its journal first: without the journal a search starts again and does not look for its trials.
        parts = sorted(searches[name], key=lambda path: path.suffix != ".journal")
        yield Piece("search", _relative(home, folder / name), sum(map(_size, parts)), _remover(parts))


def _forget_folders(connection: duckdb.DuckDBPyConnection, home: Home) -> None:
    """Delete what no longer exists from the tables that list checkpoints and versions."""
    for table, folder in (("registry.checkpoints", "folder"), ("publication.versions", "'published/' || version")):
        listed = connection.execute(f"FROM {table} SELECT DISTINCT {folder}").fetchall()
        gone = [name for (name,) in listed if not (home.path / name).exists()]
        connection.execute(f"DELETE FROM {table} WHERE list_contains($1::VARCHAR[], {folder})", [gone])


# Unfinished work -----------------------------------------------------------------------------------------------------


def _unfinished(home: Home, chosen: HousekeepingSettings, going: Collection[str]) -> Iterator[Piece]:
    """Files that a dead process left half written, and unfinished work that is complete now or too old to resume."""
    oldest = time.time() - timedelta(days=chosen.unfinished_days).total_seconds()
    rooms = (home.checkpoints, home.published, home.reports, home.landing)
    for path in [*home.path.glob(".*"), *(path for room in rooms for path in _hidden(room))]:
        partial = PARTIAL.match(path.name)
        if partial and not _exists(int(partial.group(1))):
            yield _folder("half written", home, path)
        elif path.suffix == ".unfinished":
            work = path.with_name(path.name.removeprefix(".").removesuffix(".unfinished"))
            search = TRIAL.match(path.name) if path.parent.name == SEARCHES else None
            goes_with_search = search and _relative(home, path.parent / search.group(1)) in going
            if not goes_with_search and ((work / MANIFEST_FILE).exists() or _changed(path) < oldest):
                yield _folder("unfinished training", home, path)
    for path in sorted((home.checkpoints / SHARDS).glob("*")):
        is_finished = any(
            (home.checkpoints / model / path.name / MANIFEST_FILE).exists() for model in ("pools", "scored")
        )
        if is_finished or _changed(path) < oldest:
            yield _folder("unfinished shards", home, path)


def _exists(process: int) -> bool:
    """Whether a process with this number exists; it may be another program, such as a notebook."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _hidden(room: Path) -> Iterator[Path]:
    """Files and folders whose name begins with a dot, without those inside such a folder."""
    if room.is_dir():
        for path in sorted(room.rglob(".*")):
            if not any(part.startswith(".") for part in path.relative_to(room).parts[:-1]):
                yield path


# Files ---------------------------------------------------------------------------------------------------------------


def _folder(kind: str, home: Home, path: Path) -> Piece:
    return Piece(kind, _relative(home, path), _size(path), _remover([path]))


def _relative(home: Home, path: Path) -> str:
    return str(path.relative_to(home.path))


def _remover(paths: Iterable[Path]) -> Callable[[], None]:
    def remove() -> None:
        for path in paths:
            if path.is_dir():
                remove_folder(path)
            else:
                path.unlink(missing_ok=True)

    return remove


def _size(path: Path) -> int:
    return sum(file.lstat().st_size for file in _files(path))


def _changed(path: Path) -> float:
    """The latest change of anything in it."""
    return max((entry.lstat().st_mtime for entry in [path, *_files(path)]), default=0.0)


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path] if path.exists() else []
