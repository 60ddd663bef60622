"""How each step of the line is computed: plain Python on arrays, frames and tensors.

Nothing in this package imports dagster, duckdb or alignrec_assets, and nothing reads a settings file: every choice
arrives as an argument, so that each step can be tested, timed and reused outside the platform.
"""
