from datetime import date, timedelta

import pytest

from alignrec_assets.training import refresh_day

FIRST = date(2026, 1, 5)


@pytest.mark.parametrize(
    ("days", "expected"), [(1, 1), (6, 6), (7, 7), (8, 7), (14, 7), (34, 7), (35, 35), (36, 35), (63, 63), (100, 91)]
)
def test_the_novelty_model_learns_from_the_first_week_and_then_every_28_days(days, expected):
    latest = FIRST + timedelta(days=days - 1)
    assert refresh_day(FIRST, latest, every=28) == FIRST + timedelta(days=expected - 1)
