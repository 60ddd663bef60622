"""Micro-batches by index, and work in shards: whole or not at all, taken up where it stopped."""

import multiprocessing
import os
import signal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.shards import micro_batches, read_shards, shard_size, work_in_shards


def write(part, folder):
    (folder / "rows.txt").write_text("\n".join(map(str, part)))


def write_rows(part, folder):
    pl.DataFrame({"row": list(part)}).write_parquet(folder / "rows.parquet")


def killed_at_work(part, folder):
    """The process ends as by ``kill -9``, with a shard half written."""
    (folder / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_left_half_written_is_neither_read_nor_kept(tmp_path):
    shards = tmp_path / "shards"
    work_in_shards(shards, 3, 3, write_rows, "rows")
    killed = multiprocessing.get_context("fork").Process(
        target=work_in_shards, args=(shards, 7, 3, killed_at_work, "rows")
    )
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert any(path.name.startswith(".shard-000000003") for path in shards.iterdir())
    assert read_shards(shards, "rows.parquet")["row"].to_list() == [0, 1, 2]
    work_in_shards(shards, 7, 3, write_rows, "rows")
    assert read_shards(shards, "rows.parquet")["row"].to_list() == list(range(7))
    assert {path.name[0] for path in shards.iterdir()} == {"s"}


def test_every_index_is_done_once_in_order(tmp_path):
    shards = work_in_shards(tmp_path / "shards", 7, 3, write, "rows")
    assert [shard.joinpath("rows.txt").read_text().split() for shard in shards] == [
        ["0", "1", "2"],
        ["3", "4", "5"],
        ["6"],
    ]


def test_a_shard_that_fails_leaves_nothing_and_the_finished_ones_stand(tmp_path):
    done = []

    def fail_at_the_second(part, folder):
        write(part, folder)
        if part.start == 3 and len(done) == 1:
            done.append("failed")
            raise OSError("disk full")
        done.append(part.start)

    with pytest.raises(OSError, match="disk full"):
        work_in_shards(tmp_path / "shards", 7, 3, fail_at_the_second, "rows")
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["shard-000000000-000000003"]
    lines = []
    work_in_shards(tmp_path / "shards", 7, 3, fail_at_the_second, "rows", lines.append)
    assert done == [0, "failed", 3, 6]
    assert "1 of 3 shards exist" in lines[0]


@given(st.integers(0, 40), st.integers(1, 9))
def test_micro_batches_cover_every_index_once(total, size):
    batches = list(micro_batches(total, size))
    assert [index for batch in batches for index in batch] == list(range(total))
    assert all(len(batch) == size for batch in batches[:-1])


@pytest.mark.parametrize(("wanted", "micro_batch", "size"), [(2048, 16, 2048), (2050, 16, 2048), (10, 16, 16)])
def test_shards_hold_whole_micro_batches(wanted, micro_batch, size):
    assert shard_size(wanted, micro_batch) == size


def test_the_rows_of_all_shards_are_read_in_the_order_of_the_indices(tmp_path):
    def rows(part, folder):
        pl.DataFrame({"index": list(part)}).write_parquet(folder / "rows.parquet")

    work_in_shards(tmp_path / "shards", 12, 5, rows, "rows")
    assert read_shards(tmp_path / "shards", "rows.parquet")["index"].to_list() == list(range(12))
