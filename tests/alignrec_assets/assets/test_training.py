"""Training sets: the settings that decide how counted cells become examples."""

from datetime import date

import polars as pl
import pytest

from alignrec_assets.assets.training import (
    pointwise_options,
    require_a_positive,
    require_transitions,
    told_examples,
)
from alignrec_assets.settings.schema import Settings
from models.alignment.pointwise_examples import PointwiseOptions


def test_examples_are_made_by_the_settings():
    alignment = {"holdout_share": 0.4, "report_share": 0.75, "unseen_cluster_share": 0.2, "seed": 9}
    feedback = {"prior": "cluster", "normalisation": "lift", "interval": "auto"}
    settings = Settings.model_validate({"alignment": alignment, "feedback": feedback})
    assert pointwise_options(settings) == PointwiseOptions(
        holdout_share=0.4,
        report_share=0.75,
        unseen_cluster_share=0.2,
        prior="cluster",
        normalisation="lift",
        interval=None,
        seed=9,
    )


def test_feedback_without_a_single_positive_is_refused_by_name_and_number(comes_out):
    counted = pl.DataFrame({"impressions": [700, 534], "positive": [0, 0], "liked": [0, 3]})
    settings = Settings.model_validate({"feedback": {"window_days": 28}})
    with pytest.raises(
        ValueError, match="'positive', and none of the 1,234 impressions of the 28 days up to 2026-01-18"
    ) as told:
        require_a_positive(counted, settings, date(2026, 1, 18))
    comes_out("no positive", "1,234 impressions, none of them positive", str(told.value))


def test_feedback_with_a_positive_or_with_few_impressions_is_no_error():
    settings = Settings.model_validate({"feedback": {"signal": "liked"}})
    few = pl.DataFrame({"impressions": [60, 39], "liked": [0, 0]})
    require_a_positive(few, settings, date(2026, 1, 18))  # a like may be missing by chance
    require_a_positive(pl.DataFrame({"impressions": [534], "liked": [1]}), settings, date(2026, 1, 18))
    none = pl.DataFrame(schema={"impressions": pl.Int64, "liked": pl.Int64})
    require_a_positive(none, settings, date(2026, 1, 18))


def test_transitions_of_one_user_teach_nothing_that_could_be_measured(comes_out):
    transitions = pl.DataFrame({"user_id": ["ada", "ada"]})
    with pytest.raises(ValueError, match=r"there are 2 novel transitions of 1 users, and 2 such users are") as told:
        require_transitions(transitions, Settings(), date(2026, 1, 18))
    comes_out("thin logs", "novel transitions of one user alone", str(told.value))
    require_transitions(pl.DataFrame({"user_id": ["ada", "bob"]}), Settings(), date(2026, 1, 18))


def test_the_log_tells_how_many_transitions_are_examples_and_which_wait():
    facts = {
        "as_of": "2026-01-18",
        "novel_transitions": 6673,
        "later_transitions": 0,
        "training_examples": 3400,
        "holdout_examples": 488,
    }
    told = told_examples(facts, Settings().novelty)
    assert told == (
        "3,400 of 6,673 novel transitions up to 2026-01-18 are examples (at most 3,400, novelty.maximum_examples), "
        "488 are held out"
    )
    waiting = told_examples(facts | {"later_transitions": 1200}, Settings().novelty)
    assert waiting == f"{told}; 1,200 later ones wait until novelty.refresh_days = 28 have passed"
