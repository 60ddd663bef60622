"""Landing files that keep the data contract already: they are checked and copied into the home."""

import shutil
import unicodedata
from datetime import date
from pathlib import Path

import duckdb
import polars as pl

from alignrec_assets.home import FORMAT_VERSION
from alignrec_assets.landing.data_contract import LANDING_COLUMNS, LandingError, LandingFile, file_format
from alignrec_assets.landing.formats.sources import Source
from alignrec_assets.landing.formats.writing import Ingested
from alignrec_assets.landing.survey import check_format, file_days, landing_files
from alignrec_assets.landing.zone import EVERY_DAY, LandingZone
from models.files import content_hash, replacing, write_json
from models.progress import Log


def copy_landing(source: Source, landing: Path, log: Log) -> Ingested:
    """Copy landing files: folders ``items``, ``events``, ``feedback``, ``outcomes``, or files such as ``events_2.csv``.

    Every file is opened, and its columns are checked, before the first file is copied. Rows are checked when they are
    loaded. Files of the same name are replaced, others stay, so that later files can be added.

    Raises:
        LandingError: naming the file that breaks the data contract, or the kind that is missing.
    """
    folder = source.folder
    check_format(folder)
    files = [file for kind in LANDING_COLUMNS for file in _files(folder, kind)]
    _refuse_one_target(folder, files)
    kinds = {file.kind for file in files} | {kind for kind in LANDING_COLUMNS if landing_files(landing, kind)}
    for kind in ("items", "events"):
        if kind not in kinds:
            raise LandingError(
                f"{folder} holds no {kind}: files are looked for in its folder {kind}/ and as {kind}*.csv, "
                f"{kind}*.jsonl or {kind}*.parquet"
            )
    rows: dict[str, int] = {}
    days: list[date] = []
    for kind in LANDING_COLUMNS:
        of_kind = [file for file in files if file.kind == kind]
        if of_kind:
            log(f"checking {len(of_kind):,} files of {kind}")
            rows[kind], found = _check(folder, kind, of_kind)
            days += found
    if not days:
        raise LandingError(f"{folder} holds no row with a readable ts: the calendar cannot be told from it")
    log(f"copying {len(files):,} files to {landing}")
    notes = _told_replaced(landing, files)
    for file in files:
        _copy(folder / file.path, landing / _target(file))
    write_json(landing / "FORMAT", {"format_version": FORMAT_VERSION})
    return Ingested(min(days), max(days), rows, None, notes)


def _refuse_one_target(folder: Path, files: list[LandingFile]) -> None:
    """Refuse two files that would get the same name.

    Raises:
        LandingError: naming both.
    """
    # A file system may take names that differ in case or in the form of their accents for one name.
    sources: dict[str, str] = {}
    for file in files:
        target = unicodedata.normalize("NFC", _target(file)).casefold()
        other = sources.setdefault(target, file.path)
        if other != file.path:
            raise LandingError(
                f"{folder} holds {other} and {file.path}, and both would become {_target(file)}: rename one of them"
            )


def _told_replaced(landing: Path, files: list[LandingFile]) -> tuple[str, ...]:
    """A note of the files that are there already with other content, and are replaced."""
    replaced = [
        target
        for file in files
        if (landing / (target := _target(file))).exists() and content_hash(landing / target) != file.content_hash
    ]
    if not replaced:
        return ()
    shown = ", ".join(replaced[:3]) + (", ..." if len(replaced) > 3 else "")
    return (f"{len(replaced):,} files had other content and were replaced: {shown}",)


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
        found, days = file_days(connection, LandingZone(source, EVERY_DAY), kind, files)
    first, last = days.select(pl.col("day").min().alias("first"), pl.col("day").max().alias("last")).row(0)
    has_days = kind != "items" and first is not None
    return int(found["rows"].sum()), [first, last] if has_days else []


def _target(file: LandingFile) -> str:
    return file.path if "/" in file.path else f"{file.kind}/{file.path}"


def _copy(path: Path, target: Path) -> None:
    if target.exists() and target.samefile(path):
        return
    with replacing(target) as partial:
        shutil.copyfile(path, partial)
