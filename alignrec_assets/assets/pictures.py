"""Pictures of the reports as asset metadata, so that the Dagster UI shows what the folder ``reports`` holds."""

import base64
import io
from pathlib import Path

import dagster as dg
from PIL import Image

DIALOG_WIDTH = 1000  # pixels that the UI shows without scrolling sideways; the files are up to 1,400 wide


def picture(path: Path) -> dg.MarkdownMetadataValue:
    """A PNG as Markdown with the image inside, as wide as the UI can show it: the UI serves no files of the home."""
    content = io.BytesIO()
    with Image.open(path) as image:
        image.thumbnail((DIALOG_WIDTH, image.height), Image.Resampling.LANCZOS)
        image.save(content, "PNG", optimize=True)
    return dg.MetadataValue.md(f"![{path.stem}](data:image/png;base64,{base64.b64encode(content.getvalue()).decode()})")
