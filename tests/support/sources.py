"""Data sets of a chosen size in every format that `alignrec ingest` reads, made of one small world of films."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from models.files import write_json

FIRST = datetime(2026, 1, 5, tzinfo=UTC)
TOPICS = (
    *("western", "space opera", "detective", "romance", "cooking", "wildlife", "football", "jazz", "history"),
    *("chess", "gardening", "travel", "horror", "puppets", "sailing", "opera"),
)
DAYS = 20


def interactions(rows: int, seed: int = 3, days: int = DAYS) -> pl.DataFrame:
    """Rows of users (10 each in the mean) who like some topics; columns user, item, topic, second, likes."""
    rng = np.random.default_rng(seed)
    users = max(rows // 10, 1)
    items = max(rows // 10, 60)
    user = rng.integers(users, size=rows)
    item = rng.integers(items, size=rows)
    taste = rng.random((users, len(TOPICS)))
    likes = rng.random(rows) < taste[user, item % len(TOPICS)] * 0.8 + 0.2
    second = np.sort(rng.integers(days * 86_400, size=rows)) + int(FIRST.timestamp())
    frame = pl.DataFrame({"user": user, "item": item, "topic": item % len(TOPICS), "second": second, "likes": likes})
    return frame.unique(["user", "item", "second"], maintain_order=True)


def catalogue(frame: pl.DataFrame) -> list[tuple[int, str, str]]:
    """Id, title and topic of every item."""
    items = frame.select("item", "topic").unique().sort("item")
    return [(item, f"{TOPICS[topic]} number {item}", TOPICS[topic]) for item, topic in items.iter_rows()]


def movietweetings(folder: Path, frame: pl.DataFrame) -> None:
    """See ``convert_movietweetings``."""
    _dat(folder, frame, 9, 4)


def movielens(folder: Path, frame: pl.DataFrame) -> None:
    """The CSV files of MovieLens."""
    rated = frame.select(
        pl.col("user").alias("userId"),
        pl.col("item").alias("movieId"),
        pl.when("likes").then(4.5).otherwise(2.0).alias("rating"),
        pl.col("second").alias("timestamp"),
    )
    rated.write_csv(folder / "ratings.csv")
    films = pl.DataFrame(catalogue(frame), schema=["movieId", "title", "genres"], orient="row")
    films.write_csv(folder / "movies.csv")


def movielens_1m(folder: Path, frame: pl.DataFrame) -> None:
    """The files of MovieLens 1m, with colons between the fields."""
    _dat(folder, frame, 5, 2)


def movielens_100k(folder: Path, frame: pl.DataFrame) -> None:
    """The files of MovieLens 100k: each film has a flag for each of 19 genres."""
    lines = (f"{user}\t{item}\t{5 if likes else 2}\t{second}" for user, item, _, second, likes in frame.iter_rows())
    (folder / "u.data").write_text("\n".join(lines) + "\n", encoding="latin-1")
    films = []
    for item, title, topic in catalogue(frame):
        flags = "|".join("1" if genre in (TOPICS.index(topic), (item // 3) % 19) else "0" for genre in range(19))
        films.append(f"{item}|{title} (1995)|01-Jan-1995||http://film|{flags}")
    (folder / "u.item").write_text("\n".join(films) + "\n", encoding="latin-1")


def kuairand(folder: Path, frame: pl.DataFrame) -> None:
    """Logs of KuaiRand: a fifth of the rows are random exposures."""
    log = frame.select(
        pl.col("user").alias("user_id"),
        pl.col("item").alias("video_id"),
        (pl.col("second") * 1000).alias("time_ms"),
        pl.col("likes").cast(pl.Int8).alias("is_click"),
        pl.col("likes").cast(pl.Int8).alias("long_view"),
        pl.lit(30_000).alias("play_time_ms"),
        pl.lit(60_000).alias("duration_ms"),
    )
    at_random = pl.Series(np.random.default_rng(1).random(frame.height) < 0.2)
    log.filter(~at_random).write_csv(folder / "log_standard.csv")
    log.filter(at_random).write_csv(folder / "log_random.csv")
    rows = [(item, f"{TOPICS.index(topic)},{20 + item % 7}") for item, _, topic in catalogue(frame)]
    pl.DataFrame(rows, schema=["video_id", "tag"], orient="row").write_csv(folder / "video_features_basic.csv")


def landing(folder: Path, frame: pl.DataFrame) -> None:
    """Files of the data contract with ratings alone, as Parquet, CSV and JSON Lines."""
    (folder / "items").mkdir()
    items = [{"item_id": f"i{item}", "title": title, "tags": [topic]} for item, title, topic in catalogue(frame)]
    (folder / "items" / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    events = frame.select(
        pl.format("u{}", "user").alias("user_id"),
        pl.format("i{}", "item").alias("item_id"),
        pl.from_epoch("second").alias("ts"),
        pl.when("likes").then(4.0).otherwise(1.0).alias("rating"),
    )
    (folder / "events").mkdir()
    half = events.height // 2
    events.head(half).write_parquet(folder / "events" / "early.parquet")
    events.tail(events.height - half).write_csv(folder / "events_late.csv")


def logged(folder: Path, frame: pl.DataFrame) -> None:
    """Files of the data contract with random exposures and outcomes beside plays that say nothing."""
    landing(folder, frame)
    for path in (folder / "events" / "early.parquet", folder / "events_late.csv"):
        path.unlink()
    plays = frame.select(
        pl.format("u{}", "user").alias("user_id"),
        pl.format("i{}", "item").alias("item_id"),
        pl.from_epoch("second").alias("ts"),
        pl.format("r{}", pl.int_range(pl.len())).alias("request_id"),
        pl.lit("random").alias("policy"),
        pl.col("likes").alias("positive"),
    )
    half = plays.height // 2
    plays.head(half).select("user_id", "item_id", "ts").write_parquet(folder / "events" / "plays.parquet")
    shown = plays.tail(plays.height - half)
    (folder / "feedback").mkdir()
    shown.drop("positive").write_csv(folder / "feedback" / "shown.csv")
    answers = shown.filter("positive").select("request_id", "item_id", "ts", "positive")
    (folder / "outcomes").mkdir()
    answers.write_parquet(folder / "outcomes" / "answers.parquet")
    write_json(folder / "FORMAT", {"format_version": 1})


def _dat(folder: Path, frame: pl.DataFrame, high: int, low: int) -> None:
    lines = (
        f"{user}::{item}::{high if likes else low}::{second}" for user, item, _, second, likes in frame.iter_rows()
    )
    (folder / "ratings.dat").write_text("\n".join(lines) + "\n", encoding="utf-8")
    films = (f"{item}::{title} (1995)::{topic}" for item, title, topic in catalogue(frame))
    (folder / "movies.dat").write_text("\n".join(films) + "\n", encoding="utf-8")


SOURCES = {
    "movietweetings": ("movietweetings", movietweetings),
    "movielens": ("movielens", movielens),
    "movielens 1m": ("movielens", movielens_1m),
    "movielens 100k": ("movielens", movielens_100k),
    "kuairand": ("kuairand", kuairand),
    "landing": ("landing", landing),
    "landing with impressions": ("landing", logged),
}
"""Each kind of source: its format, and what writes it."""


def write_source(kind: str, folder: Path, frame: pl.DataFrame) -> tuple[str, Path]:
    """Write a data set; returns the format and the folder, as `alignrec ingest` takes them."""
    data_format, write = SOURCES[kind]
    folder.mkdir(parents=True)
    write(folder, frame)
    return data_format, folder
