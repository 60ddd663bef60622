"""Messages of bounded length: no list of days, files or labels grows with the data.

Where a message leaves something out, it says how much, and the rest is in a table or a file.
"""

from collections.abc import Collection
from itertools import islice

MOST_ENTRIES = 5
MOST_LINES = 10
MOST_CHARACTERS = 2_000


def listed(entries: Collection[object], separator: str = ", ", most: int = MOST_ENTRIES, rest: str = "") -> str:
    """The first entries of a list, and how many more there are.

    Args:
        entries: what is listed; each becomes one line, and a long one is cut.
        separator: stands between two of them.
        most: how many are shown.
        rest: where the others are, for a list that does not end here.
    """
    characters = MOST_CHARACTERS // max(1, min(most, len(entries)))
    shown = [one_line(str(entry), characters) for entry in islice(entries, most)]
    more = len(entries) - len(shown)
    if more:
        shown.append(f"and {more:,} more" + (f" ({rest})" if rest else ""))
    return separator.join(shown)


def shortened(text: str, rest: str) -> str:
    """At most ten lines and 2,000 characters; a longer text ends with ``rest``, which says where it is whole."""
    lines = text.splitlines()
    cut = "\n".join(lines[: MOST_LINES - 1])
    if len(lines) <= MOST_LINES and len(text) <= MOST_CHARACTERS:
        return text
    cut = cut[: MOST_CHARACTERS - len(rest) - 1]
    return f"{cut} … {len(text) - len(cut):,} characters more.\n{rest}"


def is_short(text: str) -> bool:
    """Whether a text is a message as it stands."""
    return len(text) <= MOST_CHARACTERS and text.count("\n") < MOST_LINES


def one_line(text: str, most: int) -> str:
    """One line of at most so many characters."""
    one = " ".join(text.split())
    return one if len(one) <= most else f"{one[: most - 1]}…"
