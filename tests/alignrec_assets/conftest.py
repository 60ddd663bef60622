import pytest

from alignrec_assets.home import Home


@pytest.fixture
def home(tmp_path):
    """An empty home."""
    found = Home(tmp_path / "home")
    found.create()
    return found
