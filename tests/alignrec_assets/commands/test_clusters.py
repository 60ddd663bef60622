"""The clusters are listed with sizes and titles."""

import pytest
from rich.console import Console

from alignrec_assets.commands.clusters import show_clusters
from alignrec_assets.home import Home
from alignrec_assets.warehouse.connection import Warehouse


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


def test_without_clusters_the_command_that_makes_them_is_named(tmp_path):
    home = Home(tmp_path)
    with Warehouse(home).writing():
        pass
    with pytest.raises(ValueError, match="`alignrec run` makes them"):
        show_clusters(home, print)
