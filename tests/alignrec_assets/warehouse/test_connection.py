import os
import signal
import subprocess
import sys
import threading
import time

import duckdb
import pytest

from alignrec_assets.home import Home
from alignrec_assets.warehouse.connection import Warehouse, WarehouseError
from alignrec_assets.warehouse.records import Record, read_records, write_records

HOLDER = """
import sys, time, pathlib
from alignrec_assets.home import Home
from alignrec_assets.warehouse.connection import Warehouse
with Warehouse(Home(pathlib.Path(sys.argv[1]))).writing() as connection:
    connection.execute("INSERT INTO interests.item_clusters VALUES ('t', 'unfinished', 0, 1.0)")
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def warehouse(tmp_path):
    warehouse = Warehouse(Home(tmp_path), patience_seconds=20)
    with warehouse.writing() as connection:
        connection.execute("INSERT INTO interests.item_clusters VALUES ('t', 'good', 0, 1.0)")
    return warehouse


def items(warehouse):
    with warehouse.reading() as connection:
        return [row[0] for row in connection.execute("FROM interests.item_clusters SELECT item_id").fetchall()]


def hold(warehouse):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(warehouse.home.path)], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_an_error_rolls_everything_back(warehouse):
    with pytest.raises(ZeroDivisionError), warehouse.writing() as connection:
        connection.execute("DELETE FROM interests.item_clusters")
        write_records(connection, "a", {"": Record("f")})
        raise ZeroDivisionError
    assert items(warehouse) == ["good"]
    with warehouse.reading() as connection:
        assert read_records(connection, "a") == {}


def test_a_killed_writer_leaves_the_last_good_state_and_no_lock(warehouse):
    holder = hold(warehouse)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    started = time.monotonic()
    assert items(warehouse) == ["good"]
    assert time.monotonic() - started < 10


def test_a_second_writer_waits_and_says_so_then_gives_up_by_name(warehouse):
    lines = []
    impatient = Warehouse(warehouse.home, lines.append, patience_seconds=1.5)
    holder = hold(warehouse)
    try:
        with pytest.raises(WarehouseError, match=r"warehouse\.lock"), impatient.writing():
            pass
        assert "waiting for another process" in lines[0]
    finally:
        holder.kill()
        holder.wait()
    with impatient.writing() as connection:
        connection.execute("INSERT INTO interests.item_clusters VALUES ('t', 'second', 0, 1.0)")
    assert items(warehouse) == ["good", "second"]


def test_readers_share(warehouse):
    with warehouse.reading() as one, warehouse.reading() as other:
        assert one.execute("SELECT 1").fetchall() == other.execute("SELECT 1").fetchall()


def test_no_warehouse_a_damaged_one_and_a_newer_one_are_told_apart(tmp_path):
    home = Home(tmp_path)
    with pytest.raises(WarehouseError, match="no warehouse"), Warehouse(home).reading():
        pass
    home.warehouse.write_bytes(b"this is no database" * 1000)
    with pytest.raises(WarehouseError, match="alignrec rebuild"), Warehouse(home).writing():
        pass
    home.warehouse.unlink()
    with Warehouse(home).writing() as connection:
        connection.execute("UPDATE registry.format SET format_version = 99")
    with pytest.raises(WarehouseError, match="format 99"), Warehouse(home).reading():
        pass


def test_the_lock_is_held_only_while_open(warehouse):
    with warehouse.writing():
        pass
    connection = duckdb.connect(str(warehouse.home.warehouse))
    connection.close()


OTHER_PROGRAM = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
time.sleep(60)
"""


def test_a_warehouse_that_another_program_has_open_names_that_program(warehouse, comes_out):
    path = str(warehouse.home.warehouse)
    other = subprocess.Popen([sys.executable, "-c", OTHER_PROGRAM, path], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "open\n"
        for use in (warehouse.reading, warehouse.writing):
            with pytest.raises(WarehouseError) as caught, use():
                pass
            assert f"process {other.pid}" in str(caught.value)
            assert "close it there" in str(caught.value)
            assert "rebuild" not in str(caught.value)
    finally:
        other.kill()
        other.wait()
    assert items(warehouse) == ["good"]
    comes_out(
        "unexpected",
        "a warehouse that another program has open",
        "the program and its process are named: close it there and run the command again",
    )


def test_ctrl_c_in_a_query_ends_the_command_and_undoes_the_transaction(warehouse):
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt), warehouse.writing() as connection:
        connection.execute("DELETE FROM interests.item_clusters")
        connection.execute("SELECT count(*) FROM range(100_000) a, range(100_000) b WHERE hash(a.range, b.range) = 1")
    assert items(warehouse) == ["good"]


def test_a_column_that_came_with_an_upgrade_is_added_to_the_tables_of_a_home(warehouse):
    with warehouse.writing() as connection:
        connection.execute("ALTER TABLE interests.item_clusters DROP COLUMN similarity")
    with warehouse.writing() as connection:
        connection.execute("INSERT INTO interests.item_clusters VALUES ('t', 'new', 1, 0.5)")
        rows = connection.execute("FROM interests.item_clusters SELECT item_id, similarity ORDER BY ALL").fetchall()
    assert rows == [("good", None), ("new", 0.5)]
