import json

import pytest

from alignrec_assets.home import Home, HomeError


def test_a_home_of_a_newer_format_is_refused(tmp_path):
    home = Home(tmp_path)
    home.create()
    home.format_file.write_text(json.dumps({"format_version": 99}))
    with pytest.raises(HomeError, match="format 99"):
        home.create()
    home.format_file.write_text("{")
    with pytest.raises(HomeError, match="damaged"):
        home.create()
