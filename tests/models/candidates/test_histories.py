"""Which histories are planned for."""

import polars as pl

from models.candidates.histories import all_histories, unplanned_share
from models.shards import evenly_spread


def test_every_combination_once_in_rising_order():
    assert all_histories(4, 2) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert all_histories(3, 3) == [(0, 1, 2)]


def test_a_spread_holds_at_most_so_many_from_the_first_on():
    histories = all_histories(5, 2)  # ten of them
    assert evenly_spread(histories, 10) == histories
    assert evenly_spread(histories, 9) == histories[::2]
    assert evenly_spread(histories, 3) == [histories[0], histories[4], histories[8]]
    assert evenly_spread([], 3) == []


def test_the_unplanned_share_counts_users_and_not_histories():
    held = pl.DataFrame({"history": [[0, 1, 2], [0, 1, 3], [4, 5, 6]], "users": [6, 3, 1]})
    planned = pl.DataFrame({"history": [[0, 1, 3], [0, 1, 2], [7, 8, 9]]}, schema={"history": pl.List(pl.Int32)})
    assert unplanned_share(held, planned) == 0.1
    assert unplanned_share(held, planned.head(1)) == 0.7
    assert unplanned_share(held, planned.clear()) == 1.0
