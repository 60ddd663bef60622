"""Which histories are planned, and when they are chosen anew."""

from datetime import date, datetime, timedelta

import dagster as dg
import pytest
from support.rows import fill

from alignrec_assets.assets import planned_histories
from alignrec_assets.refresh.asset_factory import build_assets
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.settings.sources import update_settings_file
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import Record, write_records
from alignrec_assets.warehouse.rows import table_frame

FIRST = date(2026, 1, 5)
TAXONOMY = "t"
CLUSTERS = 5


@pytest.fixture
def chosen(home):
    """Chooses histories of a length after a day on which users liked clusters, in that order."""
    update_settings_file(home, {"calendar": {"first_day": FIRST}, "candidates": {"unplanned_share": 0.2}})
    warehouse = Warehouse(home)
    with warehouse.writing() as connection:
        named = [{"cluster_id": n, "taxonomy_version": TAXONOMY, "label": f"label {n}"} for n in range(CLUSTERS)]
        fill(connection, "interests.clusters", named)
    made, touched = {}, []

    def choose(length, day, liked):
        update_settings_file(home, {"history": {"clusters": length}})
        moment = datetime.combine(FIRST, datetime.min.time()) + timedelta(days=day)
        common = {"day": moment.date(), "taxonomy_version": TAXONOMY}
        for user, clusters in liked.items():
            for at, each in enumerate(clusters):
                ts = moment + timedelta(seconds=at)
                touched.append(common | {"user_id": user, "cluster_id": each, "first_ts": ts, "last_positive_ts": ts})
        former = {"taxonomy_version": "other", "user_id": "zoe"}
        gone = [row | former | {"cluster_id": 2 * at} for at, row in enumerate(touched[:3])]
        with warehouse.writing() as connection:
            fill(connection, "interests.user_cluster_days", touched + gone)
            made[str(moment.date())] = Record(f"{day}", len(liked))
            write_records(connection, "interests.user_cluster_days", made)
        (asset,) = build_assets([planned_histories.histories], Settings(), dg.DailyPartitionsDefinition(str(FIRST)))
        resources = {"home": HomeResource(database=str(home.warehouse))}
        assert dg.materialize([asset], resources=resources).success
        with warehouse.reading() as connection:
            return [tuple(history) for history in table_frame(connection, "candidates.histories")["history"].to_list()]

    return choose


def test_pairs_are_planned_whether_users_hold_them_or_not(chosen):
    pairs = [(a, b) for a in range(CLUSTERS) for b in range(a + 1, CLUSTERS)]
    assert chosen(2, 0, {"ada": [0, 1]}) == pairs
    assert chosen(2, 1, {"bob": [4, 3]}) == pairs


def test_longer_histories_are_planned_where_users_hold_them_and_anew_once_many_hold_others(chosen):
    many = {f"user {number}": [0, 1, 2] for number in range(9)}
    first = chosen(3, 0, many | {"eve": [4, 2, 3, 1]} | {"bob": [0, 4]})
    assert first == [(0, 1, 2), (1, 2, 3)]
    assert chosen(3, 1, {"eve": [4], "bob": [3]}) == first  # 2 of 11 users hold others: at most a fifth
    assert chosen(3, 2, {"user 0": [3, 4]}) == [(0, 1, 2), (0, 3, 4), (1, 3, 4), (2, 3, 4)]


def test_where_nobody_holds_a_history_there_is_nothing_to_plan(chosen):
    with pytest.raises(ValueError, match=r"no user has had positive events in 3 clusters \(history.clusters\)"):
        chosen(3, 0, {"ada": [0, 1]})
