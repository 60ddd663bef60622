from datetime import date, timedelta

import dagster as dg
import pytest

from alignrec_assets.home import Home
from alignrec_assets.refresh.asset_factory import build_assets, makes
from alignrec_assets.refresh.days import BrokenDaysError, DailyTable, refresh_days
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings

DAY = "2026-01-05"
ROW = "INSERT INTO raw.events BY NAME SELECT day, $1 AS user_id, 'a' AS item_id, day AS ts, false AS positive FROM days"


@pytest.fixture
def source(tmp_path):
    """The file that the table is made from: it names the day's only user."""
    source = tmp_path / "source"
    source.write_text("first")
    return source


def events_of(home, source, after_reading):
    """The asset raw/events as read from the source; ``after_reading`` is called while its day is being written."""

    def survey(connection, _days):
        connection.execute("CREATE OR REPLACE TEMP TABLE seen AS SELECT $1 AS content", [source.read_text()])
        return {}

    def fingerprints(connection, days):
        ((content,),) = connection.execute("FROM seen").fetchall()
        return dict.fromkeys(days, content)

    def build(connection, days):
        connection.execute("CREATE OR REPLACE TEMP TABLE days AS SELECT unnest($1::DATE[]) AS day", [days])
        connection.execute("DELETE FROM raw.events")
        connection.execute(ROW, [source.read_text()])
        after_reading()
        return dict.fromkeys(days, (1, {}))

    partitions = dg.DailyPartitionsDefinition(DAY)

    @makes("raw.events")
    def events(context: dg.AssetExecutionContext):
        return refresh_days(context, home, DailyTable("raw.events", fingerprints, build, survey=survey))

    (asset,) = build_assets([events], Settings(), partitions)
    return asset


def test_a_file_that_changes_while_its_day_is_made_is_read_by_the_next_run(tmp_path, source):
    resource = HomeResource(database=str(Home(tmp_path / "home").warehouse))
    warehouse = resource.warehouse()
    users, reads = [], []

    def change():
        reads.append(source.read_text())
        source.write_text("second")

    for _ in range(3):
        assert dg.materialize([events_of(resource, source, change)], partition_key=DAY).success
        with warehouse.reading() as connection:
            users += [user for (user,) in connection.execute("FROM raw.events SELECT user_id").fetchall()]
    assert users == ["first", "second", "second"]
    assert reads == ["first", "second"]


def test_thousands_of_broken_days_make_one_short_message(comes_out):
    first = date(2000, 1, 1)
    days = {first + timedelta(days=number): f"part-{number}.csv lacks the column user_id" for number in range(8_215)}
    told = str(BrokenDaysError("raw.events", days))
    assert told.startswith("8215 days of raw.events cannot be made")
    assert "2000-01-01: part-0.csv lacks the column user_id" in told
    assert "and 8,210 more" in told
    assert len(told) < 2_500
    comes_out("long messages", "8,215 days, each with another file that cannot be read", told)
