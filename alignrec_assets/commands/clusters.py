"""Shows the interest clusters of the standing taxonomy: label, size, some titles, and what labels are worth."""

from rich.table import Table

from alignrec_assets.commands.lookup import Show
from alignrec_assets.home import Home
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.records import read_records
from models.interests.label_quality import in_words
from models.messages import one_line

EXAMPLES, TITLE_CHARACTERS = 3, 60


def show_clusters(home: Home, show: Show) -> None:
    """Show every cluster with its id, its label, how many items it has now, and its most typical titles.

    A line below tells how well the labels tell the clusters apart, where this was measured.

    Raises:
        WarehouseError: there is no warehouse yet.
        ValueError: there are no clusters yet.
    """
    with Warehouse(home).reading() as connection:
        rows = connection.execute(query("interests.cluster_examples"), {"examples": EXAMPLES}).fetchall()
        record = read_records(connection, "interests.clusters").get("")
    if not rows:
        raise ValueError(f"{home.path} has no clusters yet: `alignrec run` makes them")
    table = Table(box=None, pad_edge=False)
    for heading in ("cluster", "items", "label", "such as"):
        table.add_column(heading, justify="right" if heading in ("cluster", "items") else "left", overflow="fold")
    for cluster, label, items, titles in rows:
        table.add_row(
            str(cluster), f"{items:,}", label, "; ".join(one_line(title, TITLE_CHARACTERS) for title in titles)
        )
    show(table)
    if record is not None and (told := in_words(record.details)):
        show(told)
