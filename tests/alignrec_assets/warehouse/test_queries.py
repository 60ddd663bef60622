"""Query files are found in a checkout and in a wheel, and say what is missing."""

from pathlib import Path

import pytest

from alignrec_assets.warehouse import queries
from alignrec_assets.warehouse.queries import query

SQL = Path(queries.__file__).parents[2] / "sql"


def test_a_query_is_the_text_of_the_file_that_bears_its_name():
    assert query("raw.events") == (SQL / "raw" / "events.sql").read_text(encoding="utf-8")


def test_a_missing_query_names_both_places():
    with pytest.raises(FileNotFoundError) as caught:
        query("raw.nothing")
    assert str(SQL / "raw" / "nothing.sql") in str(caught.value)
    assert str(SQL.parent / "alignrec_assets" / "sql" / "raw" / "nothing.sql") in str(caught.value)


def test_in_a_wheel_the_queries_lie_inside_the_package(tmp_path, monkeypatch):
    inside = tmp_path / "sql" / "raw"
    inside.mkdir(parents=True)
    (inside / "only_in_wheel.sql").write_text("SELECT 1")
    monkeypatch.setattr(queries, "_ROOMS", (tmp_path / "absent", tmp_path / "sql"))
    assert query("raw.only_in_wheel") == "SELECT 1"


ROOMS = sorted(path.name for path in SQL.iterdir() if path.name != "macros")


def statement_words(path):
    """Words of a file that opens with a comment on what it is, comments left out."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("-- "), path
    return set(" ".join(line.split("--")[0] for line in text.splitlines()).upper().split())


@pytest.mark.parametrize("room", ROOMS)
def test_every_query_opens_with_what_it_is_and_only_selects(room):
    files = sorted((SQL / room).glob("*.sql"))
    assert files
    for path in files:
        words = statement_words(path)
        assert "SELECT" in words, path
        assert not words & {"INSERT", "DELETE", "UPDATE", "CREATE", "DROP", "COPY", "ATTACH"}, path


def test_macros_read_no_table():
    for path in sorted((SQL / "macros").glob("*.sql")):
        words = statement_words(path)
        assert "MACRO" in words, path
        assert not words & {"SELECT", "INSERT", "DELETE", "UPDATE", "DROP", "COPY", "ATTACH", "TABLE"}, path
