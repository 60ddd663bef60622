import pytest

from models.files import move_into_place, new_folder, remove_folder


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
