"""The clusters are listed with sizes and titles."""

import pytest
from rich.console import Console

from alignrec_assets.commands.clusters import show_clusters
from alignrec_assets.home import Home
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import Record, write_records


def shown(home):
    console = Console(width=200, record=True, markup=False, emoji=False)
    show_clusters(home, console.print)
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def test_each_cluster_has_its_label_its_size_and_its_most_typical_titles(tmp_path):
    home = Home(tmp_path)
    with Warehouse(home).writing() as connection:
        connection.execute(
            "INSERT INTO interests.clusters VALUES ('t', 1, '[jazz], piano', true, 9), ('t', 0, 'owls', true, 3), "
            "('t', 2, 'empty', true, 1)"
        )
        titles = {"a": "Barn owls", "b": None, "c": "x" * 5_000, "d": "Last owls"}
        for number, (item, title) in enumerate(titles.items()):
            connection.execute("INSERT INTO raw.items (item_id, title) VALUES ($1, $2)", [item, title])
            connection.execute("INSERT INTO interests.item_clusters VALUES ('t', $1, 0, $2)", [item, 1 - number / 10])
        connection.execute("INSERT INTO interests.item_clusters VALUES ('t', 'e', 1, 0.5)")
    heading, owls, *rest = shown(home)
    assert heading == "cluster items label such as"
    assert owls == f"0 4 owls Barn owls; b; {'x' * 59}…"
    assert rest == ["1 1 [jazz], piano e", "2 0 empty"]


def test_a_line_below_tells_what_the_labels_are_worth(tmp_path):
    home = Home(tmp_path)
    figures = {"labels_pairs": 1, "labels_held_out_items": 8, "labels_nearest_share_by_chance": 0.5}
    figures |= {"labels_near_pairs_by_words": 0, "labels_nearest_share_by_words": 0.875}
    with Warehouse(home).writing() as connection:
        connection.execute("INSERT INTO interests.clusters VALUES ('t', 0, 'jazz', true, 9), ('t', 1, 'owls', true, 3)")
        write_records(connection, "interests.clusters", {"": Record("t", 2, {"taxonomy": "t", **figures})})
    assert " ".join(shown(home)[3:]).startswith(
        "of 8 held-out items, the label of their own cluster is the nearest for 88%"
    )


def test_without_clusters_the_command_that_makes_them_is_named(tmp_path):
    home = Home(tmp_path)
    with Warehouse(home).writing():
        pass
    with pytest.raises(ValueError, match="`alignrec run` makes them"):
        show_clusters(home, print)
