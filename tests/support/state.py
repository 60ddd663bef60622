"""What a home holds, apart from the moments at which it was made: tables, checkpoints and published versions."""

import json
import shutil
from collections import Counter

import polars as pl

from alignrec_assets.refresh.checkpoints import read_checkpoint
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.rows import table_frame
from alignrec_assets.warehouse.tables import KEPT_PAST, TABLES
from models.files import MANIFEST_FILE
from models.serving.transition_table import CURRENT_FILE, TransitionTable

TIMES = ("made_at", "published_at", "seconds", "examples_per_second", "run_id")
ABSENT = "nothing"
REPORTS = ("alignment_search", "inference_scaling")
FOLDERS = {
    "base_model": "base_model",
    "novelty_model": "novelty_model",
    "alignment_model": "alignment_model",
    "candidates.pools": "pools",
    "candidates.scored": "scored",
    "interests.clusters": "taxonomy",
    "alignment_search": "alignment_search",
}


def tables(home):
    """Every table's rows as comparable text, in no order; how far the past is kept follows from the days of a run."""
    with Warehouse(home).reading() as connection:
        frames = {name: table_frame(connection, name) for name in TABLES if name != KEPT_PAST}
    return {name: sorted(repr(_untimed(row)) for row in frame.iter_rows(named=True)) for name, frame in frames.items()}


def checkpoints(home):
    """Content of every checkpoint, checked against its manifest."""
    folders = [path.parent for path in home.checkpoints.glob(f"*/[0-9a-f]*/{MANIFEST_FILE}")]
    return {str(folder.relative_to(home.path)): _checkpoint(folder) for folder in folders}


def published(home):
    """The current version and every version's rows, checked against their manifests."""
    names = [path.parent.name for path in home.published.glob(f"[0-9a-f]*/{MANIFEST_FILE}")]
    versions = {name: TransitionTable.open(home.published, name).rows.write_json() for name in names}
    return TransitionTable.open(home.published).version, versions


def reports(home):
    """What the assets beside the line leave: their reports."""
    paths = {name: home.reports / f"{name}.json" for name in REPORTS}
    return {name: repr(_untimed(json.loads(path.read_text()))) for name, path in paths.items() if path.exists()}


def state(home):
    """All of it."""
    return {
        "tables": tables(home),
        "checkpoints": checkpoints(home),
        "published": published(home),
        "reports": reports(home),
    }


def assert_same(found, expected):
    """Compare two states; an error has one line for each table, checkpoint, version and report that differs."""
    __tracebackhide__ = True
    assert found.keys() == expected.keys()
    told = []
    for part in expected:
        ours, theirs = _named(found[part]), _named(expected[part])
        pairs = [(name, ours.get(name, ABSENT), theirs.get(name, ABSENT)) for name in sorted({*ours, *theirs})]
        told += [f"{part} {name}: {_difference(one, other)}" for name, one, other in pairs if one != other]
    assert not told, "\n".join(["what differs:", *told])


def _named(part):
    """The entries of a part of the state by name; of what is published, the current version and the rows of all."""
    return part if isinstance(part, dict) else {"CURRENT": part[0], **part[1]}


def _difference(found, expected):
    if not isinstance(found, list) or not isinstance(expected, list):
        return f"{str(found)[:150]} instead of {str(expected)[:150]}"
    parts = []
    for rows, where in ((Counter(expected) - Counter(found), "missing"), (Counter(found) - Counter(expected), "new")):
        if rows:
            parts.append(f"{rows.total():,} rows {where}, such as {min(rows)[:300]}")
    return "; ".join(parts)


def make_older(home, asset):
    """Take the asset back to an older state, with half of its rows, that its inputs have left behind."""
    if asset in FOLDERS:
        shutil.rmtree(home.checkpoints / FOLDERS[asset])
    if asset in REPORTS:
        (home.reports / f"{asset}.json").write_text('{"name": "older"}\n')
    if asset == "publication.transition_table":
        current = TransitionTable.open(home.published)
        shutil.rmtree(home.published / current.version)
        (home.published / CURRENT_FILE).write_text(f"{current.manifest['replaces']}\n")
    if asset == "interests.item_clusters":
        (part,) = home.checkpoints.glob("item_clusters/*/part-*.parquet")
        rows = pl.read_parquet(part)
        rows.head(rows.height // 2).write_parquet(part)
    with Warehouse(home).writing() as connection:
        if asset in TABLES:
            connection.execute(f"DELETE FROM {asset} WHERE rowid % 2 = 0")
        connection.execute(
            "UPDATE registry.fingerprints SET fingerprint = 'older' WHERE asset = $asset", {"asset": asset}
        )


def _checkpoint(folder):
    manifest = read_checkpoint(folder).manifest
    return manifest["content_hash"], repr(_untimed(manifest["figures"]))


def _untimed(value):
    """The value without times and runs, in what is nested and in the JSON inside it too."""
    if isinstance(value, dict):
        return {key: _untimed(inner) for key, inner in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [_untimed(inner) for inner in value]
    if isinstance(value, str) and value.startswith("{"):
        return repr(_untimed(json.loads(value)))
    return value
