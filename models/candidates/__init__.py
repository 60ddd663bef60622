"""Candidates of every history: pools, engines, best of n and its distribution."""
