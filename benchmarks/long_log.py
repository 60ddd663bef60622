"""Years of a thin rating log through the selection ``days``: time, memory and what Dagster keeps of it.

    .venv/bin/python benchmarks/long_log.py [--rows 100000] [--years 1 5 22] [--partition day week month]

The log is synthetic (``synthetic/long_rating_log.py``): most of its days are empty or hold a few rows. For each span
of years and each size of a partition the project runs three times, each time in a process of its own: ``days`` on
an empty home, again with nothing new (``second_run``), and once more after one more day has landed (``next_day``).
``dagster_mb`` is the size of the home's Dagster folder after the first run. ``seconds`` is of the whole process, with
its imports. The feedback is replayed and its window holds the whole log, which is the hardest case: the scores as of
each day are then of everything before it. ``seconds_for_rows`` compares twice the rows over the longest span with
the rows themselves: 2 is linear. Prints one JSON object as its last line; figures without a suffix are those
of the longest span with partitions of a day.
"""

import argparse
import multiprocessing
import os
import shutil
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from synthetic.long_rating_log import write_long_log, write_next_day
from synthetic.report import print_report

WINDOW_DAYS = 10_000


def in_a_process(work, *arguments):
    """Seconds and peak memory of a process that does nothing but ``work``."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    started = time.perf_counter()
    process = context.Process(target=_work, args=(theirs, work, arguments))
    process.start()
    theirs.close()
    peak = mine.recv()
    process.join()
    return time.perf_counter() - started, peak


def _work(connection, work, arguments):
    from models.progress import peak_gigabytes

    work(*arguments)
    connection.send(peak_gigabytes())


def write_settings(folder, first, last, partition):
    """What ingest would write, with a window over the whole log."""
    (folder / "settings.toml").write_text(
        f"[calendar]\nfirst_day = {first}\nlast_day = {last}\npartition = '{partition}'\n\n"
        f"[positive]\nrating_at_least = 4.0\n\n"
        f"[interests]\nembedding = 'tfidf'\n\n"
        f"[feedback]\nsource = 'replay'\nwindow_days = {WINDOW_DAYS}\n",
        encoding="utf-8",
    )


def run_days(folder):
    """The selection ``days`` over the whole calendar."""
    from alignrec_assets.commands.run import run_line
    from alignrec_assets.home import HOME_VARIABLE, Home

    os.environ[HOME_VARIABLE] = str(folder)
    run_line(Home(folder), None, None, print, selections=("days",))


def folder_megabytes(folder):
    """Size of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def measure(folder, rows, years, partition):
    """Figures of one log with partitions of one size."""
    home = folder / f"{rows}-{years}-{partition}"
    first, last = write_long_log(home / "landing", rows, years)
    write_settings(home, first, last, partition)
    seconds, peak = in_a_process(run_days, home)
    dagster = folder_megabytes(home / "dagster")
    second, _ = in_a_process(run_days, home)
    following = last + timedelta(days=1)
    write_next_day(home / "landing", following)
    write_settings(home, first, following, partition)
    following_seconds, _ = in_a_process(run_days, home)
    found = {
        "days_seconds": seconds,
        "days_peak_gb": peak,
        "dagster_mb": dagster,
        "warehouse_mb": (home / "warehouse.duckdb").stat().st_size / 1e6,
        "second_run_seconds": second,
        "next_day_seconds": following_seconds,
    }
    print(f"{rows:,} rows, {years} years by {partition}:", {name: round(value, 2) for name, value in found.items()})
    shutil.rmtree(home)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--years", type=int, nargs="+", default=[1, 5, 22])
    parser.add_argument("--partition", nargs="+", default=["day", "month"], choices=["day", "week", "month"])
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary folder")
    chosen = parser.parse_args()
    longest = max(chosen.years)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as temporary:
        folder = Path(temporary).resolve()
        found = {
            (years, partition): measure(folder, chosen.rows, years, partition)
            for partition in chosen.partition
            for years in sorted(chosen.years)
        }
        twice = measure(folder, 2 * chosen.rows, longest, chosen.partition[0])
    hardest = found[longest, chosen.partition[0]]
    figures = dict(hardest)
    for (years, partition), facts in found.items():
        figures |= {f"{name}_{years}y_{partition}": value for name, value in facts.items()}
    figures["seconds_for_rows"] = twice["days_seconds"] / hardest["days_seconds"]
    print_report("long_log", figures, {"rows": chosen.rows, "cores": os.cpu_count()})


if __name__ == "__main__":
    main()
