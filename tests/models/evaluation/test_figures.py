"""Figures as text."""

from models.evaluation.figures import figure_text


def test_a_figure_is_rounded_and_a_missing_one_is_marked():
    assert [figure_text(0.12345), figure_text(None)] == ["0.123", "-"]
    assert [figure_text(1234.56, ".4g"), figure_text(None, missing="none")] == ["1235", "none"]
