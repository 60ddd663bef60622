"""One fault in one asset of the real program: every Python process that has this folder on its path loads this module.

``DRILL_FAULT`` is the fault, ``DRILL_ASSET`` the asset that it hits:

- ``kill``: the process kills itself when the asset's new state is complete but for the one step that makes it stand,
  the rename of its folder or report, or the COMMIT of its transaction;
- ``stop``: at the same moment the process stops, as one does that is very slow; its number is then in ``DRILL_SIGN``;
- ``error``: an exception after half of the rows (of a table), of the units of work (of a model), or of the files;
- ``full``: from the asset's first write on, every write fails as on a full disk. For machines that forbid a real one.
"""

import os
import resource
import signal
from pathlib import Path

import duckdb

FAULT = os.environ["DRILL_FAULT"]
ASSET = os.environ["DRILL_ASSET"]
FOLDERS = {
    "interests.clusters": "checkpoints/taxonomy",
    "candidates.pools": "checkpoints/pools",
    "candidates.scored": "checkpoints/scored",
    "publication.transition_table": "published",
    **{model: f"checkpoints/{model}" for model in ("base_model", "novelty_model", "alignment_model")},
}
REPORTS = {"alignment_search", "inference_scaling"}
COUNTED = {"candidates.pools", "candidates.scored", "novelty_model", "alignment_model", *REPORTS}

duckdb_connect, path_rename, path_replace = duckdb.connect, Path.rename, Path.replace


class DrillError(Exception):
    """What the fault ``error`` raises."""


def write_is_due():
    """The asset is about to make its new state stand."""
    if FAULT == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    sign = Path(os.environ.get("DRILL_SIGN", os.devnull))
    if FAULT == "stop" and not sign.exists():
        sign.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)


def fill_disk():
    """No file may grow any more."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


class Connection:
    """A DuckDB connection whose statements pass through here."""

    def __init__(self, connection):
        self.connection = connection
        self.is_assets = False

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def execute(self, sql, parameters=None):
        if sql == "COMMIT" and self.is_assets:
            write_is_due()
        opening = f"INSERT INTO {ASSET} BY NAME "
        if FAULT == "error" and sql.startswith(opening) and ASSET not in COUNTED:
            rows = f"({sql.removeprefix(opening)}\n)"
            half = f"{opening} FROM {rows} LIMIT (SELECT count(*) // 2 FROM {rows})"
            if self.connection.execute(half, parameters).fetchone()[0]:
                raise DrillError(f"half of the rows of {ASSET} are written")
            # Of a part without rows there is no half: the next part is met.
        if sql.startswith("INSERT INTO registry.fingerprints") and parameters["asset"] == ASSET:
            self.is_assets = True
            if FAULT == "error":  # an asset without rows of its own to insert
                raise DrillError(f"the rows of {ASSET} are written, its record is not")
            if FAULT == "full":
                fill_disk()
        return self.connection.execute(sql, parameters)


def connect(*arguments, **options):
    connection = duckdb_connect(*arguments, **options)
    return connection if options.get("read_only", True) else Connection(connection)


def rename(path, target):
    folder = str(Path(target).parent)
    if path.name.endswith(".partial"):
        if folder.endswith(FOLDERS.get(ASSET, "no folder")):
            write_is_due()
        if FAULT == "error" and ASSET == "base_model" and Path(target).name == "model":
            raise DrillError("the weights are written, the manifest is not")
    return path_rename(path, target)


def replace(path, target):
    if Path(target).name == f"{ASSET}.json":
        write_is_due()
    return path_replace(path, target)


duckdb.connect = connect
Path.rename = rename
Path.replace = replace

if (FAULT == "error" and ASSET in COUNTED) or (FAULT == "full" and ASSET in REPORTS):
    from models.progress import Progress

    progress_advance = Progress.advance

    def advance(progress, units=1, note=""):
        progress_advance(progress, units, note)
        if FAULT == "full":
            fill_disk()
        elif 2 * progress.done >= progress.total:
            raise DrillError(f"{progress.done} of {progress.total} {progress.unit} are done")

    Progress.advance = advance
