"""Checkpoints: folders that a model step makes whole, with a manifest that tells what made them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from alignrec_assets.home import FORMAT_VERSION, Home
from alignrec_assets.refresh.tables import Facts
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import Record, read_records, write_records
from models.files import MANIFEST_FILE, content_hash, new_folder


class StaleCheckpointError(RuntimeError):
    """A checkpoint is missing or is not what its manifest says."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder under ``checkpoints/<model>/<version>/`` with its manifest."""

    folder: Path
    manifest: Facts

    @property
    def version(self) -> str:
        """The fingerprint of what made it."""
        return str(self.manifest["version"])

    @property
    def figures(self) -> Facts:
        """Figures of its report."""
        return dict(self.manifest["figures"])


def refresh_checkpoint(
    context: dg.AssetExecutionContext,
    home: Home,
    model: str,
    version: str,
    build: Callable[[Path], Facts],
    made_from: Facts | None = None,
) -> Checkpoint:
    """Make ``checkpoints/<model>/<version>/`` unless it stands; ``build`` fills a folder and returns its facts.

    The folder appears whole: a process that is killed while training leaves no checkpoint behind. Its manifest tells
    what it was made from, and by which run.
    """
    folder = home.checkpoints / model / version
    if (folder / MANIFEST_FILE).exists():
        context.log.info(f"skipped: checkpoint {version} stands, its inputs, settings and code are unchanged")
        return read_checkpoint(folder)
    with new_folder(folder) as partial:
        facts = build(partial)
        manifest = {
            "format_version": FORMAT_VERSION,
            "model": model,
            "version": version,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "content_hash": content_hash(*_content(partial)),
            "figures": {},
            "made_from": (made_from or {}) | {"run_id": context.run.run_id},
            **facts,
        }
        (partial / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2, default=str) + "\n", encoding="utf-8")
    return Checkpoint(folder, manifest)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Open a checkpoint after checking its content against its manifest.

    Raises:
        StaleCheckpointError: naming the folder and the fix.
    """
    fix = f"delete {folder} and materialize its asset again"
    if not (folder / MANIFEST_FILE).is_file():
        raise StaleCheckpointError(f"{folder} holds no {MANIFEST_FILE}: {fix}")
    manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    if manifest["format_version"] > FORMAT_VERSION:
        raise StaleCheckpointError(
            f"{folder} has format {manifest['format_version']}, newer than this alignrec: upgrade it"
        )
    if content_hash(*_content(folder)) != manifest["content_hash"]:
        raise StaleCheckpointError(f"{folder} was changed since it was made: {fix}")
    return Checkpoint(folder, manifest)


def record_checkpoint(warehouse: Warehouse, asset: str, checkpoint: Checkpoint) -> None:
    """Note which checkpoint the line uses now; its readers' fingerprints follow from that."""
    with warehouse.writing() as connection:
        facts = {"folder": str(checkpoint.folder.relative_to(warehouse.home.path))}
        write_records(connection, asset, {"": Record(checkpoint.version, 0, facts)})


def current_checkpoint(warehouse: Warehouse, asset: str) -> Checkpoint | None:
    """The checkpoint that an asset recorded last; none before its first materialization or where it made none."""
    with warehouse.reading() as connection:
        record = read_records(connection, asset).get("")
    if record is None or "folder" not in record.details:
        return None
    return read_checkpoint(warehouse.home.path / record.details["folder"])


def required_checkpoint(warehouse: Warehouse, asset: str) -> Checkpoint:
    """The checkpoint of an asset that must have run.

    Raises:
        StaleCheckpointError: it has not; the message names it.
    """
    found = current_checkpoint(warehouse, asset)
    if found is None:
        raise StaleCheckpointError(f"asset {asset} has no checkpoint yet: materialize it first")
    return found


def _content(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST_FILE)
