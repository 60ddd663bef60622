"""Landing files that keep the data contract already: they are checked and copied into the home."""

import shutil
from datetime import date
from pathlib import Path

import duckdb
import polars as pl

from alignrec_assets.home import FORMAT_VERSION
from alignrec_assets.landing.data_contract import LANDING_COLUMNS, LandingError, LandingFile, file_format
from alignrec_assets.landing.formats.writing import Ingested
from alignrec_assets.landing.survey import check_format, file_days, landing_files
from models.files import content_hash, replacing, write_json
from models.progress import Log


def copy_landing(source: Path, landing: Path, tag_names: Path | None, log: Log) -> Ingested:  # noqa: ARG001
    """Copy landing files: folders ``items``, ``events``, ``feedback``, ``outcomes``, or files such as ``events_2.csv``.

    Every file is opened, and its columns are checked, before the first file is copied. Rows are checked when they are
    loaded. Files of the same name are replaced, others stay, so that later files can be added.

    Raises:
        LandingError: naming the file that breaks the data contract, or the kind that is missing.
    """
    check_format(source)
    files = [file for kind in LANDING_COLUMNS for file in _files(source, kind)]
    kinds = {file.kind for file in files} | {kind for kind in LANDING_COLUMNS if landing_files(landing, kind)}
    for kind in ("items", "events"):
        if kind not in kinds:
            raise LandingError(
                f"{source} holds no {kind}: files are looked for in its folder {kind}/ and as {kind}*.csv, "
                f"{kind}*.jsonl or {kind}*.parquet"
            )
    rows: dict[str, int] = {}
    days: list[date] = []
    for kind in LANDING_COLUMNS:
        of_kind = [file for file in files if file.kind == kind]
        if of_kind:
            log(f"checking {len(of_kind):,} files of {kind}")
            rows[kind], found = _check(source, kind, of_kind)
            days += found
    if not days:
        raise LandingError(f"{source} holds no row with a readable ts: the calendar cannot be told from it")
    log(f"copying {len(files):,} files to {landing}")
    for file in files:
        _copy(source / file.path, landing / _target(file))
    write_json(landing / "FORMAT", {"format_version": FORMAT_VERSION})
    return Ingested(min(days), max(days), rows, None, ())


def _files(source: Path, kind: str) -> list[LandingFile]:
    flat = [
        LandingFile(kind, path.name, None, content_hash(path))
        for path in sorted(source.glob(f"{kind}*"))
        if path.is_file() and file_format(path) is not None
    ]
    return landing_files(source, kind) + flat


def _check(source: Path, kind: str, files: list[LandingFile]) -> tuple[int, list[date]]:
    """Rows of the files, and the first and last day of any readable ts; opens every file."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = file_days(connection, source, kind, files)
    first, last = found.select(pl.col("earliest_day").min(), pl.col("last_day").max()).row(0)
    has_days = kind != "items" and first is not None
    return int(found["rows"].sum()), [first, last] if has_days else []


def _target(file: LandingFile) -> str:
    return file.path if "/" in file.path else f"{file.kind}/{file.path}"


def _copy(path: Path, target: Path) -> None:
    if target.exists() and target.samefile(path):
        return
    with replacing(target) as partial:
        shutil.copyfile(path, partial)
