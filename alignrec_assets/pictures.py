"""Pictures of the reports as asset metadata, so that the Dagster UI shows what the folder ``reports`` holds."""

import base64
from pathlib import Path

import dagster as dg


def picture(path: Path) -> dg.MarkdownMetadataValue:
    """A PNG as Markdown with the image inside: the UI serves no files of the home."""
    encoded = base64.b64encode(path.read_bytes()).decode("ascii")
    return dg.MetadataValue.md(f"![{path.stem}](data:image/png;base64,{encoded})")
