"""Rejected rows are shown with their reasons and counts, bounded."""

import pytest
from rich.console import Console
from support.landing import D2, EVENT, ITEMS, load, write

from alignrec_assets.commands.rejected import show_rejected
from alignrec_assets.home import Home
from alignrec_assets.landing.formats.rejected import REJECTED_FOLDER, Rejected, RejectedRows
from alignrec_assets.warehouse.connection import Warehouse


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path)
    home.create()
    write(home.landing / "items" / "items.jsonl", [*ITEMS, {"title": "no id"}])
    broken = [EVENT | {"item_id": f"gone{number}"} for number in range(40)]
    numbers = [EVENT | {"watch_s": "long"}, EVENT | {"watch_s": -5}, EVENT | {"ts": "yesterday"}]
    write(home.landing / "events" / f"day={D2}" / "e.csv", [*broken, *numbers])
    ratings = Rejected("ratings.csv", 3, "rating: 'four' is not a number", "ada", {"userId": "ada"})
    RejectedRows(home.landing / REJECTED_FOLDER).add("ratings.csv", [ratings])
    with Warehouse(home).writing() as connection:
        load(connection, home.landing)
    return home


def shown(home, **asked):
    console = Console(width=200, record=True, markup=False)
    show_rejected(home, *(asked.get(name) for name in ("day", "kind", "reason")), console.print)
    return console.export_text()


def test_reasons_are_counted_without_the_values_of_the_rows(home):
    text = shown(home)
    assert "rejected rows: 45, for 6 reasons" in text
    assert "item_id: '…' is not among the items" in text
    assert "watch_s: '…' is negative" in text
    assert "e.csv, row 1: item_id: 'gone0' is not among the items" in text
    assert len(text.splitlines()) < 40


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ({"kind": "source"}, 1),
        ({"kind": "items"}, 1),
        ({"kind": "events"}, 43),
        ({"reason": "IS NOT A NUMBER"}, 2),
        ({"day": D2, "reason": "not among"}, 40),
        ({"kind": "events", "reason": "gone7"}, 1),
    ],
)
def test_they_are_narrowed_down(home, asked, rows):
    assert f"rejected rows: {rows}," in shown(home, **asked)


def test_nothing_found_says_so(home):
    assert "no rejected row fits" in shown(home, reason="nothing of the kind")
    with pytest.raises(ValueError, match="items, events, feedback, outcomes, source"):
        shown(home, kind="users")
