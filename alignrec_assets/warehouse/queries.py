"""Finds a file of ``sql/`` by the name of the relation that it computes, in a checkout and in the wheel."""

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
_ROOMS = (_PACKAGE / "sql", _PACKAGE.parent / "sql")
"""In the wheel the files are inside the package, because another distribution may own a folder `sql` beside it."""

_PAST = {"past": "interests.past"}
_HISTORIES = {"positives": "interests.positives", "histories": "interests.histories"}
_EXPOSURES = _PAST | {"moments": "feedback.impressions"} | _HISTORIES | {"exposures": "feedback.exposures"}
PARTS = {
    "interests.first_interactions": _PAST | {"moments": "interests.touches"} | _HISTORIES,
    "feedback.transition_users": _EXPOSURES,
    "feedback.uncounted_impressions": {"moments": "feedback.impressions"},
    "evaluation.exposures_by_policy": _EXPOSURES,
    "candidates.held_histories": {
        "positives": "candidates.positives",
        "moments": "candidates.moments",
        "histories": "interests.histories",
    },
}
"""Relations that a query reads and that no table holds, by the name that it gives them; each reads those before it."""


@cache
def relations() -> tuple[str, ...]:
    """The names of all relations that ``sql/`` computes, and of its macros, sorted."""
    return tuple(sorted({f"{path.parent.name}.{path.stem}" for room in _ROOMS for path in room.glob("*/*.sql")}))


@cache
def query(name: str) -> str:
    """Text of the SELECT that computes a relation, with its ``PARTS`` before it, or of a file of macros.

    Args:
        name: schema and table, such as ``raw.events`` for ``sql/raw/events.sql``.

    Raises:
        FileNotFoundError: no such file; the message names every place that was looked at.
    """
    parts = [f"{alias} AS (\n{_text_of(relation)})" for alias, relation in PARTS.get(name, {}).items()]
    return f"WITH {', '.join(parts)}\n{_text_of(name)}" if parts else _text_of(name)


def _text_of(name: str) -> str:
    schema, _, table = name.partition(".")
    places = [room / schema / f"{table}.sql" for room in _ROOMS]
    for place in places:
        if place.is_file():
            return place.read_text(encoding="utf-8")
    raise FileNotFoundError(f"no query {name!r}: looked at {' and '.join(map(str, places))}; is alignrec whole?")
