import pytest
from support.landing import ITEMS, connect, write


@pytest.fixture
def landing(tmp_path):
    write(tmp_path / "items" / "items.jsonl", ITEMS)
    return tmp_path


@pytest.fixture
def connection():
    with connect() as opened:
        yield opened
