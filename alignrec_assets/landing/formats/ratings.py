"""Data sets of film ratings: MovieTweetings and MovieLens (latest, 25m and 1m, 100k)."""

import re
from datetime import datetime
from pathlib import Path

import polars as pl

from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.formats.reading import moment, require_content, scan_csv
from alignrec_assets.landing.formats.writing import Ingested, write_landing
from alignrec_assets.landing.loading import PositiveRule
from models.progress import Log

_TITLE_YEAR = re.compile(r"^(?P<title>.*\S)\s*\((?P<year>\d{4})(?:\s*[-–]\s*(?:\d{4})?)?\s*\)$")
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


def convert_movietweetings(source: Path, landing: Path, tag_names: Path | None, log: Log) -> Ingested:  # noqa: ARG001
    """Convert ``ratings.dat`` and ``movies.dat`` of MovieTweetings.

    Raises:
        LandingError: naming the file that is missing or is not of this format.
    """
    frames = {"items": _double_colon_items(source / "movies.dat"), "events": _dat_events(source / "ratings.dat", "::")}
    return write_landing(source, landing, frames, _rating_rule(7.0), [], log)


def convert_movielens(source: Path, landing: Path, tag_names: Path | None, log: Log) -> Ingested:  # noqa: ARG001
    """Convert a MovieLens folder: ``ratings.csv``, or ``ratings.dat`` (1m), or ``u.data`` (100k), with its films.

    Raises:
        LandingError: naming the file or column that is missing, or that is not of this format.
    """
    notes: list[str] = []
    if (source / "ratings.csv").exists():
        frames = {"items": _csv_items(source, notes), "events": _csv_events(source / "ratings.csv")}
    elif (source / "ratings.dat").exists():
        frames = {
            "items": _double_colon_items(source / "movies.dat"),
            "events": _dat_events(source / "ratings.dat", "::"),
        }
    elif (source / "u.data").exists():
        frames = {"items": _pipe_items(source / "u.item"), "events": _dat_events(source / "u.data", "\t")}
    else:
        raise LandingError(
            f"{source} is no MovieLens folder: it holds neither ratings.csv nor ratings.dat (1m) nor u.data (100k)"
        )
    return write_landing(source, landing, frames, _rating_rule(4.0), notes, log)


def _rating_rule(at_least: float) -> PositiveRule:
    return PositiveRule(watch_share=None, rating_at_least=at_least, liked=False, completed=False, when_unknown=False)


def split_title(text: str) -> tuple[str, datetime | None]:
    """``Heat (1995)`` as its title and the first moment of its year; a title without a year is left as it is."""
    found = _TITLE_YEAR.match(text.strip())
    if found is None or int(found["year"]) == 0:
        return text.strip(), None
    return found["title"], datetime(int(found["year"]), 1, 1)


def _item(item_id: str, title: str, tags: list[str]) -> tuple[str, str, list[str] | None, datetime | None]:
    words, published_at = split_title(title)
    named = [tag.strip() for tag in tags if tag.strip() and tag.strip() != _NO_GENRES]
    return item_id.strip(), words, named or None, published_at


def _items_frame(rows: list[tuple[str, str, list[str] | None, datetime | None]]) -> pl.LazyFrame:
    return pl.LazyFrame(rows, schema=_ITEMS, orient="row")


def _read_lines(path: Path) -> list[str]:
    """Lines of a catalogue in UTF-8 or, as the older MovieLens sets, Latin-1."""
    if not path.exists():
        raise LandingError(f"{path} is missing: the folder of the data set should hold it")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return [line for line in text.splitlines() if line.strip()]


def _fields(path: Path, separator: str, at_least: int) -> list[list[str]]:
    """Fields of each line.

    Raises:
        LandingError: naming the line that has too few.
    """
    rows = [line.split(separator) for line in _read_lines(path)]
    if not rows:
        raise LandingError(f"{path} is empty: fetch it again")
    for number, row in enumerate(rows, start=1):
        if len(row) < at_least:
            raise LandingError(
                f"{path}, line {number}: fewer than {at_least} fields between {separator!r}: fix the line"
            )
    return rows


def _double_colon_items(path: Path) -> pl.LazyFrame:
    """``id::title (year)::Genre|Genre``."""
    return _items_frame([_item(row[0], "::".join(row[1:-1]), row[-1].split("|")) for row in _fields(path, "::", 3)])


def _pipe_items(path: Path) -> pl.LazyFrame:
    """MovieLens 100k: ``id|title (year)|release date|video date|address|`` and a 0 or 1 for each genre."""
    rows = _fields(path, "|", 5 + len(_MOVIELENS_100K_GENRES))
    flagged = [
        [genre for genre, flag in zip(_MOVIELENS_100K_GENRES, row[5:], strict=False) if flag == "1"] for row in rows
    ]
    return _items_frame([_item(row[0], row[1], genres) for row, genres in zip(rows, flagged, strict=True)])


def _dat_events(path: Path, separator: str) -> pl.LazyFrame:
    """``user, item, rating, seconds since 1970`` between ``::`` or tabs, in that order and without a header."""
    require_content(path)
    names = ["user_id", "item_id", "rating", "seconds"]
    # The reader allows one byte as separator, so there is an empty field between the two colons.
    columns = [name for field in names for name in (field, f"after_{field}")][:-1] if separator == "::" else names
    rows = pl.scan_csv(
        path,
        separator=separator[0],
        has_header=False,
        quote_char=None,
        schema=dict.fromkeys(columns, pl.String),
        truncate_ragged_lines=True,
        missing_columns="insert",
        glob=False,
    )
    return _events(rows, *names)


def _events(rows: pl.LazyFrame, user: str, item: str, rating: str, seconds: str) -> pl.LazyFrame:
    return rows.select(
        pl.col(user).str.strip_chars().alias("user_id"),
        pl.col(item).str.strip_chars().alias("item_id"),
        moment(seconds, per_second=1).alias("ts"),
        pl.col(rating).cast(pl.Float64, strict=False).alias("rating"),
    )


def _csv_events(path: Path) -> pl.LazyFrame:
    return _events(
        scan_csv(path, ["userId", "movieId", "rating", "timestamp"]), "userId", "movieId", "rating", "timestamp"
    )


def _csv_items(source: Path, notes: list[str]) -> pl.LazyFrame:
    """Films with their genres, then the tags that users gave, the most given first."""
    films = scan_csv(source / "movies.csv", ["movieId", "title", "genres"]).collect()
    given = _user_tags(source / "tags.csv", notes)
    return _items_frame(
        [
            _item(film, title or "", [*(genres or "").split("|"), *given.get(film, [])])
            for film, title, genres in films.select("movieId", "title", "genres").iter_rows()
            if film
        ]
    )


def _user_tags(path: Path, notes: list[str]) -> dict[str, list[str]]:
    if not path.exists():
        notes.append(f"{path.name} is missing: films carry their genres alone")
        return {}
    tags = (
        scan_csv(path, ["movieId", "tag"])
        .select("movieId", pl.col("tag").str.strip_chars().str.to_lowercase())
        .filter(pl.col("tag").str.len_chars() > 0)
        .group_by("movieId", "tag")
        .len()
        .sort("movieId", "len", "tag", descending=[False, True, False])
        .group_by("movieId", maintain_order=True)
        .agg("tag")
    )
    return {film: found for film, found in tags.collect().iter_rows() if film}
