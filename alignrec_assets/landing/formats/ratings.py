"""Data sets of film ratings: MovieTweetings and MovieLens (latest, 25m and 1m, 100k)."""

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import polars as pl

from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.formats.reading import Field, flag, identifier, moment, number, words
from alignrec_assets.landing.formats.records import Layout
from alignrec_assets.landing.formats.sources import Source
from alignrec_assets.landing.formats.writing import Ingested, write_landing
from alignrec_assets.landing.loading import PositiveRule
from models.progress import Log

_TITLE_YEAR = re.compile(r"^(?P<title>.*\S)\s*\((?P<year>(?:18|19|20)\d\d)(?:\s*[-–]\s*(?:\d{4})?)?\s*\)$", re.DOTALL)
"""How the film sets write a title with its year of release, or with the years of a series."""
_NO_GENRES = "(no genres listed)"
_MOVIELENS_100K_GENRES = (
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_ITEMS: dict[str, pl.DataType] = {
    "item_id": pl.String(),
    "title": pl.String(),
    "tags": pl.List(pl.String),
    "published_at": pl.Datetime("us"),
}
_FILM = {"item_id": identifier("item_id"), "title": words("title", required=True), "genres": words("genres")}


def convert_movietweetings(source: Source, landing: Path, log: Log) -> Ingested:
    """Convert ``ratings.dat`` and ``movies.dat`` of MovieTweetings.

    Raises:
        LandingError: naming the file that is missing or is not of this format.
    """
    frames = {
        "items": _double_colon_items(source, latin_1=False),
        "events": _plain_events(source, "ratings.dat", "::"),
    }
    return write_landing(source, landing, frames, _rating_rule(7.0), log)


def convert_movielens(source: Source, landing: Path, log: Log) -> Ingested:
    """Convert a MovieLens folder: ``ratings.csv``, or ``ratings.dat`` (1m), or ``u.data`` (100k), with its films.

    Raises:
        LandingError: naming the file or column that is missing, or that is not of this format.
    """
    if (source.folder / "ratings.csv").exists():
        frames = {"items": _csv_items(source), "events": _csv_events(source)}
    elif (source.folder / "ratings.dat").exists():
        frames = {
            "items": _double_colon_items(source, latin_1=True),
            "events": _plain_events(source, "ratings.dat", "::"),
        }
    elif (source.folder / "u.data").exists():
        frames = {"items": _pipe_items(source), "events": _plain_events(source, "u.data", "\t")}
    else:
        raise LandingError(
            f"{source.folder} is no MovieLens folder: "
            "it holds neither ratings.csv nor ratings.dat (1m) nor u.data (100k)"
        )
    return write_landing(source, landing, frames, _rating_rule(4.0), log)


def _rating_rule(at_least: float) -> PositiveRule:
    return PositiveRule(watch_share=None, rating_at_least=at_least, liked=False, completed=False, when_unknown=False)


def split_title(text: str) -> tuple[str, datetime | None]:
    """``Heat (1995)`` as its title and the first moment of its year; a title without a year is left as it is."""
    found = _TITLE_YEAR.match(text.strip())
    if found is None:
        return text.strip(), None
    return found["title"], datetime(int(found["year"]), 1, 1)


def _items(films: Iterable[tuple[str, str, list[str]]]) -> pl.LazyFrame:
    """Items from the id, title and tags of films."""
    rows = []
    for item_id, title, tags in films:
        name, published_at = split_title(title)
        named = [tag.strip() for tag in tags if tag.strip() and tag.strip() != _NO_GENRES]
        rows.append((item_id, name, named or None, published_at))
    return pl.LazyFrame(rows, schema=_ITEMS, orient="row")


def _double_colon_items(source: Source, *, latin_1: bool) -> pl.LazyFrame:
    """``id::title (year)::Genre|Genre``."""
    layout = Layout(tuple(_FILM), "::", latin_1=latin_1)
    films = source.plain(source.folder / "movies.dat", layout, _FILM).collect()
    return _items((item_id, title, (genres or "").split("|")) for item_id, title, genres in films.iter_rows())


def _pipe_items(source: Source) -> pl.LazyFrame:
    """MovieLens 100k: ``id|title (year)|release date|video date|address|`` and a 0 or 1 for each genre."""
    layout = Layout(("item_id", "title", "released", "video", "address", *_MOVIELENS_100K_GENRES), "|", latin_1=True)
    flags = {genre: flag(genre, required=True) for genre in _MOVIELENS_100K_GENRES}
    fields = {"item_id": identifier("item_id"), "title": words("title", required=True), **flags}
    films = source.plain(source.folder / "u.item", layout, fields).collect()
    return _items(
        (item_id, title, [genre for genre, is_one in zip(flags, has, strict=True) if is_one])
        for item_id, title, *has in films.iter_rows()
    )


def _plain_events(source: Source, name: str, separator: str) -> pl.LazyFrame:
    """``user, item, rating, seconds since 1970`` between the separators, in that order and without a header."""
    columns = ("user_id", "item_id", "rating", "ts")
    return source.plain(source.folder / name, Layout(columns, separator), _rating(*columns))


def _rating(user: str, item: str, rating: str, seconds: str) -> dict[str, Field]:
    return {
        "user_id": identifier(user),
        "item_id": identifier(item),
        "ts": moment(seconds, per_second=1),
        "rating": number(rating, required=True),
    }


def _csv_events(source: Source) -> pl.LazyFrame:
    return source.csv(source.folder / "ratings.csv", _rating("userId", "movieId", "rating", "timestamp")).rows


def _csv_items(source: Source) -> pl.LazyFrame:
    """Films with their genres, then the tags that users gave, the most given first."""
    fields = {"item_id": identifier("movieId"), "title": words("title", required=True), "genres": words("genres")}
    films = source.csv(source.folder / "movies.csv", fields).rows.collect()
    given = _user_tags(source)
    return _items(
        (item_id, title, [*(genres or "").split("|"), *given.get(item_id, [])])
        for item_id, title, genres in films.iter_rows()
    )


def _user_tags(source: Source) -> dict[str, list[str]]:
    path = source.folder / "tags.csv"
    if not path.exists():
        source.notes.append(f"{path.name} is missing: films carry their genres alone")
        return {}
    tags = (
        source.csv(path, {"item_id": identifier("movieId"), "tag": words("tag")})
        .rows.select("item_id", pl.col("tag").str.to_lowercase())
        .drop_nulls()
        .group_by("item_id", "tag")
        .len()
        .sort("item_id", "len", "tag", descending=[False, True, False])
        .group_by("item_id", maintain_order=True)
        .agg("tag")
    )
    return dict(tags.collect().iter_rows())
