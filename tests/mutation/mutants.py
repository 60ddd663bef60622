"""The mutants of a file: its text with one small fault each, by mutmut for Python and by ``sql_mutants`` for SQL."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from hashlib import blake2b

from mutation.sql_mutants import sql_mutants


@dataclass(frozen=True)
class Mutant:
    """A file with one fault.

    Attributes:
        path: of the file, from the root of the project.
        line: where the fault is, from 1.
        change: what stands there, and what the fault makes of it.
        key: the same as long as this line, and its place among equal lines, stay as they are.
        text: the whole file with the fault.
    """

    path: str
    line: int
    change: str
    key: str
    text: str


def mutants_of(path: str, text: str) -> Iterator[Mutant]:
    """All mutants of a file, in the order of its lines as far as the tool keeps to it."""
    if path.endswith(".sql"):
        texts = sql_mutants(text)
    else:
        from mutation.python_mutants import python_mutants  # needs the extra `mutants`

        texts = python_mutants(text)
    seen: Counter[str] = Counter()
    for mutated in texts:
        line, change = _difference(text, mutated)
        seen[change] += 1
        key = blake2b(f"{path}:{change}:{seen[change]}".encode(), digest_size=5).hexdigest()
        yield Mutant(path, line, change, key, mutated)


def _difference(before: str, after: str) -> tuple[int, str]:
    """The first line that differs, and the change of the lines that do."""
    old, new = before.splitlines(), after.splitlines()
    start, end = 0, 0
    while old[start] == new[start]:
        start += 1
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    told = [" ".join(" ".join(lines[start : len(lines) - end]).split()) for lines in (old, new)]
    return start + 1, _shortened(*told)


def _shortened(old: str, new: str) -> str:
    """What differs, with a few words around it."""
    (first, *_, last) = [
        block for block in SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if block[0] != "equal"
    ] * 2
    begin = max(first[1] - 30, 0)
    return f"{old[begin : last[2] + 20].strip()} -> {new[begin : last[4] + 20].strip()}"
