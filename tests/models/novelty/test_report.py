"""What is told, drawn and left behind when a novelty model was learned, by either head."""

import dataclasses

import numpy as np
import pytest
from support.options import NOVELTY
from support.transitions import LABELS, transitions

from models.files import MODEL_FOLDER
from models.novelty import report
from models.novelty.report import learn_novelty_model

OUTSIDE = len(LABELS) - 2  # clusters that may come next


@pytest.mark.parametrize(
    ("head", "pictures", "told"),
    [
        ("label_vectors", [("draw_novelty_contest", "novelty.png")], "fitting the law"),
        (
            "words",
            [("draw_novelty_curve", "novelty_curve.png"), ("draw_novelty_contest", "novelty.png")],
            "measuring the tuned model",
        ),
    ],
)
def test_what_is_learned_is_drawn_told_and_timed(head, pictures, told, tiny_model_folder, tmp_path, monkeypatch):
    drawn, lines = [], []
    for name in ("draw_novelty_contest", "draw_novelty_curve"):
        monkeypatch.setattr(report, name, lambda found, choices, path, name=name: drawn.append((name, choices, path)))
    options = dataclasses.replace(NOVELTY, head=head, tune="full", epochs=1)
    with np.errstate(divide="raise"):  # clusters of a history have no chance, and that is no fault
        facts = learn_novelty_model(tiny_model_folder, tmp_path, LABELS, transitions(), options, lines.append)
    assert drawn == [(name, OUTSIDE, tmp_path / file) for name, file in pictures]
    assert (tmp_path / MODEL_FOLDER).is_dir()
    assert facts["head"] == head
    assert 0 < facts["figures"]["seconds"] < 600
    text = "\n".join(lines)
    assert told in text
    assert "fitting what counts" in text
