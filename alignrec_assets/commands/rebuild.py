"""Rebuilds the warehouse. Nothing exists in it alone, so running the line on its sources makes it again."""

from pathlib import Path

from alignrec_assets.commands.run import run_line
from alignrec_assets.home import Home
from models.progress import Log


def rebuild_warehouse(home: Home, write: Log) -> None:
    """Move the warehouse aside and run the line; existing checkpoints and versions are loaded, not made again.

    The old file is deleted when the new one is complete, and put back when something fails. After a kill the old file
    is still aside: the next rebuild starts again and keeps it.
    """
    aside = home.warehouse.with_name("warehouse.before-rebuild.duckdb")
    if aside.exists():
        _remove(home.warehouse)
    elif home.warehouse.exists():
        _move(home.warehouse, aside)
    write(f"rebuilding {home.warehouse} from landing files, checkpoints and published versions")
    try:
        run_line(home, None, None, write)
    except BaseException:  # any failure, also an interrupt: the old warehouse is put back, and the error raised again
        if aside.exists():
            _remove(home.warehouse)
            _move(aside, home.warehouse)
            write("the rebuild failed: the warehouse is as it was before")
        raise
    _remove(aside)


def _log_of(database: Path) -> Path:
    """DuckDB's write-ahead log, which a crash may have left beside the file; the two belong together."""
    return database.with_name(f"{database.name}.wal")


def _move(database: Path, target: Path) -> None:
    if _log_of(database).exists():
        _log_of(database).replace(_log_of(target))
    database.replace(target)


def _remove(database: Path) -> None:
    _log_of(database).unlink(missing_ok=True)
    database.unlink(missing_ok=True)
