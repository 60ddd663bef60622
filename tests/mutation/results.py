"""What became of the mutants: the lines of an unfinished run, the record that is kept, and the page that tells it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomlkit

from mutation.mutants import Mutant

UNJUDGED = "open"


class Outcomes:
    """Outcomes by file text and tests, a line each, so that a killed run goes on where it was.

    Args:
        file: of the lines.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        self.known: dict[str, bool] = dict(json.loads(line) for line in lines if line.endswith("]"))

    def add(self, name: str, killed: bool) -> None:
        """Write one outcome down."""
        self.known[name] = killed
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, killed]) + "\n")


@dataclass(frozen=True)
class Told:
    """What is told of one file: how many mutants, and those that no test noticed."""

    mutants: int
    survivors: Sequence[Mutant]


def keep(record: Path, commit: str, found: Mapping[str, Told], known: Sequence[str]) -> None:
    """Put what was found of some files into the record; other known files, and verdicts of what survives still, stay.

    A verdict is written by hand: why the fault changes nothing that counts, or ``open``.
    """
    kept = tomlkit.parse(record.read_text(encoding="utf-8")) if record.is_file() else tomlkit.document()
    for path, told in found.items():
        before = {survivor["key"]: survivor["verdict"] for survivor in kept.get(path, {}).get("survivors", [])}
        entry = tomlkit.table()
        entry.update({"commit": commit, "mutants": told.mutants})
        survivors = tomlkit.aot()
        for mutant in told.survivors:
            row = {"key": mutant.key, "line": mutant.line, "change": mutant.change}
            survivors.append(tomlkit.item(row | {"verdict": before.get(mutant.key, UNJUDGED)}))
        if told.survivors:
            entry.append("survivors", survivors)
        kept[path] = entry
    for path in {*kept} - {*known}:
        del kept[path]
    record.write_text(tomlkit.dumps(kept), encoding="utf-8")


HEAD = """# Mutants

`make mutants` puts small faults into files of `models/` and `sql/`, one at a time, on a copy of the project, and runs
the tests that `tests/mutation/covered.py` names for the file. A fault that no test notices *survives*. A verdict says
why a survivor may stay: it changes nothing (*equivalent*), or nothing that counts; *open* ones wait for a test.
Verdicts are written into `docs/mutants.toml` by hand and stay as long as their line does. The rest of it, and this
page, are generated.

`make mutants FILES="models/feedback/splits.py sql/interests"` runs some files or folders; without FILES, all of them.
A killed run goes on where it was. A file has the commit at which it was last run whole; files that were never run are
not listed.
"""


def page(record: Path) -> str:
    """The page of the record."""
    kept = tomlkit.parse(record.read_text(encoding="utf-8")).unwrap()
    lines = [HEAD, "| folder | mutants | survive | share | of them open |", "|---|---|---|---|---|"]
    for folder in sorted({path.rpartition("/")[0] for path in kept}):
        entries = [entry for path, entry in kept.items() if path.rpartition("/")[0] == folder]
        lines.append(f"| {folder} | {_counts(entries)} |")
    lines += ["", "| file | mutants | survive | share | of them open | commit |", "|---|---|---|---|---|---|"]
    lines += [f"| {path} | {_counts([kept[path]])} | {kept[path]['commit']} |" for path in sorted(kept)]
    lines += ["", "| survivor | line | fault | verdict |", "|---|---|---|---|"]
    for path in sorted(kept):
        for survivor in kept[path].get("survivors", []):
            change = survivor["change"].replace("|", "\\|")
            lines.append(f"| {path} | {survivor['line']} | `{change}` | {survivor['verdict']} |")
    return "\n".join(lines) + "\n"


def _counts(entries: Sequence[Mapping]) -> str:
    mutants = sum(entry["mutants"] for entry in entries)
    survivors = [survivor for entry in entries for survivor in entry.get("survivors", [])]
    unjudged = sum(survivor["verdict"] == UNJUDGED for survivor in survivors)
    return f"{mutants} | {len(survivors)} | {len(survivors) / max(mutants, 1):.0%} | {unjudged}"
