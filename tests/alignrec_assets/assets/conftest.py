"""What the tests of assets share."""

import pytest

from alignrec_assets.home import Home


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a taxonomy and nothing else."""
    found = Home(tmp_path)
    monkeypatch.setenv("ALIGNREC_HOME", str(tmp_path))
    found.create()
    (found.checkpoints / "taxonomy").mkdir(parents=True)
    (found.checkpoints / "taxonomy" / "CURRENT").write_text("t\n")
    return found
