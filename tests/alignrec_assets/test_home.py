import json

import pytest

from alignrec_assets.home import Home, HomeError
from alignrec_assets.instance.dagster_home import open_instance
from alignrec_assets.warehouse.connection import Warehouse


def test_a_home_of_a_newer_format_is_refused(tmp_path):
    home = Home(tmp_path)
    home.create()
    home.format_file.write_text(json.dumps({"format_version": 99}))
    with pytest.raises(HomeError, match="format 99"):
        home.create()
    home.format_file.write_text("{")
    with pytest.raises(HomeError, match="damaged"):
        home.create()


ODD = ["[", "*", "?", "\\", "%41", "\n", "\t", "\x7f", "\udcff"]


@pytest.mark.parametrize("sign", ODD)
def test_a_path_that_the_databases_would_read_otherwise_is_refused(tmp_path, sign, comes_out):
    """SQLAlchemy cuts at ?, and decodes %41; DuckDB's log too; Dagster looks for its configuration by a pattern."""
    home = Home(tmp_path / f"a{sign}b" / "home")
    with pytest.raises(HomeError, match="rename that folder"):
        home.create()
    assert list(tmp_path.iterdir()) == []
    comes_out("homes", f"a home below a folder named {f'a{sign}b'!r}", "refused by name before anything is written")


@pytest.mark.parametrize(
    "sign", ["]", "#", "=", ";", "'", '"', " ", "&", ":", "$HOME", "~", "{a}", "%", "é", "e\u0301", "名"]
)
def test_other_signs_are_names_like_any_other(tmp_path, monkeypatch, sign, comes_out):
    monkeypatch.setenv("DAGSTER_HOME", "")
    home = Home(tmp_path / f"a{sign}b")
    with open_instance(home) as instance:
        assert instance.get_runs_count() == 0
        assert not instance.telemetry_enabled
    with Warehouse(home).writing():
        pass
    Warehouse(home).compact()
    assert [path.name for path in tmp_path.iterdir()] == [f"a{sign}b"]
    comes_out("homes", f"a home named {f'a{sign}b'!r}", "a home like any other")


@pytest.mark.parametrize("source", ["../x", "/x", "", "a b"])
def test_a_source_is_a_name(monkeypatch, source):
    monkeypatch.delenv("ALIGNREC_HOME", raising=False)
    with pytest.raises(ValueError, match="is no name"):
        Home.from_environment(source)


@pytest.mark.parametrize("content", ["", "[]", '{"format_version": "new"}', '{"format_version": null}', b"\xff"])
def test_a_damaged_format_file_is_told_apart(tmp_path, content):
    home = Home(tmp_path)
    home.format_file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(HomeError, match="damaged"):
        home.check()
