"""Later items against the first ones, by hand."""

import polars as pl
import pytest

from models.interests.later_items import fit_of_later_items


def assignments(*rows):
    return pl.DataFrame(rows, schema={"similarity": pl.Float32, "part": pl.Int32}, orient="row")


def test_the_share_is_of_mean_similarities():
    found = fit_of_later_items(assignments((0.5, 0), (0.7, 0), (0.2, 1), (0.4, 2), (0.3, 2)))
    assert found.items == 3
    assert found.similarity_share == pytest.approx(0.3 / 0.6)


def test_without_later_items_nothing_fits_badly():
    assert fit_of_later_items(assignments((0.5, 0))) == (0, 1.0)
