"""What a user sees when something is wrong: one message that names it and the fix, no traceback, nothing lost."""

import json
import shutil

import polars as pl
import pytest
from support.line import FIRST_DAY, LAST_DAY, command, simulate

from alignrec_assets.home import Home
from alignrec_assets.settings.sources import update_settings_file
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import read_records
from alignrec_assets.warehouse.rows import count_rows, table_frame
from models.serving.transition_table import TransitionTable

ONE_DAY = ("--first", FIRST_DAY, "--last", FIRST_DAY)


@pytest.fixture
def home(line_home, tmp_path):
    """A copy of a home on which everything has run."""
    shutil.copytree(line_home.path, tmp_path / "home")
    return Home(tmp_path / "home")


def day_folder(home, kind="events"):
    return home.landing / kind / f"day={FIRST_DAY}"


def state(home):
    with Warehouse(home).reading() as connection:
        rows = count_rows(connection, ["raw.items", "raw.events", "publication.transition_table"])
    return rows, TransitionTable.open(home.published).version


def refused(home, *arguments, **variables):
    """Run a command that must fail; returns its message after checking that it is one, and that nothing changed."""
    before = state(home)
    done = command(home.path, "alignrec", *arguments, check=False, **variables)
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "Traceback" not in said
    assert "error" in done.stderr
    assert state(home) == before
    return done.stderr


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("broken.parquet", "truncated", ["broken.parquet"]),
        ("picture.parquet", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), ["picture.parquet"]),
        ("noise.csv", bytes(range(256)) * 4, ["noise.csv"]),
        ("no_user.csv", b"item_id,ts\na,2026-01-05T00:00:00Z\n", ["no_user.csv", "user_id"]),
        ("notes.docx", b"hello", ["notes.docx"]),
    ],
)
def test_a_file_that_cannot_be_read_stops_the_run_by_name(home, name, content, expected):
    if content == "truncated":
        content = (day_folder(home) / "part-0.parquet").read_bytes()[:-200]
    (day_folder(home) / name).write_bytes(content)
    message = refused(home, "run", *ONE_DAY)
    for part in expected:
        assert part in message


def test_rows_that_break_the_contract_are_kept_with_their_reason(home):
    item = pl.read_parquet(home.landing / "items")["item_id"][0]
    rows = [
        f"u,{item},{FIRST_DAY}T10:00:00Z,5",
        f"u,nobody-knows,{FIRST_DAY}T10:00:01Z,5",
        f"u,{item},yesterday,5",
        f"u,{item},{FIRST_DAY}T10:00:02Z,-5",
        f"u,{item},{FIRST_DAY}T10:00:03Z,long",
        f",{item},{FIRST_DAY}T10:00:04Z,5",
    ]
    (day_folder(home) / "extra.csv").write_text("user_id,item_id,ts,watch_s\n" + "\n".join(rows) + "\n")
    (day_folder(home) / "empty.csv").write_bytes(b"")
    output = command(home.path, "alignrec", "run", *ONE_DAY).stdout
    assert "6 of" in output
    with Warehouse(home).reading() as connection:
        rejected = table_frame(connection, "raw.rejected_rows").sort("file", "row_number")
    assert rejected["row_number"].to_list() == [None, 2, 3, 4, 5, 6]
    for reason, part in zip(
        rejected["reason"], ["empty file", "nobody-knows", "yesterday", "watch_s", "long", "user_id"], strict=True
    ):
        assert part in reason
    assert all(payload for payload in rejected["payload"][1:])


def test_too_many_bad_rows_stop_the_run_and_name_the_first(home):
    text = "user_id,item_id,ts\n" + f"u,nobody-knows,{FIRST_DAY}T10:00:00Z\n"
    rows = pl.DataFrame({"user_id": "u", "item_id": [f"gone{n}" for n in range(2000)], "ts": f"{FIRST_DAY}T09:00:00Z"})
    (day_folder(home) / "a.csv").write_text(text)
    rows.write_csv(day_folder(home) / "b.csv")
    done = command(home.path, "alignrec", "run", *ONE_DAY, check=False)
    assert done.returncode == 1
    assert "landing.rejected_share_limit" in done.stderr
    assert "a.csv, row 1" in done.stderr
    assert "Traceback" not in done.stderr
    # The gate holds back what is downstream; the good rows and the reasons are there to be looked at.
    assert TransitionTable.open(home.published)
    with Warehouse(home).reading() as connection:
        assert count_rows(connection, ["raw.rejected_rows"])["raw.rejected_rows"] == 2001


def test_a_duplicate_request_id_with_other_content_is_rejected(home):
    folder = home.landing / "feedback" / f"day={LAST_DAY}"
    one = pl.read_parquet(folder / "part-0.parquet").head(1)
    one.write_parquet(folder / "same.parquet")
    one.with_columns(pl.lit("somebody else").alias("user_id")).write_parquet(folder / "zother.parquet")
    command(home.path, "alignrec", "run", "--first", LAST_DAY, "--last", LAST_DAY)
    with Warehouse(home).reading() as connection:
        rejected = table_frame(connection, "raw.rejected_rows")
    assert rejected.height == 1
    assert "duplicate request" in rejected["reason"][0]
    assert rejected["file"][0].endswith("zother.parquet")


def test_a_logged_history_with_a_repeated_or_unknown_cluster_harms_nothing(home):
    folder = home.landing / "feedback" / f"day={LAST_DAY}"
    good = pl.read_parquet(folder / "part-0.parquet").head(2)
    wrong = good.with_columns(
        pl.Series("history", [[3, 3], [3, 99]], dtype=pl.List(pl.Int32)),
        request_id=pl.concat_str("request_id", pl.lit("x")),
    )
    wrong.write_parquet(folder / "wrong.parquet")
    command(home.path, "alignrec", "run", "--first", LAST_DAY, "--last", LAST_DAY)
    with Warehouse(home).reading() as connection:
        reasons = table_frame(connection, "raw.rejected_rows")["reason"].to_list()
        left_out = read_records(connection, "feedback.transition_users")[str(LAST_DAY)].details["left_out_impressions"]
    assert len(reasons) == 1
    assert "history" in reasons[0]
    assert left_out >= 1


def test_a_day_without_rows_is_an_empty_day(home):
    shutil.rmtree(day_folder(home))
    command(home.path, "alignrec", "run", *ONE_DAY)
    with Warehouse(home).reading() as connection:
        days = table_frame(connection, "raw.events")["day"].unique().to_list()
    assert FIRST_DAY not in days
    assert len(days) == 3


@pytest.mark.parametrize(
    ("clusters", "expected"), [(["0", "0"], "named twice"), (["0", "99"], "no cluster 99"), (["0"], "2 clusters")]
)
def test_a_lookup_of_an_impossible_history(line_home, clusters, expected):
    assert expected in refused(line_home, "lookup", *clusters)


def test_a_base_model_that_is_no_model(home, tmp_path):
    folder = tmp_path / "no_model"
    folder.mkdir()
    (folder / "readme.txt").write_text("nothing here")
    message = refused(home, "run", ALIGNREC_BASE_MODEL__SOURCE=str(folder))
    assert str(folder) in message


def test_a_setting_out_of_range_and_an_unknown_one(home):
    assert "candidates.k" in refused(home, "run", ALIGNREC_CANDIDATES__K="0")
    assert "ALIGNREC_CANDIDATES__KK" in refused(home, "settings", ALIGNREC_CANDIDATES__KK="3")
    with home.settings.open("a") as file:
        file.write("\n[candidates]\ntemperature = -1\n")
    message = refused(home, "settings")
    assert "candidates.temperature" in message
    assert str(home.settings) in message


def test_homes_landing_zones_and_versions_of_a_newer_format(home):
    newer = json.dumps({"format_version": 99})
    (home.landing / "FORMAT").write_text(newer)
    assert "99" in refused(home, "run", *ONE_DAY)
    (home.landing / "FORMAT").unlink()
    kept = home.format_file.read_text()
    home.format_file.write_text(newer)
    for arguments in (["run"], ["lookup", "0", "1"], ["settings"]):
        done = command(home.path, "alignrec", *arguments, check=False)
        assert done.returncode == 1
        assert "format 99" in done.stderr
        assert "Traceback" not in done.stderr
    home.format_file.write_text(kept)


def test_a_day_outside_the_calendar(home):
    assert "outside the calendar" in refused(home, "run", "--first", "2025-01-01")


def test_fewer_items_than_clusters(tmp_path, tiny_model_folder):
    home = Home(tmp_path / "home")
    simulate(home, tiny_model_folder, days=1, users=20, items=60)
    update_settings_file(home, {"interests": {"clusters": 61}})
    done = command(home.path, "alignrec", "run", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for part in ("60", "61", "interests.clusters"):
        assert part in done.stderr


def test_one_single_user_is_told_what_is_missing(tmp_path, tiny_model_folder):
    home = Home(tmp_path / "home")
    simulate(home, tiny_model_folder, days=1, users=40, items=60)
    path = home.landing / "events" / f"day={FIRST_DAY}" / "part-0.parquet"
    events = pl.read_parquet(path)
    events.filter(pl.col("user_id") == events["user_id"][0]).head(2).write_parquet(path)
    done = command(home.path, "alignrec", "run", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "there are 0 novel transitions of 0 users, and 2 such users are needed" in done.stderr


def test_an_unknown_data_format_and_a_missing_folder(line_home):
    assert "movielens" in refused(line_home, "ingest", "netflix", ".")
    assert "no-such-folder" in refused(line_home, "ingest", "movielens", "no-such-folder")
    assert "DATA" in refused(line_home, "demo", "--source", "movielens")
