"""Removes what the settings no longer keep, and the rows of users who are forgotten."""
