"""Checkpoints: whether feedback suffices for an alignment model is told before one is trained."""

import polars as pl
import pytest

from alignrec_assets.assets.checkpoints import thin_feedback
from alignrec_assets.settings.schema import Settings


def examples(*histories):
    """Histories as (split, served clusters)."""
    rows = [
        ([at, at + 1], 100 + n, split, False) for at, (split, served) in enumerate(histories) for n in range(served)
    ]
    schema = {"history": pl.List(pl.Int32), "cluster_id": pl.Int32, "split": pl.String, "unseen": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def settings(k, least):
    return Settings.model_validate({"candidates": {"k": k}, "alignment": {"minimum_histories": least}})


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("least", [2, 30])
def test_feedback_suffices_from_so_many_histories_with_2k_clusters_on(k, least, comes_out):
    thin = [("train", 2 * k - 1)] * 50
    enough = [("train", 2 * k)] * (least - 1) + [("test", 2 * k)]
    assert thin_feedback(examples(*thin, *enough), settings(k, least)) == ""
    told = thin_feedback(examples(*thin, *enough[1:]), settings(k, least))
    assert f"{least - 1} of {50 + least - 1} histories have feedback on {2 * k} clusters or more" in told
    assert f"1 of them test histories, and alignment.minimum_histories asks for {least}" in told
    assert "planned by novelty alone" in told
    for setting in ("feedback.minimum_impressions", "feedback.window_days", "candidates.k", "interests.clusters"):
        assert setting in told
    comes_out("gates", f"{least - 1} histories with feedback on {2 * k} clusters, 50 with feedback on less", told)


@pytest.mark.parametrize("histories", [[], [("test", 9)] * 40])
def test_without_a_history_that_teaches_there_is_no_alignment_model(histories):
    told = thin_feedback(examples(*histories), settings(3, 2))
    assert told == (
        "no alignment model: there is no feedback that could teach one; the table is planned by novelty alone"
    )
