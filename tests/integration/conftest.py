"""One home on which the whole line has run, shared by the tests that only read it."""

import pytest
from support.line import command, simulate, write_random_feedback

from alignrec_assets.home import Home


@pytest.fixture(scope="session")
def line_home(tmp_path_factory, tiny_model_folder):
    """A home on which the line has run twice: by novelty alone, then with random feedback. Do not change it."""
    home = Home(tmp_path_factory.mktemp("line"))
    simulate(home, tiny_model_folder)
    first = command(home.path, "alignrec", "run")
    write_random_feedback(home)
    second = command(home.path, "alignrec", "run")
    home.reports.joinpath("first.txt").write_text(first.stdout)
    home.reports.joinpath("second.txt").write_text(second.stdout)
    return home
