from alignrec_assets.home import Home
from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.records import Record, read_records, write_records


def test_records_are_replaced_by_partition_and_keep_their_details(tmp_path):
    with Warehouse(Home(tmp_path)).writing() as connection:
        write_records(connection, "a", {"2026-01-01": Record("f1", 3, {"x": [1]}), "2026-01-02": Record("f2")})
        write_records(connection, "a", {"2026-01-02": Record("f3", 5, {"data_version": "seen"})})
        found = read_records(connection, "a")
    assert found == {"2026-01-01": Record("f1", 3, {"x": [1]}), "2026-01-02": Record("f3", 5, {"data_version": "seen"})}
    assert found["2026-01-02"].data_version == "seen"
    assert found["2026-01-01"].data_version == "f1"
