"""A file per group of the asset graph, and what judges and draws it."""
