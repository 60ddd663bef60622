"""Landing files to scores for 1, 10 and 100 million impressions in 30 days, beside a script written by hand in DuckDB.

    .venv/bin/python benchmarks/ingest.py [--millions 1 10 100] [--folder DIR]

The impressions are synthetic: Parquet, one file a day and a second one with rows that were sent again (1% as they were,
0.1% with another watch, which are rejected); 0.5% break the contract in one of five ways. Their history and cluster
belong to a taxonomy that was fitted to a small catalogue before. 100 million rows need about 30 GB of disk.

The project is run as a user runs it: the selection ``days`` as one Dagster run over the 30 days. The peer
(``synthetic/handwritten_ingest.py``) validates and deduplicates by the same rules, and writes raw items, feedback logs
and rejected rows to a DuckDB file of its own; it may use 8 GB, for under the project's 2.5 GB it fails at 100 million.
It runs as ``synthetic/peers.py`` says. DuckDB has no batch to choose. Without ``preserve_insertion_order`` it took as
much processor time for 1 million impressions (2.7 to 3.3 s, against 2.8 to 2.9 s); larger sizes were not tried.
A size counts only where its feedback logs and its rejected rows, reasons included, equal the project's.
``ratio_vs_handwritten`` compares exactly that: the peer's whole time over that of the project's steps raw/items,
raw/events (there are none), raw/feedback_logs and raw/rejected_rows, with all that they do beside it (hashes of the
files, days of their rows, outcomes, fingerprints, records for Dagster). Counts and scores have no peer; their seconds
stand beside it. Rows are rows of the landing files.

Project and peer run one after the other, each in a process of its own, as is its peak of memory. ``growth`` is the time
of the largest size over that of the next one, divided by the ratio of their rows: 1 is linear. Prints one JSON object
as its last line.

Sizes up to 10 million are measured three times, project and peer in turn, and the run with the median ratio counts: one
run of seconds says little on a shared machine, where the same code gave 0.50, 0.62 and 0.73 within an hour.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import duckdb
from synthetic.feedback_log import FIRST_DAY, LAST_DAY, write_catalogue, write_feedback
from synthetic.peers import at_its_best, libraries
from synthetic.processes import in_a_process, use_home
from synthetic.report import print_report

RAW = ("raw__items", "raw__events", "raw__feedback_logs", "raw__rejected_rows")
PEER_MEMORY = "8GB"
REPEATS, REPEATED_UP_TO = 3, 10  # runs of a size, up to so many million impressions
COMPARED = {
    "raw.feedback_logs": "*",
    "raw.rejected_rows": "kind, day, file, row_number, reason",
}
"""Tables of both sides with the columns that must be equal: the payload is for readers, each side has its own form."""


def run_days(home_folder):
    """Seconds of each step of the selection ``days`` over all days."""
    home = use_home(home_folder)
    import dagster as dg

    from alignrec_assets.commands.run import run_line

    run_line(home, None, None, print, selections=("days",))
    with dg.DagsterInstance.get() as instance:
        (run,) = instance.get_runs(limit=1)
        return {step.step_key: step.end_time - step.start_time for step in instance.get_run_step_stats(run.run_id)}


def run_by_hand(home_folder, database):
    """Seconds of each statement of the peer, and what it was given."""
    from synthetic.handwritten_ingest import ingest

    seconds = ingest(home_folder / "landing", database, FIRST_DAY, LAST_DAY, PEER_MEMORY)
    ((threads,),) = duckdb.sql("SELECT current_setting('threads')").fetchall()
    return seconds, {"threads": threads, "allocator": libraries()["allocator"], "memory_limit": PEER_MEMORY}


def prepare(home_folder):
    """A home with a catalogue and the taxonomy of its items, which impressions name; returns clusters and version."""
    home = use_home(home_folder)
    home.create()
    home.settings.write_text(
        f"[calendar]\nfirst_day = {FIRST_DAY}\nlast_day = {LAST_DAY}\n\n[interests]\nembedding = 'tfidf'\n",
        encoding="utf-8",
    )
    write_catalogue(home.landing)
    from alignrec_assets.commands.run import run_line
    from alignrec_assets.refresh.taxonomies import required_taxonomy
    from alignrec_assets.settings.sources import load_settings

    run_line(home, FIRST_DAY, FIRST_DAY, lambda _: None, selections=("days",))
    return {"clusters": load_settings(home).interests.clusters, "taxonomy": required_taxonomy(home)}


def content(database):
    """Rows of the compared tables, and a sum of the hashes of all of them."""
    with duckdb.connect(str(database), read_only=True, config={"memory_limit": "2GB"}) as connection:
        return {
            table: connection.sql(
                f"SELECT count(*), sum(hash(rows)::HUGEINT) FROM (SELECT {columns} FROM {table}) AS rows"
            ).fetchall()
            for table, columns in COMPARED.items()
        }


def measure(prepared, folder, millions):
    """Figures of the run with the median ratio, and what its peer was given."""
    runs = [
        measure_once(prepared, folder, millions * 1_000_000)
        for _ in range(REPEATS if millions <= REPEATED_UP_TO else 1)
    ]
    return sorted(runs, key=lambda run: run[0]["ratio_vs_handwritten"])[len(runs) // 2]


def measure_once(prepared, folder, rows):
    """Figures of one run, and what its peer was given; its files are gone afterwards."""
    home = folder / str(rows)
    shutil.copytree(prepared["folder"], home)
    in_a_process(write_feedback, home / "landing", rows, prepared["clusters"], prepared["taxonomy"])
    with duckdb.connect() as connection:
        pattern = str(home / "landing" / "feedback" / "*" / "*.parquet")
        ((landed,),) = connection.execute("SELECT count(*) FROM read_parquet($1)", [pattern]).fetchall()
    database = folder / f"handwritten-{rows}.duckdb"
    peer = in_a_process(run_by_hand, home, database, environment=at_its_best())
    print(rows, "by hand", peer, flush=True)
    mine = in_a_process(run_days, home)
    print(rows, "project", mine, flush=True)
    ours, theirs = content(home / "warehouse.duckdb"), content(database)
    if ours != theirs:
        raise AssertionError(f"the peer made other tables, so this is no comparison: {theirs}, the project {ours}")
    database.unlink()
    shutil.rmtree(home)
    raw = sum(mine.found[step] for step in RAW)
    figures = {
        "ratio_vs_handwritten": peer.work_seconds / raw,
        "rows": landed,
        "rejected_rows": ours["raw.rejected_rows"][0][0],
        "rows_per_second": landed / mine.work_seconds,
        "raw_rows_per_second": landed / raw,
        "handwritten_rows_per_second": landed / peer.work_seconds,
        "seconds": mine.work_seconds,
        "raw_seconds": raw,
        "handwritten_seconds": peer.work_seconds,
        "users_seconds": mine.found["feedback__transition_users"],
        "counts_seconds": mine.found["feedback__transition_counts"],
        "scores_seconds": mine.found["feedback__transition_scores"],
        "peak_gb": mine.peak_gb,
        "handwritten_peak_gb": peer.peak_gb,
    }
    print(rows, {name: round(value, 3) for name, value in figures.items()}, flush=True)
    return figures, peer.found[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 10, 100], help="of impressions")
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary folder")
    chosen = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(dir=chosen.folder) as temporary:
        folder = Path(temporary).resolve()
        prepared = in_a_process(prepare, folder / "prepared").found | {"folder": folder / "prepared"}
        for millions in sorted(chosen.millions):
            found[millions] = measure(prepared, folder, millions)
    figures = {f"{name}_{size}m": value for size, (facts, _) in found.items() for name, value in facts.items()}
    if len(found) > 1:
        smaller, larger = sorted(found)[-2:]
        figures["growth"] = found[larger][0]["seconds"] / found[smaller][0]["seconds"] / (larger / smaller)
    settings = {"days": 30, "cores": os.cpu_count(), f"runs_up_to_{REPEATED_UP_TO}m": REPEATS}
    settings["given"] = {f"handwritten_{size}m": had for size, (_, had) in found.items()}
    print_report("ingest", figures, settings)


if __name__ == "__main__":
    main()
