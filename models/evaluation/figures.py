"""Figures as text, those that could not be measured too."""


def figure_text(value: float | None, form: str = ".3f", missing: str = "-") -> str:
    """The figure in a format such as ``.3f``; ``missing`` where there is none."""
    return missing if value is None else format(value, form)
