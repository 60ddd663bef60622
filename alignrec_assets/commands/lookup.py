"""Shows the published table: what is planned for a history, and the clusters that a history may name."""

from collections.abc import Callable, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from alignrec_assets.home import Home
from models.evaluation.figures import figure_text
from models.evaluation.proven_ranking import RANKED_BY
from models.serving.transition_table import PlannedCluster, TransitionTable

Show = Callable[[RenderableType], None]
"""Prints text or a table."""


def look_up(home: Home, clusters: Sequence[str], version: str | None, show: Show) -> None:
    """Show the clusters that are planned for users of these clusters, from the published files alone.

    Raises:
        TransitionTableError: nothing is published, or the clusters make no history.
    """
    table = TransitionTable.open(home.published, version)
    planned = table.lookup(clusters)
    history = " + ".join(table.labels[table.cluster_id(cluster)] for cluster in clusters)
    ranked = RANKED_BY[table.manifest["ranking"]]
    show(Text.assemble("Users of ", (history, "bold"), f", version {table.version}, ranked by {ranked}:"))
    show(_planned(planned))
    if "ranking_reason" in table.manifest:  # not in what was published before 2026-12
        show(Text(f"Ranked so because {table.manifest['ranking_reason']}.", style="dim"))


def _planned(planned: list[PlannedCluster]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("rank", "cluster", "label", "alignment", "novelty", "propensity"):
        table.add_column(heading, justify="left" if heading == "label" else "right")
    for row in planned:
        table.add_row(
            str(row.rank),
            str(row.cluster_id),
            row.label,
            figure_text(row.alignment_score),
            f"{row.novelty_probability:.3f}",
            f"{row.propensity:.3f}",
        )
    return table
