"""Dagster's own storage, and all that touches its private parts."""
