"""What every step is given: the home, and the device that its models run on."""

import os

import dagster as dg
import pytest

from alignrec_assets.home import Home
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.sources import SettingsError, load_settings, update_settings_file
from models.language.device import VARIABLE


@dg.asset
def place(home: HomeResource):
    return os.environ[VARIABLE]


def test_models_of_a_step_run_where_the_settings_say(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "auto")
    home = Home(tmp_path)
    resource = HomeResource(database=str(home.warehouse))
    for device in ("cpu", "cuda:1", "auto"):
        update_settings_file(home, {"base_model": {"device": device}})
        assert dg.materialize([place], resources={"home": resource}).output_for_node("place") == device


def test_a_device_is_named_as_torch_names_it(tmp_path):
    home = Home(tmp_path)
    update_settings_file(home, {"base_model": {"device": "gpu"}})
    with pytest.raises(SettingsError, match=r"base_model\.device"):
        load_settings(home)
