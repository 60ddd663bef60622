"""The version of a whole table's content."""

import polars as pl

from alignrec_assets.refresh import tables


def test_a_version_follows_from_the_rows_and_their_order_and_not_from_the_parts_that_are_hashed(monkeypatch):
    rows = pl.DataFrame({"history": [[1, 2], [3]] * 50, "score": [0.1, None] * 50})
    whole = tables.content_version(rows)
    monkeypatch.setattr(tables, "ROWS_AT_ONCE", 7)
    assert tables.content_version(rows) == whole
    changed = [rows.reverse(), rows.head(99), rows.with_columns(score=pl.col("score").fill_null(0.0))]
    assert len({whole, *map(tables.content_version, [*changed, rows.clear()])}) == 5
