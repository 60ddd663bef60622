"""Checkpoints: whether feedback suffices for an alignment model is told before one is trained."""

import polars as pl
import pytest

from alignrec_assets.assets.checkpoints import require_levels, thin_feedback
from alignrec_assets.assets.training import pointwise_options
from alignrec_assets.settings.schema import Settings
from models.alignment.pointwise_examples import pointwise_examples


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


def sparse_likes(**feedback):
    """Examples of likes at a percent by the settings: 3,300 cells of 9 impressions."""
    settings = Settings.model_validate({"feedback": {"signal": "liked", **feedback}})
    rows = [
        ([a, b], cluster, 9, 9, int((a * b + cluster) % 100 == 0))
        for a in range(24)
        for b in range(a + 1, 24)
        for cluster in (0, 1, 2, 3, 4, 5, 18, 19, 20, 21, 22, 23)
        if cluster not in (a, b)
    ]
    schema = {"history": pl.List(pl.Int32), "cluster_id": pl.Int32, "impressions": pl.Int64, "users": pl.Int64}
    cells = pl.DataFrame(rows, schema=schema | {"positives": pl.Int64}, orient="row")
    return pointwise_examples(cells, pointwise_options(settings)), settings


def test_labels_of_one_level_are_refused_by_name_before_a_training(comes_out):
    examples, settings = sparse_likes(normalisation="rate", interval=0.05)
    taught = examples.filter(pl.col("split") == "train").height
    with pytest.raises(ValueError, match=f"'liked', and by .*'rate' and .*0.05 all {taught:,} training cells") as told:
        require_levels(examples, settings)
    assert "the same label, 0: there is nothing to align with" in str(told.value)
    assert "Set feedback.normalisation = 'quantile' and feedback.interval = 'auto'" in str(told.value)
    comes_out("one level", f"{taught:,} training cells of likes at 1%, `rate` and interval 0.05", str(told.value))


def test_the_default_tells_sparse_rates_apart():
    examples, settings = sparse_likes()
    require_levels(examples, settings)
    assert examples.filter(pl.col("split") == "train")["score"].n_unique() >= 4


def test_equal_rates_are_refused_whatever_the_map_and_a_single_cell_is_none_of_them():
    examples, settings = sparse_likes()
    equal = examples.with_columns(score=pl.lit(0.5))
    with pytest.raises(ValueError, match=r"0\.5: there is nothing .* Their rates are all equal: collect more feedback"):
        require_levels(equal, settings)
    require_levels(equal.filter(pl.col("split") == "train").head(1), settings)
    seen = equal.with_columns(unseen=pl.int_range(pl.len()) > 0)  # clusters that do not teach do not count
    require_levels(seen, settings)
    require_levels(equal.clear(), settings)
