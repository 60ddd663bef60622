"""Every failure becomes a message: our own errors as they are, known kinds explained, others with a file."""

import errno
import json
from datetime import date, timedelta

import duckdb
import polars as pl
import pytest
from dagster import DagsterExecutionInterruptedError
from dagster._utils.error import serializable_error_info_from_exc_info

from alignrec_assets.failures import KEPT_FILES, bounded, explain, explain_by_name, place_of, tell
from alignrec_assets.home import Home
from alignrec_assets.landing.data_contract import LandingError
from models.files import checked_name


def the_last_day():
    return date.max + timedelta(days=1)


def wrong_name():
    return checked_name("a/b", "the version")


def missing_column():
    return pl.DataFrame({"a": [1]}).select("b")


def out_of_memory():
    with duckdb.connect(config={"memory_limit": "10MB"}) as connection:
        connection.execute("SET temp_directory = ''")
        connection.execute("FROM range(10_000_000) SELECT list(range)").fetchall()


def raises(error):
    def fails():
        raise error

    return fails


def no_space():
    raise OSError(errno.ENOSPC, "No space left on device", "/data/part-0.parquet")


UNEXPECTED = {
    "a day after 9999-12-31 is computed": (the_last_day, "unexpected OverflowError: date value out of range"),
    "polars misses a column": (missing_column, "unexpected ColumnNotFoundError"),
    "DuckDB refuses a query": (lambda: duckdb.sql("SELEC 1"), "unexpected ParserException"),
    "a key is missing": (lambda: {}["k"], "unexpected KeyError: 'k'"),
    "a number has no digits": (lambda: int("x"), "unexpected ValueError: invalid literal"),
    "an assertion without a word": (raises(AssertionError()), "unexpected AssertionError"),
    "a library raises a ValueError": (lambda: json.loads("{"), "unexpected JSONDecodeError"),
}
KNOWN = {
    "the disk is full": (no_space, "/data/part-0.parquet: No space left on device: the disk is full: free some space"),
    "a folder of another user": (
        raises(PermissionError(errno.EACCES, "Permission denied", "/data")),
        "'/data': Permission denied: this user may not use it",
    ),
    "DuckDB has too little memory": (out_of_memory, "the memory does not suffice"),
    "Python has too little memory": (raises(MemoryError()), "the memory does not suffice"),
    "a package is missing": (lambda: __import__("vllm_of_nobody"), "install alignrec again"),
}


def as_exception(fails):
    with pytest.raises(BaseException) as caught:
        fails()
    return explain(caught.value)


def as_step(fails):
    """As Dagster keeps the error of a step."""
    with pytest.raises(BaseException) as caught:
        fails()
    kept = serializable_error_info_from_exc_info((caught.type, caught.value, caught.tb))
    _, _, message = kept.message.partition(": ")
    return explain_by_name(kept.cls_name, message, place_of(kept.stack), kept.to_string())


seen = pytest.mark.parametrize("explained", [as_exception, as_step])


@seen
@pytest.mark.parametrize("case", UNEXPECTED)
def test_what_nobody_expected_says_so_and_its_traceback_is_kept(home, explained, case, comes_out):
    fails, expected = UNEXPECTED[case]
    failure = explained(fails)
    assert expected in failure.message
    told = tell(failure, home)
    (kept,) = home.failures.iterdir()
    assert str(kept) in told
    assert "the same command goes on from there" in told
    assert "test_failures.py" in kept.read_text(encoding="utf-8")
    comes_out(
        "unexpected",
        case,
        told.replace(str(kept), "a file in the home").split(". This")[0] + ", and a traceback in a file",
    )


@seen
@pytest.mark.parametrize("case", KNOWN)
def test_known_kinds_say_what_to_do_and_keep_no_traceback(home, explained, case, comes_out):
    fails, expected = KNOWN[case]
    failure = explained(fails)
    assert expected.replace("'", "") in failure.message.replace("'", "")
    assert not failure.traceback
    tell(failure, home)
    assert not home.failures.exists()
    comes_out("unexpected", case, expected)


@seen
@pytest.mark.parametrize("fails", [wrong_name])
def test_what_alignrec_raises_itself_stays_as_it_is(explained, fails):
    failure = explained(fails)
    assert failure.message.startswith("the version 'a/b' is no name")
    assert not failure.traceback


@seen
@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        DagsterExecutionInterruptedError(),
        duckdb.InterruptException("Query interrupted"),
        RuntimeError("Query interrupted"),
    ],
)
def test_ctrl_c_is_an_interruption_whoever_took_it(explained, error):
    assert explained(raises(error)).interrupted


def test_an_error_of_ours_raised_elsewhere_is_not_taken_for_explained():
    assert as_exception(raises(LandingError("raised by a test"))).traceback


def test_a_long_message_is_ten_lines_and_the_whole_of_it_is_in_a_file(home):
    message = "\n".join(f"2026-01-{number}: wrong" for number in range(9_000))
    told = bounded(message, home)
    assert len(told.splitlines()) <= 10
    assert len(told) <= 2_100
    (kept,) = home.failures.iterdir()
    assert str(kept) in told
    assert kept.read_text(encoding="utf-8") == message


def test_the_number_of_files_is_bounded(home):
    for number in range(KEPT_FILES + 5):
        bounded(f"{number} " + "x" * 3_000, home)
    kept = sorted(home.failures.iterdir())
    assert len(kept) == KEPT_FILES
    assert kept[-1].read_text().startswith(f"{KEPT_FILES + 4} ")


def test_without_a_home_that_can_be_written_the_message_still_comes(tmp_path):
    failure = as_exception(the_last_day)
    for home in (None, Home(tmp_path / "nowhere")):
        assert "TRACEBACK=1" in tell(failure, home)
    assert list(tmp_path.iterdir()) == []
