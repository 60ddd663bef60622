"""Where models run: on the device that was chosen, with the same results on each that this machine has."""

import numpy as np
import pytest
import torch
from support.alignment import LABELS

from models.alignment.candidate_reader import CandidateReader
from models.language.device import VARIABLE, choose_device, chosen_device
from models.language.language_model import load_causal_model, load_tokenizer, new_scoring_model
from models.novelty.label_distribution import label_distributions
from models.novelty.label_vectors import read_labels

GPUS = torch.cuda.device_count()
DEVICES = ("cpu", *(f"cuda:{place}" for place in range(min(GPUS, 1))))
HISTORIES = [(0, 1), (2, 5), (0, 4)]


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setenv(VARIABLE, "auto")


def test_a_gpu_is_taken_if_there_is_one(monkeypatch):
    assert chosen_device().type == ("cuda" if GPUS else "cpu")
    monkeypatch.delenv(VARIABLE)
    assert chosen_device().type == ("cuda" if GPUS else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chosen_device() == torch.device("cuda")
    assert choose_device("cpu") == "cpu"
    assert chosen_device() == torch.device("cpu")


@pytest.mark.parametrize(("name", "there"), [("cuda", 0), ("cuda:1", 1)])
def test_a_gpu_that_is_not_there_is_refused_by_the_name_of_the_setting(tiny_model_folder, name, there, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    choose_device(name)
    with pytest.raises(ValueError, match=f"base_model.device is {name}, but torch sees {there} GPUs here: choose auto"):
        load_causal_model(tiny_model_folder)


@pytest.mark.parametrize("device", DEVICES)
def test_models_run_on_the_device_and_compute_the_same(tiny_model_folder, device):
    choose_device("cpu")
    expected = what_models_compute(tiny_model_folder, "cpu")
    choose_device(device)
    for found, value in zip(what_models_compute(tiny_model_folder, device), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-3, atol=1e-4)


def what_models_compute(folder, device):
    """Logits of candidates, the law of the labels as words, and their vectors, with the tiny model in float32."""
    scoring, causal = new_scoring_model(folder, seed=1, layers=None), load_causal_model(folder)
    assert scoring.device == causal.device == torch.device(device)
    assert causal.dtype == torch.float32
    reader = CandidateReader(scoring, load_tokenizer(folder), LABELS)
    logits = reader.all_logits(HISTORIES, [[cluster for cluster in range(6) if cluster not in h] for h in HISTORIES])
    law = label_distributions(folder, LABELS, HISTORIES, [0.7, 1.0])
    with torch.inference_mode():
        vectors = read_labels(causal, load_tokenizer(folder), LABELS).cpu().numpy()
    return np.concatenate(logits), law.probabilities, law.format_validity, vectors
