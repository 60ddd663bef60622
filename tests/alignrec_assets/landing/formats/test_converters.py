"""Public data sets become landing files: columns by hand, the same bytes twice, and clear refusals."""

import hashlib
import re
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from support.landing import DAY_LONG, connect, zone_of

from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.formats import converters
from alignrec_assets.landing.formats.ratings import split_title
from alignrec_assets.landing.loading import PositiveRule, load_events, load_feedback, load_items
from alignrec_assets.landing.survey import survey
from alignrec_assets.landing.zone import Calendar
from alignrec_assets.settings.sections import LandingSettings

SETTINGS = LandingSettings()
RULE = PositiveRule(0.5, None, liked=True, completed=True, when_unknown=False)


def convert(name, source, landing, **options):
    return converters.convert(name, source, landing, SETTINGS, **options)


def text(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content, encoding="utf-8")
    return folder


def read(landing: Path, kind: str) -> pl.DataFrame:
    return pl.concat(pl.read_parquet(path) for path in sorted((landing / kind).rglob("*.parquet")))


def digests(landing: Path) -> dict[str, str]:
    return {
        path.relative_to(landing).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(landing.rglob("*"))
        if path.is_file()
    }


def loaded(landing: Path, first: date, last: date):
    """An open warehouse with every landing row loaded."""
    connection = connect()
    calendar = Calendar(first, last, closed=True)
    days = [date.fromordinal(day) for day in range(first.toordinal(), last.toordinal() + 1)]
    load_items(connection, zone_of(landing, calendar))
    for kind in ("events", "feedback", "outcomes"):
        survey(connection, zone_of(landing, calendar), kind)
    load_events(connection, zone_of(landing, calendar), days, RULE)
    load_feedback(connection, zone_of(landing, calendar), days, RULE, DAY_LONG)
    return connection


# MovieTweetings and MovieLens ----------------------------------------------------------------------------------------


@pytest.fixture
def tweetings(tmp_path):
    return text(
        tmp_path / "source",
        ratings__dat="1::0002::8::1362062307\n2::0002::6::1362148706\n1::0001::10::1362148707\n",
        movies__dat="0001::Heat (1995)::Crime|Drama\n0002::2001: Ein Märchen::\n",
    )


def test_movietweetings_by_hand(tweetings, tmp_path):
    found = convert("movietweetings", tweetings, tmp_path / "landing")
    assert (found.first_day, found.last_day) == (date(2013, 2, 28), date(2013, 3, 1))
    assert found.rows == {"items": 2, "events": 3}
    assert found.positive is not None
    assert found.positive.rating_at_least == 7
    assert found.notes == ()
    assert read(tmp_path / "landing", "items").rows() == [
        ("0001", "Heat", ["Crime", "Drama"], datetime(1995, 1, 1)),
        ("0002", "2001: Ein Märchen", None, None),
    ]
    names = sorted(name for name in digests(tmp_path / "landing") if name.startswith("events"))
    assert names == ["events/day=2013-02-28/part-0.parquet", "events/day=2013-03-01/part-0.parquet"]
    assert read(tmp_path / "landing", "events").select("user_id", "item_id", "ts", "rating").rows() == [
        ("1", "0002", datetime(2013, 2, 28, 14, 38, 27), 8.0),
        ("2", "0002", datetime(2013, 3, 1, 14, 38, 26), 6.0),
        ("1", "0001", datetime(2013, 3, 1, 14, 38, 27), 10.0),
    ]
    with loaded(tmp_path / "landing", found.first_day, found.last_day) as connection:
        assert connection.execute("SELECT count(*) FROM raw.events").fetchone() == (3,)
        assert connection.execute("SELECT count(*) FROM raw.rejected_rows").fetchone() == (0,)


def test_converting_twice_gives_the_same_bytes_and_removes_days_that_are_gone(tweetings, tmp_path):
    landing = tmp_path / "landing"
    convert("movietweetings", tweetings, landing)
    (landing / "events" / "day=2013-02-28" / "mine.csv").write_text("user_id,item_id,ts\n")
    once = digests(landing)
    convert("movietweetings", tweetings, landing)
    assert digests(landing) == once
    (tweetings / "ratings.dat").write_text("2::0002::6::1362148706\n")
    convert("movietweetings", tweetings, landing)
    assert [name for name in digests(landing) if name.startswith("events")] == [
        "events/day=2013-02-28/mine.csv",
        "events/day=2013-03-01/part-0.parquet",
    ]


def test_many_days_and_many_rows_are_one_file_a_day(tmp_path):
    seconds = [86_400 * day + second for day in range(400) for second in (5, 3)] + list(range(20_000))
    lines = "".join(f"{row % 977}::1::5::{second}\n" for row, second in enumerate(seconds))
    source = text(tmp_path / "source", ratings__dat=lines, movies__dat="1::A (2000)::Drama\n")
    convert("movietweetings", source, tmp_path / "a")
    convert("movietweetings", source, tmp_path / "b")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    files = sorted((tmp_path / "a" / "events").rglob("*.parquet"))
    assert len(files) == 400
    frames = [pl.read_parquet(path) for path in files]
    for path, frame in zip(files, frames, strict=True):
        assert {f"day={day}" for day in frame["ts"].dt.date()} == {path.parent.name}
    assert sorted(pl.concat(frames)["ts"].dt.epoch("s")) == sorted(seconds)


def test_movielens_csv_by_hand(tmp_path):
    source = text(
        tmp_path / "source",
        ratings__csv="userId,movieId,rating,timestamp\n1,10,4.5,1000000000\n2,11,0.5,1000000001\n",
        movies__csv='movieId,title,genres\n10,"American President, The (1995)",Comedy|Drama\n'
        "11,Untitled,(no genres listed)\n",
        tags__csv="userId,movieId,tag,timestamp\n1,10,politics,1\n2,10,Politics ,2\n3,10,best,3\n3,11,,4\n",
    )
    found = convert("movielens", source, tmp_path / "landing")
    assert read(tmp_path / "landing", "items").rows() == [
        ("10", "American President, The", ["Comedy", "Drama", "politics", "best"], datetime(1995, 1, 1)),
        ("11", "Untitled", None, None),
    ]
    events = read(tmp_path / "landing", "events").select("user_id", "item_id", "ts", "rating")
    assert events.rows() == [
        ("1", "10", datetime(2001, 9, 9, 1, 46, 40), 4.5),
        ("2", "11", datetime(2001, 9, 9, 1, 46, 41), 0.5),
    ]
    assert found.positive is not None
    assert found.positive.rating_at_least == 4
    (source / "tags.csv").unlink()
    assert "tags.csv is missing" in convert("movielens", source, tmp_path / "landing").notes[0]


def test_movielens_1m_and_100k_are_read_in_latin_1(tmp_path):
    million = text(tmp_path / "1m", ratings__dat="1::7::5::978300760\n")
    (million / "movies.dat").write_bytes("7::Misérables, Les (1995)::Drama|Musical\n".encode("latin-1"))
    hundred = text(tmp_path / "100k", u__data="1\t7\t5\t978300760\n")
    flags = "|".join("1" if place in (8, 12) else "0" for place in range(19))
    (hundred / "u.item").write_bytes(f"7|Misérables, Les (1995)|01-Jan-1995||http://x|{flags}\n".encode("latin-1"))
    convert("movielens", million, tmp_path / "a")
    convert("movielens", hundred, tmp_path / "b")
    assert read(tmp_path / "a", "items").rows() == [
        ("7", "Misérables, Les", ["Drama", "Musical"], datetime(1995, 1, 1))
    ]
    for kind in ("items", "events"):
        assert read(tmp_path / "a", kind).equals(read(tmp_path / "b", kind))


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Heat (1995)", ("Heat", datetime(1995, 1, 1))),
        ("Cosmos (2014–)", ("Cosmos", datetime(2014, 1, 1))),
        ("Rome (2005-2007) ", ("Rome", datetime(2005, 1, 1))),
        ("2012", ("2012", None)),
        ("Se7en (a.k.a. Seven) (1995)", ("Se7en (a.k.a. Seven)", datetime(1995, 1, 1))),
        ("Nothing (0000)", ("Nothing (0000)", None)),
        ("Title 42", ("Title 42", None)),
        ("Title 42 (1999)", ("Title 42", datetime(1999, 1, 1))),
        ("Blade Runner 2049 (2017)", ("Blade Runner 2049", datetime(2017, 1, 1))),
        ("(500) Days of Summer (2009)", ("(500) Days of Summer", datetime(2009, 1, 1))),
        ("1984", ("1984", None)),
        ("(1984)", ("(1984)", None)),
        ("Odyssey (3001)", ("Odyssey (3001)", None)),
        ("Rome (1995) again", ("Rome (1995) again", None)),
    ],
)
def test_the_year_leaves_the_title(title, expected):
    assert split_title(title) == expected


# KuaiRand ------------------------------------------------------------------------------------------------------------

LOG_HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)
FEATURES = """video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,tag
10,1,NORMAL,2022-04-01,x,y,20000.0,"3,14"
11,1,NORMAL,2022-04-02,x,y,0,
12,1,AD,2022-04-03,x,y,,3
"""


def log_text(rows, drop=()):
    columns = LOG_HEADER.split(",")
    kept = [name for name in columns if name not in drop]
    lines = [",".join(kept)]
    for row in rows:
        full = dict.fromkeys(columns, 0) | {"time_ms": 1649350800000, "duration_ms": 20000} | row
        lines.append(",".join(str(full[name]) for name in kept))
    return "\n".join(lines) + "\n"


STANDARD = [
    {"user_id": 0, "video_id": 10, "is_click": 1, "is_like": 1, "long_view": 1, "play_time_ms": 25000},
    {"user_id": 1, "video_id": 11, "is_forward": 1, "duration_ms": 0, "play_time_ms": 1500},
]
RANDOM = [
    {"user_id": 1, "video_id": 12, "is_rand": 1, "long_view": 1, "time_ms": 1649440800001},
    {"user_id": 2, "video_id": 12, "is_rand": 1},
    {"user_id": 2, "video_id": 11, "is_rand": 1},
]


@pytest.fixture
def kuairand(tmp_path):
    return text(
        tmp_path / "KuaiRand" / "data",
        log_standard_4_08_pure__csv=log_text(STANDARD[:1]),
        log_standard_4_22_pure__csv=log_text(STANDARD[1:]),
        log_random_4_22_pure__csv=log_text(RANDOM),
        video_features_basic_pure__csv=FEATURES,
    ).parent


def test_kuairand_by_hand(kuairand, tmp_path):
    landing = tmp_path / "landing"
    found = convert("kuairand", kuairand, landing)
    assert found.rows == {"items": 3, "events": 2, "feedback": 3}
    assert (found.first_day, found.last_day) == (date(2022, 4, 7), date(2022, 4, 8))
    assert found.notes == ()
    assert read(landing, "items").rows() == [
        ("10", ["tag:3", "tag:14"], None, 20.0, datetime(2022, 4, 1)),
        ("11", None, "untagged", None, datetime(2022, 4, 2)),
        ("12", ["tag:3"], None, None, datetime(2022, 4, 3)),
    ]
    columns = ["user_id", "item_id", "watch_s", "completed", "liked", "shared", "skipped", "positive"]
    assert read(landing, "events").select(columns).rows() == [
        ("0", "10", 25.0, True, True, False, False, True),
        ("1", "11", 1.5, None, False, True, True, False),
    ]
    feedback = read(landing, "feedback")
    assert feedback.select("request_id", "item_id", "policy", "propensity", "history", "positive").rows() == [
        ("2-11-1649350800000", "11", "random", 0.5, None, False),
        ("2-12-1649350800000", "12", "random", 0.5, None, False),
        ("1-12-1649440800001", "12", "random", 0.5, None, True),
    ]
    assert feedback["ts"][2] == datetime(2022, 4, 8, 18, 0, 0, 1000)
    with loaded(landing, found.first_day, found.last_day) as connection:
        assert connection.execute("SELECT count(*), sum(positive::INT) FROM raw.events").fetchone() == (2, 1)
        assert connection.execute("SELECT count(*), sum(positive::INT) FROM raw.feedback_logs").fetchone() == (3, 1)
        assert connection.execute("SELECT count(*) FROM raw.rejected_rows").fetchone() == (0,)


def test_kuairand_tags_get_names_from_a_file(kuairand, tmp_path):
    names = text(tmp_path, names__csv="tag_id,tag_name\n3,cooking\n99,unused\n") / "names.csv"
    convert("kuairand", kuairand, tmp_path / "landing", tag_names=names)
    assert read(tmp_path / "landing", "items")["tags"].to_list() == [["cooking", "tag:14"], None, ["cooking"]]
    for content in ("just one column\n", ""):
        names.write_text(content)
        with pytest.raises(LandingError, match=r"names\.csv"):
            convert("kuairand", kuairand, tmp_path / "landing", tag_names=names)
    with pytest.raises(LandingError, match=r"missing\.csv is missing"):
        convert("kuairand", kuairand, tmp_path / "landing", tag_names=tmp_path / "missing.csv")


def test_kuairand_may_lack_optional_columns_and_carry_a_label(tmp_path):
    drop = ["is_like", "is_rand", "long_view", "duration_ms", "is_click"]
    rows = [{"user_id": 0, "video_id": 10, "play_time_ms": 500, "is_hate": 1}, {"user_id": 1, "video_id": 10}]
    labelled = log_text(rows, drop).replace("is_hate", "label")
    source = text(
        tmp_path / "source", log_standard_x__csv=labelled, log_random_x__csv=log_text(RANDOM, drop),
        video_features_basic_x__csv="video_id,tag\n10,1\n12,\n11,\n",
    )  # fmt: skip
    found = convert("kuairand", source, tmp_path / "landing")
    events = read(tmp_path / "landing", "events").select("watch_s", "liked", "completed", "skipped", "positive")
    assert sorted(events.rows()) == [(0.0, None, None, None, False), (0.5, None, None, None, True)]
    assert read(tmp_path / "landing", "feedback")["positive"].to_list() == [None] * 3
    notes = "\n".join(found.notes)
    assert "log_standard_x.csv lacks duration_ms, is_like, is_click: completed, liked, skipped stay empty" in notes
    assert "log_random_x.csv lacks long_view (and label)" in notes
    assert "log_standard_x.csv lacks long_view" not in notes
    assert "video_features_basic_x.csv lacks video_duration, upload_dt" in notes


def test_kuairand_without_random_exposures_says_so(kuairand, tmp_path):
    (kuairand / "data" / "log_random_4_22_pure.csv").unlink()
    found = convert("kuairand", kuairand, tmp_path / "landing")
    assert set(found.rows) == {"items", "events"}
    assert "no random exposures" in found.notes[0]


# Files that keep the contract already --------------------------------------------------------------------------------


def test_landing_files_are_copied_and_their_days_found(tmp_path):
    source = text(tmp_path / "source", items__csv="item_id,title\na,Owls\n")
    text(source / "events" / "day=2026-01-03", x__csv="user_id,item_id,ts\nu,a,2026-01-02T00:00:00Z\n")
    text(
        source,
        events_2__jsonl='{"user_id": "u", "item_id": "a", "ts": "2026-01-05"}\n{"user_id": "v", "item_id": "a"}\n',
    )
    text(source, feedback__csv="request_id,item_id,user_id,ts,policy\n", notes__txt="not for you")
    landing = tmp_path / "landing"
    found = convert("landing", source, landing)
    assert (found.first_day, found.last_day) == (date(2026, 1, 2), date(2026, 1, 5))
    assert found.rows == {"items": 1, "events": 3, "feedback": 0}
    assert found.positive is None
    once = digests(landing)
    assert list(once) == [
        "FORMAT", "events/day=2026-01-03/x.csv", "events/events_2.jsonl", "feedback/feedback.csv", "items/items.csv",
    ]  # fmt: skip
    convert("landing", source, landing)
    convert("landing", landing, landing)
    assert digests(landing) == once


def test_a_later_arrival_is_added_without_items(tmp_path):
    landing = tmp_path / "landing"
    first = text(
        tmp_path / "1", items__csv="item_id,title\na,Owls\n", events__csv="user_id,item_id,ts\nu,a,2026-01-02\n"
    )
    convert("landing", first, landing)
    convert("landing", text(tmp_path / "2", events_b__csv="user_id,item_id,ts\nu,a,2026-01-03\n"), landing)
    with loaded(landing, date(2026, 1, 2), date(2026, 1, 3)) as connection:
        assert connection.execute("SELECT count(*) FROM raw.events").fetchone() == (2,)


def test_a_bad_landing_file_leaves_the_home_untouched(tmp_path):
    landing = tmp_path / "landing"
    source = text(tmp_path / "source", items__csv="item_id,title\na,Owls\n", events__csv="user_id,item\nu,a\n")
    with pytest.raises(LandingError, match=r"events\.csv lacks the required column item_id, ts"):
        convert("landing", source, landing)
    assert not list(landing.iterdir())


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"events__csv": "user_id,item_id,ts\nu,a,2026-01-02\n"}, "holds no items"),
        ({"items__csv": "item_id,title\na,Owls\n"}, "holds no events"),
        (
            {"items__csv": "item_id,title\na,Owls\n", "events__csv": "user_id,item_id,ts\nu,a,soon\n"},
            "no row with a readable ts",
        ),
        (
            {"items__csv": "item_id,title\na,Owls\n", "FORMAT": '{"format_version": 9}'},
            "says format_version 9",
        ),
    ],
)
def test_a_landing_source_that_lacks_something_is_refused(tmp_path, files, message):
    with pytest.raises(LandingError, match=message):
        convert("landing", text(tmp_path / "source", **files), tmp_path / "landing")


@pytest.mark.parametrize("kind", ["items", "events", "feedback", "outcomes"])
@pytest.mark.parametrize(
    ("flat", "in_folder"),
    [("{}.csv", "{}.csv"), ("{}_2.jsonl", "{}_2.jsonl"), ("{}.CSV", "{}.csv"), ("{}é.csv", "{}e\u0301.csv")],
)
def test_two_landing_files_with_one_target_are_refused_before_anything_is_written(
    tmp_path, comes_out, kind, flat, in_folder
):
    files = {"items": "item_id,title\na,Owls\n", "events": "user_id,item_id,ts\nu,a,2026-01-02\n"}
    source = text(tmp_path / "source", **{f"{name}__csv": content for name, content in files.items() if name != kind})
    first, second = source / flat.format(kind), source / kind / in_folder.format(kind)
    second.parent.mkdir()
    for path in (first, second):
        path.write_text(files.get(kind, "request_id,item_id,user_id,ts,policy\n"))
    told = f"{kind}/{second.name} and {first.name}, and both would become {kind}/{first.name}: rename one of them"
    with pytest.raises(LandingError, match=re.escape(told)):
        convert("landing", source, tmp_path / "landing")
    assert not list((tmp_path / "landing").iterdir())
    comes_out("targets", f"`{first.name}` beside `{kind}/{second.name}`", f"refused before writing: {told}")


@pytest.mark.parametrize("kind", ["items", "events", "feedback", "outcomes"])
def test_files_of_one_name_in_several_days_are_all_kept(tmp_path, comes_out, kind):
    source = text(
        tmp_path / "source",
        items_0__csv="item_id,title\na,Owls\n",
        events_0__csv="user_id,item_id,ts\nu,a,2026-01-02\n",
    )
    header = {
        "items": "item_id,title\na,{}\n", "events": "user_id,item_id,ts\n{},a,2026-01-02\n",
        "feedback": "request_id,item_id,user_id,ts,policy\n{},a,u,2026-01-02,random\n",
        "outcomes": "request_id,item_id,ts\n{},a,2026-01-02\n",
    }[kind]  # fmt: skip
    places = [".", "day=2026-01-02", "day=2026-01-03"]
    for place in places:
        text(source / kind / place, **{f"{kind}__csv": header.format(place)})
    convert("landing", source, tmp_path / "landing")
    for place in places:
        assert (tmp_path / "landing" / kind / place / f"{kind}.csv").read_text() == header.format(place)
    comes_out("targets", f"`{kind}/{kind}.csv` beside `{kind}/day=2026-01-02/{kind}.csv`", "both are kept")


def test_files_that_are_replaced_are_told(tmp_path, comes_out):
    for user in ("u", "u", "v"):
        events = f"user_id,item_id,ts\n{user},a,2026-01-02\n"
        source = text(tmp_path / "source", items__csv="item_id,title\na,Owls\n", events__csv=events)
        found = convert("landing", source, tmp_path / "landing")
        told = ("1 files had other content and were replaced: events/events.csv",) if user == "v" else ()
        assert found.notes == told
    comes_out("targets", "a second `events.csv` from another day of export", f"replaced, and told: {told[0]}")


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("movietweetings", {}, r"movies\.dat is missing"),
        ("movietweetings", {"movies__dat": "1::A (2000)::\n"}, r"ratings\.dat is missing"),
        ("movietweetings", {"movies__dat": "", "ratings__dat": "1::1::5::1\n"}, r"movies\.dat is empty"),
        ("movietweetings", {"movies__dat": "1::A::\n", "ratings__dat": ""}, r"ratings\.dat is empty"),
        ("movietweetings", {"movies__dat": "1::A::\nA|B\n", "ratings__dat": "1::1::5::1\n"}, r"movies\.dat, line 2"),
        (
            "movietweetings",
            {"movies__dat": "1::A::\n", "ratings__dat": "1,1,5,1\n"},
            r"ratings\.dat, line 1: the row has 1 fields",
        ),
        ("movielens", {}, r"neither ratings\.csv nor ratings\.dat \(1m\) nor u\.data"),
        ("movielens", {"ratings__csv": "userId,movieId,rating\n"}, r"movies\.csv is missing"),
        (
            "movielens",
            {"ratings__csv": "userId,movieId,rating\n1,1,5\n", "movies__csv": "movieId,title,genres\n1,A,\n"},
            r"ratings\.csv lacks the column timestamp",
        ),
        ("movielens", {"ratings__csv": "", "movies__csv": "movieId,title,genres\n"}, r"ratings\.csv is empty"),
        (
            "movielens",
            {"ratings__csv": "userId,movieId,rating,timestamp\n1,1,5,1\n", "movies__csv": "movieId,title,genres\n"},
            "holds no items",
        ),
        ("kuairand", {}, r"holds log_\*\.csv"),
        ("kuairand", {"log_standard__csv": "user_id,video_id\n"}, r"log_standard\.csv lacks the column time_ms"),
        ("kuairand", {"log_standard__csv": log_text([])}, r"holds video_features_basic\*\.csv"),
        (
            "kuairand",
            {"log_standard__csv": log_text([]), "video_features_basic__csv": FEATURES},
            "no event with a readable",
        ),
        ("netflix", {}, "unknown format 'netflix': one of movietweetings, movielens, kuairand, landing"),
    ],
)
def test_a_source_that_is_not_of_the_format_is_refused(tmp_path, name, files, message):
    landing = text(tmp_path / "landing", keep__txt="as it was")
    with pytest.raises(LandingError, match=message):
        convert(name, text(tmp_path / "source", **files), landing)
    assert list(digests(landing)) == ["keep.txt"]


def test_a_source_that_is_no_folder_and_needless_tag_names_are_refused(tweetings, tmp_path):
    with pytest.raises(LandingError, match="is not a folder"):
        convert("movielens", tmp_path / "nowhere", tmp_path / "landing")
    with pytest.raises(LandingError, match="kuairand only"):
        convert("movietweetings", tweetings, tmp_path / "landing", tag_names=tmp_path / "names.csv")


def test_binary_rubbish_is_refused(tmp_path):
    source = text(tmp_path / "source", movies__csv="movieId,title,genres\n1,A,\n")
    (source / "ratings.csv").write_bytes(bytes(range(256)) * 8)
    with pytest.raises(LandingError, match=r"ratings\.csv"):
        convert("movielens", source, tmp_path / "landing")


def test_a_home_of_a_newer_format_is_refused(tweetings, tmp_path):
    landing = text(tmp_path / "landing", FORMAT='{"format_version": 2}')
    with pytest.raises(LandingError, match="says format_version 2"):
        convert("movietweetings", tweetings, landing)


def test_the_log_hears_of_each_step(tweetings, tmp_path):
    lines: list[str] = []
    convert("movietweetings", tweetings, tmp_path / "landing", log=lines.append)
    assert any("writing 3 rows of events" in line for line in lines)
