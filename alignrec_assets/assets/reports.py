"""What Dagster and the folder ``reports`` are told of a checkpoint: its figures, its report and its pictures."""

from typing import Any

import dagster as dg

from alignrec_assets.assets.pictures import picture
from alignrec_assets.refresh.checkpoints import Checkpoint
from alignrec_assets.refresh.tables import Result, origin_metadata
from alignrec_assets.resources import HomeResource
from models.files import write_json


def checkpoint_result(checkpoint: Checkpoint, **metadata: Any) -> Result:
    """What Dagster is told about a checkpoint."""
    figures = {key: value for key, value in checkpoint.figures.items() if value is not None}
    return dg.MaterializeResult(
        metadata={
            "folder": dg.MetadataValue.path(str(checkpoint.folder)),
            "content_hash": checkpoint.manifest["content_hash"],
            **figures,
            **origin_metadata(checkpoint.manifest),
            **metadata,
        },
        data_version=dg.DataVersion(checkpoint.version),
    )


def publish_report(home: HomeResource, checkpoint: Checkpoint, name: str, **more: Any) -> dg.MarkdownMetadataValue:
    """Copy a checkpoint's report, with ``more``, and its picture to the folder ``reports``; returns the picture."""
    manifest = checkpoint.manifest
    report = {
        "name": name,
        "figures": manifest["figures"],
        "seed": manifest["settings"]["seed"],
        "command": f"dg launch -m alignrec_assets.definitions --assets {manifest['model']}",
        **{key: value for key, value in manifest.items() if key not in ("figures", "format_version")},
        **more,
    }
    write_json(home.home.reports / f"{name}.json", report)
    return publish_picture(home, checkpoint, name)


def publish_picture(home: HomeResource, checkpoint: Checkpoint, name: str) -> dg.MarkdownMetadataValue:
    """Copy a checkpoint's picture to the folder ``reports``; returns it for the UI."""
    image = home.home.reports / f"{name}.png"
    image.write_bytes((checkpoint.folder / f"{name}.png").read_bytes())
    return picture(image)
