import pytest

from models.files import checked_name, move_into_place, new_folder, remove_folder


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_folder_that_another_process_makes_meanwhile_is_replaced_by_the_later_one(tmp_path):
    with new_folder(tmp_path / "model") as partial:
        (partial / "weights").write_text("mine")
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "weights").write_text("theirs")
        (tmp_path / "model" / "more").write_text("theirs")
    assert content(tmp_path / "model") == {"weights": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failure_leaves_the_folder_that_stood(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("old")
    with pytest.raises(OSError, match="disk"), new_folder(tmp_path / "model") as partial:
        (partial / "weights").write_text("half")
        raise OSError("disk")
    assert content(tmp_path / "model") == {"weights": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_stands_is_not_moved_over(tmp_path):
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "table").write_text(name)
    assert not move_into_place(tmp_path / "mine", tmp_path / "theirs")
    assert content(tmp_path / "theirs") == {"table": "theirs"}
    assert move_into_place(tmp_path / "mine", tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        move_into_place(tmp_path / "mine", tmp_path / "elsewhere")


def test_a_removed_folder_leaves_nothing(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("old")
    remove_folder(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["0123456789abcdef", "v1", "2026-01-05", "a.b_c-d", "x" * 200])
def test_a_name_is_itself(name):
    assert checked_name(name, "the version") == name


NO_NAMES = [
    "",
    " ",
    ".",
    "..",
    "../v",
    "a/",
    "/a",
    "a/b",
    "a\\b",
    "a b",
    " a",
    "a\n",
    ".a",
    "-a",
    "a*",
    "~",
    "a\0",
    "é",
]


@pytest.mark.parametrize("name", [*NO_NAMES, "x" * 201])
def test_a_path_is_no_name(name):
    with pytest.raises(ValueError, match=r"the version .* is no name"):
        checked_name(name, "the version")
