"""Pools in shards: the pools of one drawing, resumed where a run was killed."""

import polars as pl
import pytest

from models.candidates.candidate_pools import Pools
from models.candidates.histories import all_histories
from models.candidates.pool_shards import draw_in_shards, read_candidates, read_distributions

HISTORIES = all_histories(5, 2)


class Sampler:
    """Proposes for each history the sum of its clusters."""

    micro_batch = 2

    def __init__(self, fail_at=None):
        self.asked = []
        self.fail_at = fail_at

    def draw(self, histories, log):
        self.asked.append(len(histories))
        if self.fail_at == len(self.asked):
            raise OSError("disk full")
        proposed = pl.DataFrame({"history": [list(h) for h in histories], "cluster_id": [sum(h) for h in histories]})
        return Pools(proposed, proposed.select("history", entropy=1.0))


def test_shards_hold_whole_micro_batches_and_give_all_rows_in_order(tmp_path):
    sampler = Sampler()
    draw_in_shards(sampler, HISTORIES, tmp_path / "shards", 5)
    assert sampler.asked == [4, 4, 2]
    candidates = read_candidates(tmp_path / "shards")
    assert candidates["history"].to_list() == [list(history) for history in HISTORIES]
    assert candidates["cluster_id"].to_list() == [sum(history) for history in HISTORIES]
    assert read_distributions(tmp_path / "shards")["history"].to_list() == candidates["history"].to_list()


def test_distributions_of_an_earlier_version_are_read_under_their_former_name(tmp_path):
    draw_in_shards(Sampler(), HISTORIES, tmp_path / "shards", 5)
    expected = read_distributions(tmp_path / "shards")
    for path in (tmp_path / "shards").glob("*/distributions.parquet"):
        path.rename(path.with_name("laws.parquet"))
    assert read_distributions(tmp_path / "shards").equals(expected)


def test_a_later_run_draws_what_is_missing_alone(tmp_path):
    with pytest.raises(OSError, match="disk full"):
        draw_in_shards(Sampler(fail_at=2), HISTORIES, tmp_path / "shards", 4)
    later = Sampler()
    draw_in_shards(later, HISTORIES, tmp_path / "shards", 4)
    assert later.asked == [4, 2]
    assert read_candidates(tmp_path / "shards").height == len(HISTORIES)
