"""Whether a change of the code changed a result: the same files and tiny model through the line, before and after.

    python tests/support/unchanged.py prepare FOLDER [--movietweetings PATH]     fixes landing files and model, once
    python tests/support/unchanged.py run FOLDER OUT                             the line on a copy; a hash per home
    python tests/support/unchanged.py tell OUT                                   the hashes once more
    python tests/support/unchanged.py compare OUT OTHER                          names what differs

Run ``run`` in both checkouts, for the one before with its folder first in ``PYTHONPATH``. Compared are every row of
every table, the rows of every published version and the figures of every report. Moments, durations and run ids are
left out, and versions that hash the code (checkpoints, published versions) are told by their model and order.
"""

import argparse
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import duckdb
import polars as pl
from support.line import SMALL, command, simulate, write_random_feedback

VOLATILE = {"made_at", "published_at", "seconds", "examples_per_second", "run_id", "command", "peak_gb", "made_from"}
CODE_HASHES = {"fingerprint", "code"}
LEARNER = {name: SMALL[name] for name in ("novelty", "alignment", "publication")}
BESIDE_THE_LINE = {"drills": ("search", "scaling")}
REPLAY = {
    "interests": {"clusters": 40},
    "feedback": {"source": "replay", "minimum_impressions": 1, "minimum_users": 1, "window_days": 365},
}


def prepare(folder, movietweetings):
    """Landing files and settings of each home, made once by the code at hand."""
    from conftest import save_tiny_model

    from alignrec_assets.home import Home
    from alignrec_assets.settings.sources import update_settings_file

    tiny = save_tiny_model(folder / "tiny_model")
    model = {"base_model": {"source": str(tiny)}, **LEARNER}
    working = folder / "working"
    days = {"calendar": {"first_day": "2026-01-05", "last_day": "2026-01-18"}}
    demo, drills, ratings = (Home(working / name) for name in ("demo", "drills", "movietweetings"))
    for home, settings in ((demo, {**days, **model}), (ratings, {**model, **REPLAY})):
        home.create()
        update_settings_file(home, settings)
    command(demo.path, "alignrec", "demo", seconds=3000)
    simulate(drills, tiny)
    update_settings_file(drills, {"search": {"trials": 4}})
    command(drills.path, "alignrec", "run")
    write_random_feedback(drills)
    if movietweetings:
        command(ratings.path, "alignrec", "ingest", "movietweetings", movietweetings.resolve())
    for home in (demo, drills, *([ratings] if movietweetings else [])):
        kept = folder / "homes" / home.path.name
        shutil.copytree(home.landing, kept / "landing")
        shutil.copy(home.settings, kept)


def run(folder, out):
    """The whole line on a copy of each home, and what it left."""
    for kept in sorted((folder / "homes").iterdir()):
        home = out / "homes" / kept.name
        shutil.copytree(kept, home)
        for words in ("prepare", "run", *BESIDE_THE_LINE.get(kept.name, ())):
            command(home, "alignrec", words, seconds=3000)
    tell(out)


def tell(out):
    """What the line left in each home, as one file and one line with its hash."""
    for home in sorted((out / "homes").iterdir()):
        found = results(home)
        path = out / f"{home.name}.json"
        path.write_text(json.dumps(found, indent=1, sort_keys=True))
        rows = sum(len(table["rows"]) for table in found["tables"].values())
        told = f"{rows:,} rows of {len(found['tables'])} tables, {len(found['published'])} versions"
        print(f"{home.name:<16} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}   {told}", flush=True)


def results(home):
    """Tables, published versions and reports, comparable between two codes."""
    names = stable_names(home)
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        listed = connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE table_name <> 'fingerprints' ORDER BY ALL"
        ).fetchall()
        tables = {f"{schema}.{table}": rows_of(connection, f"{schema}.{table}", names) for schema, table in listed}
    published = {
        names[path.parent.name]: [renamed(row, names) for row in pl.read_parquet(path).iter_rows()]
        for path in sorted((home / "published").glob("*/transition_table.parquet"))
    }
    reports = {path.name: renamed(json.loads(path.read_text()), names) for path in (home / "reports").glob("*.json")}
    return {"tables": tables, "published": published, "reports": reports}


def rows_of(connection, table, names):
    frame = connection.sql(f"FROM {table}").pl()
    kept = [name for name in frame.columns if name not in VOLATILE | CODE_HASHES]
    return {"columns": kept, "rows": sorted(renamed(row, names) for row in frame.select(kept).iter_rows())}


def stable_names(home):
    """A name for each version that hashes the code: its model and its place in the order in which they were made."""
    found = {}
    manifests = [*(home / "checkpoints").glob("*/*/manifest.json"), *(home / "published").glob("*/manifest.json")]
    for path in manifests:
        manifest = json.loads(path.read_text())
        model = manifest.get("model", "published")
        made_at = manifest.get("made_at") or manifest.get("published_at", "")
        content = manifest.get("content_hash", "")
        found.setdefault(model, []).append((made_at, content, path.parent.name))
    places = {
        name: f"{model}-{place}" for model, made in found.items() for place, (*_, name) in enumerate(sorted(made))
    }
    # The trials of a search bear its name and their number.
    return places | {name.partition("-")[0]: "search" for name in places if "-" in name}


def renamed(value, names):
    """The value as text, without what differs from run to run."""
    plain = json.dumps(untimed(value), sort_keys=True, default=str)
    return re.sub(r"\b[0-9a-f]{12,64}\b", lambda found: names.get(found[0], found[0]), plain)


def untimed(value):
    """Without moments and durations, in what is nested and in the JSON inside it too."""
    if isinstance(value, dict):
        return {str(key): untimed(inner) for key, inner in value.items() if str(key) not in VOLATILE | CODE_HASHES}
    if isinstance(value, list | tuple):
        return [untimed(inner) for inner in value]
    if isinstance(value, str) and value.startswith("{"):
        return untimed(json.loads(value))
    return value


def compare(one, other):
    """Name every table, version and report that differs; exit with 1 if any does."""
    different = []
    for path in sorted(one.glob("*.json")):
        before, after = json.loads(path.read_text()), json.loads((other / path.name).read_text())
        for kind in before:
            for name in sorted({*before[kind], *after[kind]}):
                if before[kind].get(name) != after[kind].get(name):
                    different.append(f"{path.stem}: {kind} {name}")
    print("\n".join(different) or "nothing differs")
    sys.exit(1 if different else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = parser.add_subparsers(required=True, dest="task")
    preparing = tasks.add_parser("prepare")
    preparing.add_argument("folder", type=Path)
    preparing.add_argument("--movietweetings", type=Path)
    for name, words in (("run", ("folder", "out")), ("tell", ("out",)), ("compare", ("one", "other"))):
        task = tasks.add_parser(name)
        for word in words:
            task.add_argument(word, type=Path)
    chosen = parser.parse_args()
    if chosen.task == "prepare":
        prepare(chosen.folder.resolve(), chosen.movietweetings)
    elif chosen.task == "run":
        run(chosen.folder.resolve(), chosen.out.resolve())
    elif chosen.task == "tell":
        tell(chosen.out)
    else:
        compare(chosen.one, chosen.other)


if __name__ == "__main__":
    main()
