"""The page of the tables is made by the command, and is the one in docs."""

from pathlib import Path

from support.line import command

from alignrec_assets.commands.tables import tables_page

PAGE = Path(__file__).parents[3] / "docs" / "tables.md"


def test_the_page_of_tables_is_the_one_in_docs(tmp_path):
    assert command(tmp_path, "alignrec", "tables").stdout == PAGE.read_text(encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == tables_page()


def test_the_page_tells_what_a_table_is_made_from():
    _, _, part = tables_page().partition("## feedback.transition_scores")
    part, _, _ = part.partition("\n## ")
    assert "Reads: `feedback.transition_users` (a window of days), `interests.clusters` (whole)." in part
    assert "`feedback.minimum_users`" in part
