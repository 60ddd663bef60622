"""The whole line as three selections, each one plain ``dg launch --assets`` call.

Daily tables and whole tables cannot share a run without a day, so the line is cut where days end: the days with the
catalogue and the clusters that they need, what is learned from all of them, and what is published.
"""

SELECTIONS: tuple[tuple[str, str, str], ...] = (
    ("days", "tag:selection=days", "Landing files to scored transitions, for one day or a range of days."),
    ("learning", "tag:selection=learning", "Training sets and checkpoints, from all days materialized so far."),
    ("publication", "tag:selection=publication", "Candidates of every history, scored, selected and published."),
)
"""Name, asset selection as typed after ``--assets``, and description."""

SEARCH: tuple[str, str, str] = (
    "search",
    'key:"alignment_search" or key:"registry/checkpoints"',
    "Trials of other settings of the alignment model, and the registry that lists them; no part of the line.",
)
"""Likewise, of the search."""

STUDY: tuple[str, str, str] = (
    "study",
    'key:"base_model" or key:"training/pointwise_examples" or key:"training/pairwise_examples" or '
    'key:"alignment_model" or key:"registry/checkpoints"',
    "The alignment model and what it needs, without the novelty model; no part of the line.",
)
"""Likewise, of the study."""

SCALING: tuple[str, str, str] = (
    "scaling",
    'key:"inference_scaling"',
    "What more draws and a higher temperature buy; no part of the line.",
)
"""Likewise, of inference scaling."""
