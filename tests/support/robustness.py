"""docs/robustness.md: what comes out of inputs as they are in the wild, as the tests saw it.

A test tells each input and its result through the fixture ``comes_out``, after it has asserted them.
``make robustness`` runs those tests and writes the page.
"""

from dataclasses import dataclass
from pathlib import Path

SILENT, LOUD = "Results that were wrong in silence", "Failures that were loud, but of no help"
KINDS = {
    SILENT: {
        "id types": "An id has another storage type in each file",
        "nothing": "Blanks, and words that mean nothing, in ids",
        "bytes": "Bytes that are text without saying so",
        "folder names": "Folder names that look like columns",
        "columns": "Columns that almost match",
        "types": "Types that almost match",
        "unmatched outcomes": "Outcomes that join no impression",
        "future": "A clock that is ahead",
        "calendar": "A handful of rows that would set the calendar",
        "out of scope": "Days that the user put out of scope",
        "no positive": "A signal without a single positive",
        "one level": "A sparse signal, all of whose labels are the same",
        "edge": "Numbers at the edge",
        "targets": "Two sources with one target",
        "converters": "Source rows that a converter cannot read",
        "scripts": "Words of other scripts, HTML and elisions",
    },
    LOUD: {
        "unexpected": "Errors that nobody expected",
        "text files": "Text files that are not quite CSV or JSON Lines",
        "homes": "Homes with odd names, and two first runs at once",
        "interrupted": "Ctrl-C, and an output that is closed",
        "long messages": "Messages that would be very long",
        "gates": "A model that misses a gate, and feedback too thin to align",
        "thin logs": "Logs that cannot end in a table",
        "labels": "Labels that a model reads as the same words",
        "names": "Names that are paths",
        "forget": "Forgetting a user whom nobody knows",
    },
}
"""The kinds of input, by what they did before: a name for the tests, and the heading of the page."""


@dataclass(frozen=True)
class ComesOut:
    """One row of the page."""

    kind: str
    given: str
    result: str


def known_kind(kind: str) -> bool:
    """Whether the page has a heading for the kind."""
    return any(kind in kinds for kinds in KINDS.values())


def write_page(path: Path, rows: set[ComesOut]) -> None:
    """Write docs/robustness.md: a table for each kind, sorted, so that the same tests write the same page."""
    lines = [
        "# Inputs as they are in the wild",
        "",
        "Each row was told by a test that asserts it. `make robustness` runs these tests and writes this page.",
    ]
    for section, kinds in KINDS.items():
        lines += ["", f"## {section}"]
        for kind, heading in kinds.items():
            told = sorted((row.given, row.result) for row in rows if row.kind == kind)
            lines += ["", f"### {heading}", "", "| input | what comes out |", "|---|---|"]
            lines += [f"| {_cell(given)} | {_cell(result)} |" for given, result in told]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(text: str) -> str:
    """Text as one cell of a Markdown table."""
    for character, shown in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("\n", "<br>")):
        text = text.replace(character, shown)
    return text
