"""Figures as text."""

from models.evaluation.figures import figure_text, interval_text


def test_a_figure_is_rounded_and_a_missing_one_is_marked():
    assert [figure_text(0.12345), figure_text(None)] == ["0.123", "-"]
    assert [figure_text(1234.56, ".4g"), figure_text(None, missing="none")] == ["1235", "none"]


def test_a_figure_from_few_histories_is_told_with_its_interval():
    assert interval_text(0.73913, (0.6521, 0.8123), 99) == "0.739 (0.652 to 0.812)"
    assert interval_text(0.73913, (0.6521, 0.8123), 100) == "0.739"
    assert interval_text(None, None, 0, missing="none") == "none"
    assert interval_text(0.73913, None, 99) == "0.739"
