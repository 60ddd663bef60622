"""Years of a thin rating log, from `alignrec ingest` through the selection ``days``: time, memory, what Dagster keeps.

    .venv/bin/python benchmarks/long_log.py [--rows 100000] [--years 1 5 22] [--by-day]

The log is synthetic (``synthetic/long_rating_log.py``): most of its days are empty or hold a few rows. All settings are
those that `alignrec ingest` chooses: partitions of days, weeks or months by the density of the log, replayed feedback,
and a window over all of it, so that the scores as of each day are of everything before it. ``--by-day`` forces
partitions of a day on the longest log, which is the hardest case: nearly every day is one of its own.

Each log is run three times, each time in a process of its own: ``days`` on an empty home, again with nothing new
(``second_run``), and once more after one more day has landed and was ingested (``next_day``). Times are of the whole
process, with imports. ``dagster_mb`` is the size of the home's Dagster folder after the first run.
``times_for_twice_the_rows`` compares twice the rows over the longest span with the rows themselves: 2 is linear, and
less is what does not depend on rows. Prints one JSON object as its last line; figures without a suffix are those of the
longest span.
"""

import argparse
import os
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

from synthetic.long_rating_log import write_long_log, write_next_day
from synthetic.processes import in_a_process, use_home
from synthetic.report import print_report


def ingest(folder, partition):
    """`alignrec ingest landing` on the home's own landing folder; a partition that is named is set by hand."""
    from alignrec_assets.commands.ingest import ingest_source
    from alignrec_assets.settings.sources import update_settings_file

    home = use_home(folder)
    home.create()
    if partition:
        update_settings_file(home, {"calendar": {"partition": partition}})
    ingest_source(home, "landing", home.landing, None, print)


def run_days(folder):
    """The selection ``days`` over the whole calendar."""
    from alignrec_assets.commands.run import run_line

    run_line(use_home(folder), None, None, print, selections=("days",))


def partition_of(folder):
    from alignrec_assets.settings.sources import load_settings

    return load_settings(use_home(folder)).calendar.partition


def folder_megabytes(folder):
    """Size of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def measure(folder, rows, years, partition=None):
    """Figures of one log, and the partition that it was given."""
    home = folder / f"{rows}-{years}-{partition}"
    _, last = write_long_log(home / "landing", rows, years)
    ingested = in_a_process(ingest, home, partition)
    first = in_a_process(run_days, home)
    dagster = folder_megabytes(home / "dagster")
    second = in_a_process(run_days, home)
    write_next_day(home / "landing", last + timedelta(days=1))
    ingested_again = in_a_process(ingest, home, partition)
    next_day = in_a_process(run_days, home)
    found = {
        "ingest_seconds": ingested.process_seconds,
        "days_seconds": first.process_seconds,
        "days_peak_gb": first.peak_gb,
        "dagster_mb": dagster,
        "warehouse_mb": (home / "warehouse.duckdb").stat().st_size / 1e6,
        "second_run_seconds": second.process_seconds,
        "next_day_seconds": next_day.process_seconds,
        "next_day_ingest_seconds": ingested_again.process_seconds,
    }
    partition = partition_of(home)
    told = {name: round(value, 2) for name, value in found.items()}
    print(f"{rows:,} rows, {years} years by {partition}: {told}", flush=True)
    shutil.rmtree(home)
    return found, partition


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--years", type=int, nargs="+", default=[1, 5, 22])
    parser.add_argument("--by-day", action="store_true", help="also the longest log with partitions of a day")
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary folder")
    chosen = parser.parse_args()
    longest = max(chosen.years)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as temporary:
        folder = Path(temporary).resolve()
        found = {years: measure(folder, chosen.rows, years) for years in sorted(chosen.years)}
        twice, _ = measure(folder, 2 * chosen.rows, longest, found[longest][1])
        by_day = measure(folder, chosen.rows, longest, "day")[0] if chosen.by_day else {}
    figures = dict(found[longest][0])
    for years, (facts, _) in found.items():
        figures |= {f"{name}_{years}y": value for name, value in facts.items()}
    figures |= {f"{name}_by_day": value for name, value in by_day.items()}
    figures["times_for_twice_the_rows"] = twice["days_seconds"] / figures["days_seconds"]
    partitions = {f"{years}y": partition for years, (_, partition) in found.items()}
    print_report("long_log", figures, {"rows": chosen.rows, "cores": os.cpu_count(), "partitions": partitions})


if __name__ == "__main__":
    main()
