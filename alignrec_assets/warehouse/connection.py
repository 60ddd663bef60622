"""The DuckDB warehouse: short connections behind a file lock, each one a transaction.

A process that holds the DuckDB file open blocks all other processes, readers too, and a killed process must not block
the next one. So every open first takes ``warehouse.lock``, shared to read and exclusive to write; the kernel releases
the lock when a process dies. Steps that compute models hold no connection meanwhile.
"""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from alignrec_assets.failures import explain
from alignrec_assets.home import FORMAT_VERSION, Home
from alignrec_assets.warehouse.tables import TABLES
from models.files import replacing
from models.progress import Log, silent

MEMORY_LIMIT = "2500MB"
"""Memory that DuckDB may use (by default 80% of the machine); the rest goes to files beside the warehouse."""


class WarehouseError(RuntimeError):
    """The warehouse cannot be opened or used; the message names the file and the fix."""


class Warehouse:
    """The warehouse of one home.

    Args:
        home: the home; its folder must exist.
        log: told when another process holds the lock for more than a second.
        patience_seconds: how long to wait for that process before giving up.
    """

    def __init__(self, home: Home, log: Log = silent, patience_seconds: float = 3600.0) -> None:
        self.home = home
        self.log = log
        self.patience_seconds = patience_seconds

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection; other readers may be open at the same time."""
        if not self.home.warehouse.exists():
            raise WarehouseError(f"there is no warehouse at {self.home.warehouse} yet: `alignrec run` makes it")
        with self._locked(fcntl.LOCK_SH), self._connection(read_only=True) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction: committed at the end, rolled back on any error."""
        self.home.create()
        with self._locked(fcntl.LOCK_EX), self._connection(read_only=False) as connection:
            connection.execute("BEGIN")
            try:
                create_tables(connection)
                yield connection
            except BaseException:  # any failure, an interrupt too: the transaction is undone, the error raised again
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def compact(self) -> None:
        """Write the file again without deleted rows.

        DuckDB keeps their space, and their bytes, even after a checkpoint: a file of 37 MB held 11 MB of rows.
        """
        with (
            self._locked(fcntl.LOCK_EX),
            replacing(self.home.warehouse) as partial,
            self._connection(read_only=False) as connection,
        ):
            name = str(partial).replace("'", "''")
            connection.execute(f"ATTACH '{name}' AS compacted")
            ((source,),) = connection.execute("SELECT current_database()").fetchall()
            connection.execute(f'COPY FROM DATABASE "{source}" TO compacted')
            connection.execute("DETACH compacted")

    @contextmanager
    def _connection(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            connection = duckdb.connect(
                str(self.home.warehouse), read_only=read_only, config={"memory_limit": MEMORY_LIMIT}
            )
        except duckdb.Error as error:
            raise WarehouseError(_why_closed(self.home.warehouse, str(error))) from error
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET enable_progress_bar = false")
            _check_format(connection, self.home.warehouse)
            yield connection
        except (duckdb.InterruptException, RuntimeError) as error:
            if explain(error).interrupted:
                raise KeyboardInterrupt from None  # DuckDB takes Ctrl-C for itself while a query runs
            raise
        finally:
            connection.close()

    @contextmanager
    def _locked(self, mode: int) -> Iterator[None]:
        descriptor = os.open(self.home.lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._wait_for_lock(descriptor, mode)
            yield
        finally:
            os.close(descriptor)  # closing releases the lock

    def _wait_for_lock(self, descriptor: int, mode: int) -> None:
        started = time.monotonic()
        told = False
        while True:
            try:
                fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                waited = time.monotonic() - started
                if waited > self.patience_seconds:
                    raise WarehouseError(
                        f"another process has held {self.home.lock} for {waited:,.0f} s: wait for it or end it"
                    ) from None
                if waited > 1 and not told:
                    self.log(f"waiting for another process that holds {self.home.lock}")
                    told = True
                time.sleep(0.05)
            else:
                return


def _why_closed(path: Path, told: str) -> str:
    """Why DuckDB does not open its file, and what to do; ``told`` is DuckDB's own message."""
    if "Could not set lock on file" in told:
        holder = re.search(r"lock is held in (?P<program>.+?) \(PID (?P<process>\d+)\)", told)
        named = f"{holder['program']}, process {holder['process']}" if holder else "another program"
        return (
            f"{path} is open in {named}, which does not use alignrec's lock: close it there, or end that process, and "
            "run the command again. Nothing is damaged."
        )
    if "Permission denied" in told or "Read-only file system" in told:
        return f"{path} cannot be opened: {told}. Give this user the right to read and write it."
    if "newer version of DuckDB" in told or "database version" in told:
        return f"{path} was written by another version of DuckDB: {told}. Install that version, or `alignrec rebuild`."
    return (
        f"{path} cannot be opened: {told}. If it is damaged, `alignrec rebuild` makes it anew from landing files, "
        "checkpoints and published versions."
    )


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create every schema, table and column of ``tables.TABLES`` that does not exist yet, and record the format.

    A column that came with an upgrade is null in the rows before; their days are made again, for their layout counts.
    """
    for schema in sorted({table.schema for table in TABLES.values()}):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    for table in TABLES.values():
        columns = ", ".join(f'"{column.name}" {column.type}' for column in table.columns)
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table.name} ({columns})")
    found = set(
        connection.execute("SELECT schema_name || '.' || table_name, column_name FROM duckdb_columns()").fetchall()
    )
    for table in TABLES.values():
        for column in table.columns:
            if (table.name, column.name) not in found:
                connection.execute(f'ALTER TABLE {table.name} ADD COLUMN "{column.name}" {column.type}')
    connection.execute(f"CREATE TABLE IF NOT EXISTS registry.format AS SELECT {FORMAT_VERSION} AS format_version")


def _check_format(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        ((found,),) = connection.execute("SELECT format_version FROM registry.format").fetchall()
    except duckdb.CatalogException:  # a new file has no tables yet
        return
    if found > FORMAT_VERSION:
        raise WarehouseError(
            f"{path} has format {found}, this alignrec knows formats up to {FORMAT_VERSION}: "
            "upgrade alignrec, or use another home"
        )
