"""A user is erased from files and tables, stays out, and the models that had seen the user are named."""

import gzip
import json
from datetime import date

import polars as pl
import pytest
from support.landing import DAY_LONG, zone_of

from alignrec_assets.home import Home
from alignrec_assets.housekeeping.forgetting import forget_user, knows_user, unforget_user
from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.formats.rejected import Rejected, RejectedRows
from alignrec_assets.landing.loading import PositiveRule, load_events, load_feedback, load_items
from alignrec_assets.landing.survey import survey
from alignrec_assets.landing.tombstones import TombstonesError, read_tombstones
from alignrec_assets.landing.zone import Calendar
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import Record, write_records
from alignrec_assets.warehouse.rows import append_rows, table_frame

D1, D2 = date(2026, 1, 1), date(2026, 1, 2)
CALENDAR = Calendar(D1, D2, closed=True)
RULE = PositiveRule(watch_share=0.5, rating_at_least=None, liked=True, completed=True, when_unknown=False)
IMPRESSION = {"item_id": "a", "policy": "random", "ts": "2026-01-02T10:00:00Z"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Three kinds of files in four formats; ``ada`` has 5 events, 2 impressions with 3 outcomes, and a broken row."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    found = Home(tmp_path / "home")
    found.create()
    first, second = (found.landing / "events" / f"day={day}" for day in (D1, D2))
    for folder in (found.landing / "items", first, second, found.landing / "feedback", found.landing / "outcomes"):
        folder.mkdir(parents=True)
    (found.landing / "items" / "items.jsonl").write_text('{"item_id": "a", "title": "Owls"}\n')
    # A quoted line break, a blank before the id, a last line without an end: what stays must stay byte for byte.
    (first / "x.csv").write_bytes(
        b'user_id,item_id,ts,note\r\nbob,a,2026-01-01T08:00:00Z,"two\nlines, ada"\r\n ada,a,2026-01-01T09:00:00Z,\r\n'
        b"\r\nadam,a,2026-01-01T10:00:00Z,\r\nada,a,2026-01-01T11:00:00Z,last"
    )
    events = pl.DataFrame(
        {
            "user_id": ["bob", "ada", "cyril"],
            "item_id": "a",
            "ts": pl.Series([f"2026-01-02T0{hour}:00:00" for hour in (1, 2, 3)]).str.to_datetime(
                "%FT%T", time_unit="us"
            ),
            "extra": [[1], [2, 3], None],
        }
    )
    events.write_parquet(second / "y.parquet", compression="gzip")
    lines = [
        {"user_id": "ada", "item_id": "a", "ts": "2026-01-02T04:00:00Z"},
        {"user_id": "bob", "item_id": "a", "ts": "2026-01-02T05:00:00Z", "name": "ada"},
        {"user_id": "ada", "item_id": "unknown", "ts": "2026-01-02T06:00:00Z"},
    ]
    with gzip.open(second / "z.jsonl.gz", "wt") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)
    impressions = [("r1", "ada"), ("r2", "bob"), ("r3", "ada")]
    pl.DataFrame([IMPRESSION | {"request_id": request, "user_id": user} for request, user in impressions]).write_csv(
        found.landing / "feedback" / "f.csv"
    )
    outcomes = [("r1", "1"), ("r1", "2"), ("r2", "3"), ("r3", "4")]
    text = "".join(f"{request},a,2026-01-02T1{hour}:00:00Z,true\n" for request, hour in outcomes)
    (found.landing / "outcomes" / "o.csv").write_text(f"request_id,item_id,ts,liked\n{text}")
    (found.landing / "outcomes" / "only.csv").write_text("request_id,item_id,ts\nr3,missing,2026-01-02T15:00:00Z\n")
    load(found)
    return found


def load(home):
    """Read the landing zone into the raw tables, as the assets do."""
    with Warehouse(home).writing() as connection:
        load_items(connection, zone_of(home.landing, CALENDAR))
        for kind in ("events", "feedback", "outcomes"):
            survey(connection, zone_of(home.landing, CALENDAR), kind)
        load_events(connection, zone_of(home.landing, CALENDAR), [D1, D2], RULE)
        load_feedback(connection, zone_of(home.landing, CALENDAR), [D1, D2], RULE, DAY_LONG)


def rows(home, table):
    with Warehouse(home).reading() as connection:
        return table_frame(connection, table)


def forget(home, user="ada"):
    lines = []
    return forget_user(home, user, lines.append), lines


def landing_bytes(home):
    return b"".join(path.read_bytes() for path in sorted(home.landing.rglob("*")) if path.is_file())


def test_files_keep_every_other_row_as_it_was(home):
    forgotten, _ = forget(home)
    assert forgotten.files == {
        "outcomes/o.csv": 3,
        "outcomes/only.csv": 1,
        "events/day=2026-01-01/x.csv": 2,
        "events/day=2026-01-02/y.parquet": 1,
        "events/day=2026-01-02/z.jsonl.gz": 2,
        "feedback/f.csv": 2,
    }
    first, second = (home.landing / "events" / f"day={day}" for day in (D1, D2))
    assert (first / "x.csv").read_bytes() == (
        b'user_id,item_id,ts,note\r\nbob,a,2026-01-01T08:00:00Z,"two\nlines, ada"\r\n'
        b"\r\nadam,a,2026-01-01T10:00:00Z,\r\n"
    )
    parquet = pl.read_parquet(second / "y.parquet")
    assert parquet["user_id"].to_list() == ["bob", "cyril"]
    assert parquet["extra"].to_list() == [[1], None]
    assert parquet.schema["ts"] == pl.Datetime("us")
    with gzip.open(second / "z.jsonl.gz", "rt") as stream:
        assert [json.loads(line)["user_id"] for line in stream] == ["bob"]
    assert (home.landing / "outcomes" / "o.csv").read_text() == (
        "request_id,item_id,ts,liked\nr2,a,2026-01-02T13:00:00Z,true\n"
    )
    assert not (home.landing / "outcomes" / "only.csv").exists()  # nothing was left in it
    assert pl.read_csv(home.landing / "feedback" / "f.csv")["request_id"].to_list() == ["r2"]


def test_tables_lose_the_user_and_the_file_keeps_no_trace_of_it(home):
    with Warehouse(home).writing() as connection:
        examples = {"as_of": D2, "taxonomy_version": "t", "history": [1, 2], "cluster_id": 3, "split": "train"}
        frame = pl.DataFrame([examples | {"user_id": user} for user in ("ada", "bob")])
        append_rows(connection, "training.novelty_examples", frame)
    assert rows(home, "raw.rejected_rows").height == 2
    forgotten, lines = forget(home)
    # 5 events of which one names an unknown item; that one and the outcome of a missing item had been rejected.
    assert forgotten.tables == {
        "raw.events": 4,
        "raw.feedback_logs": 2,
        "training.novelty_examples": 1,
        "raw.rejected_rows": 2,
    }
    assert set(rows(home, "raw.events")["user_id"]) == {"bob", "adam", "cyril"}
    assert rows(home, "raw.feedback_logs")["request_id"].to_list() == ["r2"]
    assert rows(home, "training.novelty_examples")["user_id"].to_list() == ["bob"]
    assert any("raw.events" in line and "4 rows" in line for line in lines)
    before = {name: rows(home, name).sort("user_id", "ts").rows() for name in ("raw.events", "raw.feedback_logs")}
    load(home)
    assert {name: rows(home, name).sort("user_id", "ts").rows() for name in before} == before


def test_the_id_stays_out_of_later_files_and_is_written_nowhere(home):
    assert b"cyril" in home.warehouse.read_bytes()
    forget(home, "cyril")
    assert not [path for path in home.path.rglob("*") if path.is_file() and b"cyril" in path.read_bytes()]
    late = home.landing / "events" / f"day={D2}" / "late.csv"
    users = [(" cyril ", "a"), ("cyril", "broken"), ("di", "a"), ("", "a")]
    text = "".join(f"{user},{item},2026-01-02T20:00:00Z\n" for user, item in users)
    late.write_text(f"user_id,item_id,ts\n{text}")
    load(home)
    assert set(rows(home, "raw.events")["user_id"]) == {"ada", "bob", "adam", "di"}
    assert not any("cyril" in payload for payload in rows(home, "raw.rejected_rows")["payload"])
    assert rows(home, "raw.forgotten_rows").rows() == [("events", "events/day=2026-01-02/late.csv", 2)]
    assert rows(home, "raw.landing_files").filter(pl.col("file").str.ends_with("late.csv"))["rows"].item() == 2
    assert "user_id: missing" in set(rows(home, "raw.rejected_rows")["reason"])
    assert forget(home, "cyril")[0].files == {"events/day=2026-01-02/late.csv": 2}
    load(home)
    assert rows(home, "raw.forgotten_rows").is_empty()


def test_a_second_time_nothing_is_left_to_do_and_an_unknown_user_is_kept_out_too(home):
    forget(home)
    before = landing_bytes(home)
    forgotten, lines = forget(home)
    assert (forgotten.files, forgotten.tables) == ({}, {})
    assert lines[0].startswith("'ada' was not found")
    assert landing_bytes(home) == before
    forget(home, "nobody")
    tombstones = read_tombstones(home.landing)
    assert set(tombstones.users) == {tombstones.hashed("ada"), tombstones.hashed("nobody")}
    assert tombstones.hashed("ada") != read_tombstones(home.landing / "elsewhere").hashed("ada")


@pytest.mark.parametrize("files", [1, 4])
def test_what_was_cut_off_is_completed_by_the_same_command(home, monkeypatch, files):
    import alignrec_assets.housekeeping.forgetting as module

    whole, left = module._rewrite, iter(range(files))

    def cut_off(path, match):
        if next(left, None) is None:
            raise KeyboardInterrupt
        whole(path, match)

    monkeypatch.setattr(module, "_rewrite", cut_off)
    with pytest.raises(KeyboardInterrupt):
        forget(home)
    assert "ada" in set(rows(home, "raw.events")["user_id"])
    monkeypatch.setattr(module, "_rewrite", whole)
    forget(home)
    assert "ada" not in set(rows(home, "raw.events")["user_id"])
    assert pl.read_csv(home.landing / "outcomes" / "o.csv")["request_id"].to_list() == ["r2"]
    assert (forget(home)[0].files, forget(home)[0].tables) == ({}, {})


def checkpoint(home, model, version, **manifest):
    folder = home.checkpoints / model / version
    folder.mkdir(parents=True)
    stamped = {"made_at": "2026-01-03T00:00:00+00:00", "content_hash": f"hash-{version}", "version": version}
    (folder / "manifest.json").write_text(json.dumps(stamped | manifest))


def version(home, name, novelty, alignment=None, **manifest):
    (home.published / name).mkdir()
    made = {"made_at": "2026-01-03T00:00:00+00:00", "novelty_model": novelty, "alignment_model": alignment}
    (home.published / name / "manifest.json").write_text(json.dumps(made | manifest))


def test_who_had_seen_the_user_is_told_by_examples_by_days_and_by_planners(home):
    checkpoint(home, "novelty_model", "examples", as_of="2026-01-02")
    checkpoint(home, "novelty_model", "late", as_of="2026-01-01")
    checkpoint(home, "novelty_model", "early", as_of="2025-12-31")
    checkpoint(home, "alignment_model", "before", as_of="2026-01-01", feedback_source="logged")
    checkpoint(home, "alignment_model", "with", as_of="2026-01-02", feedback_source="logged")
    checkpoint(home, "alignment_model", "replayed", as_of="2026-01-01", feedback_source="replay")
    version(home, "v1", "hash-early", log_until="2026-01-02")
    version(home, "v2", "hash-early", "hash-with", log_until="2026-01-02")
    version(home, "v3", "gone", log_until="2026-01-02")
    version(home, "v4", "gone", log_until="2025-12-31")
    with Warehouse(home).writing() as connection:  # the examples, as they stand, do not hold the user
        write_records(connection, "training.novelty_examples", {"": Record("x")})
        write_records(
            connection, "novelty_model", {"": Record("y", 0, {"folder": "checkpoints/novelty_model/examples"})}
        )
    seen = {
        "checkpoints/novelty_model/late": "it learned from days up to 2026-01-01, the user's begin on 2026-01-01",
        "checkpoints/alignment_model/with": "it learned from days up to 2026-01-02, the user's begin on 2026-01-02",
        "checkpoints/alignment_model/replayed": "it learned from days up to 2026-01-01, the user's begin on 2026-01-01",
        "published/v2": "planned by checkpoints/alignment_model/with",
        "published/v3": "its log reaches to 2026-01-02, the user's days begin on 2026-01-01",
    }
    assert forget(home)[0].seen_by == seen
    # What is made afterwards has not seen the user; what had is named again as long as it stands.
    checkpoint(home, "novelty_model", "after", as_of="2026-01-02", made_at="2099-01-01T00:00:00+00:00")
    (home.published / "v3" / "manifest.json").unlink()
    (home.published / "v3").rmdir()
    del seen["published/v3"]
    assert forget(home)[0].seen_by == seen


def test_files_that_cannot_be_searched_stop_it_before_anything_changes(home):
    broken = home.landing / "events" / f"day={D1}" / "broken.parquet"
    broken.write_bytes(b"PAR1 no more")
    before = landing_bytes(home)
    with pytest.raises(LandingError, match=r"broken\.parquet"):
        forget(home)
    assert landing_bytes(home) == before
    broken.unlink()
    (home.landing / "FORGOTTEN").write_text("{}")
    with pytest.raises(TombstonesError, match="FORGOTTEN"):
        load(home)


def test_source_rows_that_were_rejected_lose_the_user(home):
    rejected = [
        Rejected("ratings.csv", 3, "rating: missing", "ada", {"userId": "ada"}),
        Rejected("ratings.csv", 4, "the row has 5 fields", None, "ada,a,4,0,1"),
        Rejected("ratings.csv", 5, "rating: missing", "adam", {"userId": "adam"}),
    ]
    RejectedRows(home.landing / "REJECTED").add("ratings.csv", rejected)
    assert knows_user(home, "adam", print)
    assert forget(home)[0].files["REJECTED/ratings.csv.jsonl"] == 2
    assert b'"ada' not in (home.landing / "REJECTED" / "ratings.csv.jsonl").read_bytes().replace(b'"adam"', b"")


SPELLINGS = ["ada", " ada", "ada\t", "\u00a0ada\u3000", "\u2003ada\r\n"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_user_is_known_by_any_spelling_that_files_may_have(home, spelling, comes_out):
    before = landing_bytes(home)
    assert knows_user(home, spelling, print)
    assert landing_bytes(home) == before
    forget_user(home, spelling, print)
    assert not knows_user(home, "ada", print)
    comes_out("forget", f"forget {spelling!r}, where files have 'ada'", "the rows of 'ada' are erased")


@pytest.mark.parametrize("user", ["zoë", "zoe\u0308"])
def test_an_id_in_either_unicode_form_is_one_user(home, user):
    file = home.landing / "events" / "late.csv"
    file.write_text("user_id,item_id,ts\nzoë,a,2026-01-02T07:00:00Z\nbob,a,2026-01-02T07:00:01Z\n", encoding="utf-8")
    assert knows_user(home, user, print)
    forget_user(home, user, print)
    assert file.read_text(encoding="utf-8") == "user_id,item_id,ts\nbob,a,2026-01-02T07:00:01Z\n"


@pytest.mark.parametrize("user", ["Ada", "ada2", "ad", "r1"])
def test_other_ids_are_not_known(home, user):
    assert not knows_user(home, user, print)


def test_a_user_in_tables_alone_is_known(home):
    for path in home.landing.rglob("*.*"):
        if path.is_file() and "items" not in path.parts:
            path.unlink()
    assert knows_user(home, "ada", print)


def test_an_unforgotten_user_is_read_again_where_files_are_sent_again(home, comes_out):
    file = home.landing / "events" / f"day={D1}" / "x.csv"
    content = file.read_bytes()
    forget_user(home, "ada", print)
    file.write_bytes(content)
    load(home)
    assert "ada" not in users(home)
    lines = []
    unforget_user(home, " ada", lines.append)
    assert read_tombstones(home.landing).users == {}
    assert "do not come back" in lines[1]
    assert "`alignrec rebuild` reads them, from events/day=2026-01-01/x.csv" in lines[2]
    file.write_bytes(content + b"\r\n")
    load(home)
    assert "ada" in users(home)
    comes_out("forget", "unforget a user", "files that come are read with its rows; what was erased does not come back")


def users(home):
    with Warehouse(home).reading() as connection:
        return table_frame(connection, "raw.events")["user_id"].to_list()


def test_unforgetting_a_user_who_was_not_forgotten_changes_nothing(home, comes_out):
    forget_user(home, "ada", print)
    before = (home.landing / "FORGOTTEN").read_bytes()
    with pytest.raises(ValueError, match="'eve' is not among the 1 forgotten users"):
        unforget_user(home, "eve", print)
    assert (home.landing / "FORGOTTEN").read_bytes() == before
    comes_out("forget", "unforget a user who was not forgotten", "an error that says so; nothing changes")


def test_kept_tracebacks_go_with_the_user(home):
    home.failures.mkdir()
    (home.failures / "20260101-000000-1.txt").write_text("ValueError: ada")
    forget_user(home, "ada", print)
    assert list(home.failures.iterdir()) == []
