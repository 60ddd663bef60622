"""When the alignment model is worth training again, on a warehouse whose rows are set by hand."""

from datetime import date, timedelta

import pytest

from alignrec_assets.automation.conditions import reason_to_learn
from alignrec_assets.home import Home
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.sources import update_settings_file
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import Record, write_records

FIRST = date(2026, 1, 5)
DAYS = [FIRST + timedelta(days=number) for number in range(6)]


@pytest.mark.parametrize(
    ("held_out", "more", "learns"),
    [(0, 50, True), (2, 50, True), (3, 50, False), (5, 50, False), (0, 10, True), (0, 9, False)],
)
def test_enough_new_feedback_up_to_the_days_held_out_is_a_reason_to_learn(
    held_out, more, learns, tmp_path, monkeypatch
):
    """The model learned from 100 impressions up to the third day; ``more`` came on the fourth."""
    home = Home(tmp_path)
    monkeypatch.setenv("ALIGNREC_HOME", str(tmp_path))
    home.create()
    update_settings_file(home, {"alignment": {"holdout_days": held_out}, "automation": {"new_feedback_share": 0.1}})
    learned = {"as_of": str(DAYS[2]), "taxonomy_version": "t", "impressions": 100}
    with Warehouse(home).writing() as connection:
        for day, impressions in ((DAYS[0], 100), (DAYS[3], more)):
            connection.execute(
                "INSERT INTO feedback.transition_users BY NAME "
                "SELECT $day AS day, 't' AS taxonomy_version, [0, 1] AS history, 2 AS cluster_id, "
                "'ada' AS user_id, true AS novel, "
                "$impressions AS impressions, 1 AS positives",
                {"day": day, "impressions": impressions},
            )
        write_records(connection, "feedback.transition_scores", {str(day): Record("f") for day in DAYS})
        write_records(connection, "training.pointwise_examples", {"": Record("f", 1, learned)})
        write_records(connection, "base_model", {"": Record("f")})
    assert bool(reason_to_learn(HomeResource(database=str(home.warehouse)))) == learns
