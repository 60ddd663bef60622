"""What the UI marks as stale when settings, code or data changed, and what it leaves alone."""

from datetime import timedelta

import polars as pl
import pytest
from support.line import DAYS, FIRST_DAY, answer, materialize, materialize_each

from alignrec_assets.refresh.declarations import DECLARATIONS

ALL_DAYS = [str(FIRST_DAY + timedelta(days=number)) for number in range(DAYS)]
LATE = ALL_DAYS[1]


def stale(home, **variables):
    return answer(home, "staleness.py", **variables)


def test_after_the_line_has_run_nothing_is_stale(copied_home):
    assert stale(copied_home) == {}


def test_a_changed_setting_marks_what_depends_on_it_and_no_other(copied_home):
    marked = stale(copied_home, ALIGNREC_CANDIDATES__TEMPERATURE="1.2")
    assert marked == {"candidates/pools": [""]}
    reading = {each.name.replace(".", "/") for each in DECLARATIONS if "feedback.interval" in each.settings}
    marked = stale(copied_home, ALIGNREC_FEEDBACK__INTERVAL="0.02")
    assert set(marked) == reading - {"alignment_search"}  # which was never made
    assert marked["feedback/transition_scores"] == ALL_DAYS


@pytest.mark.full
def test_a_day_that_changed_marks_that_day_of_its_readers_until_they_are_made_anew(copied_home):
    # A version of its own for each day.
    alone = [(asset, day) for asset in ("raw/events", "interests/user_cluster_days") for day in ALL_DAYS]
    readers = ("interests/first_interactions", "feedback/transition_users", "training/novel_transitions")
    materialize_each(copied_home, *alone, *((asset, ALL_DAYS[0], ALL_DAYS[-1]) for asset in readers))
    assert "interests/user_cluster_days" not in stale(copied_home)
    folder = copied_home.landing / "events" / f"day={LATE}"
    item = pl.read_parquet(folder / "part-0.parquet")["item_id"][0]
    late = {"user_id": ["somebody"], "item_id": [item], "ts": [f"{LATE}T23:00:00Z"], "positive": [True]}
    pl.DataFrame(late).write_parquet(folder / "late.parquet")
    materialize(copied_home, "raw/events", LATE)
    assert stale(copied_home)["interests/user_cluster_days"] == [LATE]
    materialize(copied_home, "interests/user_cluster_days", LATE)
    assert "interests/user_cluster_days" not in stale(copied_home)


def test_a_day_that_is_made_again_from_the_same_marks_nothing(copied_home):
    materialize(copied_home, "raw/events", ALL_DAYS[0], ALL_DAYS[-1])
    assert stale(copied_home) == {}


@pytest.mark.full
def test_good_days_of_a_range_that_failed_are_known_as_such(copied_home):
    """They carry versions: their readers are marked until they are made anew, and not after that."""
    path = copied_home.landing / "events" / f"day={ALL_DAYS[0]}" / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AssertionError, match=r"1 days of raw\.events cannot be made"):
        materialize(copied_home, "raw/events", ALL_DAYS[0], ALL_DAYS[-1])
    assert "raw/events" not in stale(copied_home)
    assert stale(copied_home, ALIGNREC_POSITIVE__LIKED="false")["raw/events"] == ALL_DAYS
    materialize(copied_home, "interests/user_cluster_days", ALL_DAYS[1], ALL_DAYS[-1])
    assert "interests/user_cluster_days" not in stale(copied_home)
    materialize(copied_home, "raw/events", ALL_DAYS[2])  # alone, and unchanged
    assert "interests/user_cluster_days" not in stale(copied_home)
