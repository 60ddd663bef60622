"""KuaiRand (Pure, 1K, 27K): logs of a feed, with random exposures that become feedback."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from alignrec_assets.landing.data_contract import LandingError
from alignrec_assets.landing.formats.reading import moment, number, scan_csv
from alignrec_assets.landing.formats.writing import Ingested, write_landing
from alignrec_assets.landing.loading import PositiveRule
from models.progress import Log

_KEYS = ["user_id", "video_id", "time_ms"]
_OUTCOMES = {
    "play_time_ms": "watch_s",
    "duration_ms": "completed",
    "is_like": "liked",
    "is_forward": "shared",
    "is_click": "skipped",
}
"""Optional columns of a log, and the column of the data contract that each of them gives."""
_RULE = PositiveRule(watch_share=0.5, rating_at_least=None, liked=True, completed=True, when_unknown=False)


@dataclass(frozen=True)
class _LogFile:
    path: Path
    rows: pl.LazyFrame
    columns: list[str]

    def flag(self, column: str) -> pl.Expr:
        """Whether a 0-or-1 column is 1; null where the file lacks it."""
        return number(column) == 1 if column in self.columns else pl.lit(None, pl.Boolean)

    def random(self) -> pl.Expr:
        """Whether a row is a random exposure: by ``is_rand``, else by the name of the file."""
        named = self.path.name.startswith("log_random")
        return self.flag("is_rand").fill_null(named)


def convert_kuairand(source: Path, landing: Path, tag_names: Path | None, log: Log) -> Ingested:
    """Convert the logs and ``video_features_basic_*.csv`` of KuaiRand, in ``source`` or in its folder ``data``.

    What users did in the standard feed becomes events. Random exposures become feedback of the policy ``random`` and no
    events; the propensity is one over the number of videos that were exposed at random.

    Args:
        source: folder of the data set.
        landing: landing folder of the home.
        tag_names: CSV file of tag id and name; without it a tag is called ``tag:<id>``.
        log: told of each step.

    Raises:
        LandingError: naming the file or column that is missing.
    """
    notes: list[str] = []
    logs = [_open_log(path, notes) for path in _files(source, "log_*.csv")]
    frames = {
        "items": _items(_files(source, "video_features_basic*.csv"), tag_names, notes),
        "events": pl.concat([file.rows.filter(~file.random()).select(_event(file)) for file in logs]),
    }
    exposed = pl.concat([file.rows.filter(file.random()).select("video_id") for file in logs])
    videos = exposed.select(pl.col("video_id").n_unique()).collect().item()
    if videos:
        frames["feedback"] = pl.concat(
            [file.rows.filter(file.random()).select(_exposure(file, videos)) for file in logs]
        )
    else:
        notes.append(f"{source} holds no random exposures (log_random_*.csv, or is_rand = 1): there is no feedback")
    return write_landing(source, landing, frames, _RULE, notes, log)


def _files(source: Path, pattern: str) -> list[Path]:
    found = sorted(source.glob(pattern)) or sorted((source / "data").glob(pattern))
    if not found:
        raise LandingError(f"{source} is no KuaiRand folder: neither it nor its folder data holds {pattern}")
    return found


def _open_log(path: Path, notes: list[str]) -> _LogFile:
    rows = scan_csv(path, _KEYS)
    columns = rows.collect_schema().names()
    missing = [name for name in _OUTCOMES if name not in columns]
    if missing:
        gives = ", ".join(_OUTCOMES[name] for name in missing)
        notes.append(f"{path.name} lacks {', '.join(missing)}: {gives} stay empty")
    if "long_view" not in columns and "label" not in columns:
        notes.append(f"{path.name} lacks long_view (and label): positive is derived by the rule in the settings")
    return _LogFile(path, rows, columns)


def _outcomes(file: _LogFile) -> list[pl.Expr]:
    has = set(file.columns)
    watched = number("play_time_ms") if "play_time_ms" in has else pl.lit(None, pl.Float64)
    length = number("duration_ms") if "duration_ms" in has else pl.lit(None, pl.Float64)
    played_out = pl.when(length > 0).then(watched >= length)  # duration_ms is 0 where the platform did not know it
    positive = "long_view" if "long_view" in has else "label"
    return [
        (watched / 1000).alias("watch_s"),
        played_out.alias("completed"),
        file.flag("is_like").alias("liked"),
        file.flag("is_forward").alias("shared"),
        (~file.flag("is_click")).alias("skipped"),
        file.flag(positive).alias("positive"),
    ]


def _who_what_when() -> list[pl.Expr]:
    return [
        pl.col("user_id").str.strip_chars(),
        pl.col("video_id").str.strip_chars().alias("item_id"),
        moment("time_ms", per_second=1000).alias("ts"),
    ]


def _event(file: _LogFile) -> list[pl.Expr]:
    return [*_who_what_when(), *_outcomes(file)]


def _exposure(file: _LogFile, videos: int) -> list[pl.Expr]:
    """The log has no request ids: the id of an exposure is made of user, video and time."""
    request = pl.concat_str([pl.col(name).str.strip_chars() for name in _KEYS], separator="-")
    return [
        request.alias("request_id"),
        *_who_what_when(),
        pl.lit(None, pl.List(pl.Int32)).alias("history"),
        pl.lit(None, pl.Int32).alias("cluster_id"),
        pl.lit("random").alias("policy"),
        pl.lit(None, pl.String).alias("table_version"),
        pl.lit(None, pl.String).alias("taxonomy_version"),
        pl.lit(1 / videos).alias("propensity"),
        *_outcomes(file),
    ]


def _items(paths: list[Path], tag_names: Path | None, notes: list[str]) -> pl.LazyFrame:
    names = _read_tag_names(tag_names) if tag_names is not None else {}
    frames = []
    for path in paths:
        rows = scan_csv(path, ["video_id", "tag"])
        columns = rows.collect_schema().names()
        missing = [name for name in ("video_duration", "upload_dt") if name not in columns]
        if missing:
            notes.append(f"{path.name} lacks {', '.join(missing)}")
        frames.append(rows.select(_item(columns, names)))
    return pl.concat(frames)


def _item(columns: list[str], names: dict[str, str]) -> list[pl.Expr]:
    called = pl.element().str.strip_chars().replace_strict(
        names, default="tag:" + pl.element().str.strip_chars(), return_dtype=pl.String
    ) if names else "tag:" + pl.element().str.strip_chars()  # fmt: skip
    ids = pl.col("tag").str.split(",").list.eval(pl.element().filter(pl.element().str.strip_chars() != ""))
    tags = pl.when(ids.list.len() > 0).then(ids.list.eval(called))
    length = number("video_duration") / 1000 if "video_duration" in columns else pl.lit(None, pl.Float64)
    uploaded = pl.col("upload_dt").str.head(10).str.to_date("%Y-%m-%d", strict=False)
    return [
        pl.col("video_id").str.strip_chars().alias("item_id"),
        tags.alias("tags"),
        # An item needs a title, tags or a category: items without tags get the category `untagged`.
        pl.when(tags.is_null()).then(pl.lit("untagged")).alias("category"),
        pl.when(length > 0).then(length).alias("duration_s"),
        (uploaded.cast(pl.Datetime("us")) if "upload_dt" in columns else pl.lit(None, pl.Datetime("us"))).alias(
            "published_at"
        ),
    ]


def _read_tag_names(path: Path) -> dict[str, str]:
    """First column the id, second the name; a first line without a number is a header."""
    if not path.is_file():
        raise LandingError(f"{path} is missing: name a CSV file of tag id and tag name, or leave it out")
    try:
        rows = pl.read_csv(path, has_header=False, infer_schema=False, truncate_ragged_lines=True)
    except pl.exceptions.PolarsError as error:
        raise LandingError(f"{path} is no CSV file of tag id and tag name") from error
    if rows.width < 2:
        raise LandingError(f"{path} has one column: tag id and tag name are needed, with a comma between them")
    pairs = rows.select(pl.nth(0, 1)).drop_nulls()
    return {tag.strip(): name.strip() for tag, name in pairs.iter_rows() if tag.strip().isdigit() and name.strip()}
