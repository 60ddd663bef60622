"""KuaiRand (Pure, 1K, 27K): logs of a feed, with random exposures that become feedback."""

import csv
import re
from pathlib import Path

import polars as pl

from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.formats.reading import Field, amount, calendar_day, flag, identifier, moment
from alignrec_assets.landing.formats.records import LINE, Layout, read_blocks, require_content, text_of
from alignrec_assets.landing.formats.sources import Source
from alignrec_assets.landing.formats.writing import Ingested, write_landing
from alignrec_assets.landing.loading import PositiveRule
from models.progress import Log

_LOG = {
    "user_id": identifier("user_id"),
    "item_id": identifier("video_id"),
    "ts": moment("time_ms", per_second=1000),
}
_OUTCOMES = {
    "watched_ms": amount("play_time_ms"),
    "length_ms": amount("duration_ms"),
    "liked": flag("is_like"),
    "shared": flag("is_forward"),
    "clicked": flag("is_click"),
}
"""Optional fields of a log."""
_GIVES = {
    "play_time_ms": "watch_s",
    "duration_ms": "completed",
    "is_like": "liked",
    "is_forward": "shared",
    "is_click": "skipped",
}
"""Optional columns of a log, and the column of the data contract that each of them gives."""
_POSITIVE = {"long_view": flag("long_view"), "label": flag("label")}
_RULE = PositiveRule(watch_share=0.5, rating_at_least=None, liked=True, completed=True, when_unknown=False)
_TAG = r"-?[0-9]+(?:\.0+)?"
_QUOTED_TAG = rf"""['"]?{_TAG}['"]?"""
_TAGS = rf"^\s*(?:{_QUOTED_TAG}(?:\s*,\s*{_QUOTED_TAG})*)?\s*$"


def convert_kuairand(source: Source, landing: Path, log: Log) -> Ingested:
    """Convert the logs and ``video_features_basic_*.csv`` of KuaiRand, in the folder of ``source`` or in its ``data``.

    What users did in the standard feed becomes events. Random exposures become feedback of the policy ``random`` and no
    events; the propensity is one over the number of videos that were exposed at random. Without a file of tag names a
    tag is called ``tag:<id>``.

    Raises:
        LandingError: naming the file or column that is missing.
    """
    rows = pl.concat([_log_rows(source, path) for path in _files(source.folder, "log_*.csv")])
    frames = {
        "items": _items(source, _files(source.folder, "video_features_basic*.csv")),
        "events": rows.filter(~pl.col("random")).select(*_LOG, *_outcomes()),
    }
    exposed = rows.filter("random")
    videos = exposed.select(pl.col("item_id").n_unique()).collect().item()
    if videos:
        frames["feedback"] = exposed.select(_exposure(videos))
    else:
        source.notes.append(
            f"{source.folder} holds no random exposures (log_random_*.csv, or is_rand = 1): there is no feedback"
        )
    return write_landing(source, landing, frames, _RULE, log)


def _files(source: Path, pattern: str) -> list[Path]:
    found = sorted(source.glob(pattern)) or sorted((source / "data").glob(pattern))
    if not found:
        raise LandingError(f"{source} is no KuaiRand folder: neither it nor its folder data holds {pattern}")
    return found


def _log_rows(source: Source, path: Path) -> pl.LazyFrame:
    """Rows of a log; ``random`` tells a random exposure, by ``is_rand``, else by the name of the file."""
    table = source.csv(path, _LOG, {**_OUTCOMES, **_POSITIVE, "is_rand": flag("is_rand")})
    missing = [name for name in _GIVES if name in table.missing]
    if missing:
        gives = ", ".join(_GIVES[name] for name in missing)
        source.notes.append(f"{path.name} lacks {', '.join(missing)}: {gives} stay empty")
    if {"long_view", "label"} <= set(table.missing):
        source.notes.append(f"{path.name} lacks long_view (and label): positive is derived by the rule in the settings")
    positive = "label" if "long_view" in table.missing else "long_view"
    return table.rows.select(
        *_LOG,
        *_OUTCOMES,
        pl.col(positive).alias("positive"),
        pl.col("is_rand").fill_null(path.name.startswith("log_random")).alias("random"),
    )


def _outcomes() -> list[pl.Expr]:
    watched, length = pl.col("watched_ms"), pl.col("length_ms")
    return [
        (watched / 1000).alias("watch_s"),
        pl.when(length > 0).then(watched >= length).alias("completed"),  # 0 where the platform did not know the length
        pl.col("liked"),
        pl.col("shared"),
        (~pl.col("clicked")).alias("skipped"),
        pl.col("positive"),
    ]


def _exposure(videos: int) -> list[pl.Expr]:
    """The log has no request ids: the id of an exposure is made of user, video and time."""
    request = pl.concat_str("user_id", "item_id", pl.col("ts").dt.epoch("ms"), separator="-")
    return [
        request.alias("request_id"),
        *map(pl.col, _LOG),
        pl.lit(None, pl.List(pl.Int32)).alias("history"),
        pl.lit(None, pl.Int32).alias("cluster_id"),
        pl.lit("random").alias("policy"),
        pl.lit(None, pl.String).alias("table_version"),
        pl.lit(None, pl.String).alias("taxonomy_version"),
        pl.lit(1 / videos).alias("propensity"),
        *_outcomes(),
    ]


def _items(source: Source, paths: list[Path]) -> pl.LazyFrame:
    names = _read_tag_names(source.tag_names) if source.tag_names is not None else {}
    frames = []
    for path in paths:
        table = source.csv(
            path,
            {"item_id": identifier("video_id"), "tags": _tag_ids("tag")},
            {"length_ms": amount("video_duration"), "published_at": calendar_day("upload_dt")},
        )
        if table.missing:
            source.notes.append(f"{path.name} lacks {', '.join(table.missing)}")
        frames.append(table.rows.select(_item(names)))
    return pl.concat(frames)


def _tag_ids(column: str) -> Field:
    """Ids of tags with commas between them, as ``3,14`` or ``[3, 14]``."""

    def parse(text: pl.Series) -> pl.Series:
        bare = text.str.replace(r"^\[(.*)\]$", "$1")
        readable = bare.set(~bare.str.contains(_TAGS), None)
        return readable.str.extract_all(_TAG).list.eval(pl.element().str.replace(r"\.0+$", ""))

    return Field(column, parse, "a list of tag ids with commas between them")


def _item(names: dict[str, str]) -> list[pl.Expr]:
    called = pl.lit("tag:") + pl.element()
    if names:
        called = pl.element().replace_strict(names, default=called, return_dtype=pl.String)
    tags = pl.when(pl.col("tags").list.len() > 0).then(pl.col("tags").list.eval(called))
    length = pl.col("length_ms") / 1000
    return [
        pl.col("item_id"),
        tags.alias("tags"),
        # An item needs a title, tags or a category: items without tags get the category `untagged`.
        pl.when(tags.is_null()).then(pl.lit("untagged")).alias("category"),
        pl.when(length > 0).then(length).alias("duration_s"),
        pl.col("published_at"),
    ]


def _read_tag_names(path: Path) -> dict[str, str]:
    """First column the id, second the name; a first line without a number is a header.

    Raises:
        LandingError: naming the line that is not of this form.
    """
    require_content(path)
    with path.open("rb") as stream:
        width = len(next(csv.reader([text_of(path, stream.readline(), 1)]), []))
    if width < 2:
        raise LandingError(f"{path} has one column: tag id and tag name are needed, with a comma between them")
    names: dict[str, str] = {}
    for block in read_blocks(path, Layout(tuple(map(str, range(width))), ",", quoted=True)):
        for broken in block.broken:
            raise LandingError(f"{path}, line {broken.line}: the row {broken.reason}")
        for tag, name, line in block.rows.select("0", "1", LINE).iter_rows():
            if re.fullmatch(_TAG, (tag or "").strip()):
                names[re.sub(r"\.0+$", "", tag.strip())] = (name or "").strip()
            elif line > 1:
                raise LandingError(f"{path}, line {line}: {tag!r} is not the id of a tag, a whole number")
    return {tag: name for tag, name in names.items() if name}
