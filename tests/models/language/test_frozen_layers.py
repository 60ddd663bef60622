"""What frozen layers made of a text is kept: the same bits as reading it anew, without their work."""

import pytest
import torch
from support.alignment import LABELS

from models.alignment.candidate_reader import HISTORIES_PER_PASS, CandidateReader
from models.language.frozen_layers import FrozenReading, frozen_layers
from models.language.language_model import decoder_layers, load_tokenizer, new_scoring_model, select_trainable

HISTORIES = [[a, b] for a in range(8) for b in range(a)] * 2
CANDIDATES = [[c for c in range(8) if c not in history] for history in HISTORIES]


def reader_of(folder, tune):
    model = new_scoring_model(folder, 0, None)
    select_trainable(model, tune, 0)
    return CandidateReader(model, load_tokenizer(folder), LABELS)


@pytest.mark.parametrize("tune, depth", [("top:1", 3), ("top:3", 1), ("top:4", 0), ("full", 0), ("lora", 0)])
def test_the_layers_below_the_lowest_that_trains_are_frozen(tune, depth, tiny_model_folder):
    model = reader_of(tiny_model_folder, tune).model
    assert frozen_layers(model) == list(decoder_layers(model))[:depth]


@pytest.mark.parametrize("tune, again", [("top:1", 0), ("top:4", 1), ("full", 1)])
def test_a_second_reading_sees_what_was_trained_and_repeats_no_frozen_work(tune, again, tiny_model_folder):
    reader = reader_of(tiny_model_folder, tune)
    frozen, calls = FrozenReading(reader.model), []
    first = reader.read(HISTORIES, CANDIDATES, frozen=frozen).array()
    with torch.no_grad():
        for weight in reader.model.parameters():
            if weight.requires_grad:
                weight.add_(0.01 * torch.randn_like(weight))
    attention = decoder_layers(reader.model)[0].self_attn
    counter = attention.register_forward_hook(lambda *_: calls.append(1))
    second = reader.read(HISTORIES, CANDIDATES, frozen=frozen).array()
    counter.remove()
    micro_batches = -(-len(HISTORIES) // HISTORIES_PER_PASS)
    assert micro_batches == 2
    assert len(calls) == again * micro_batches
    anew = reader.read(HISTORIES, CANDIDATES).array()
    assert (second == anew).all()
    assert not (second == first).all()


def test_a_reading_that_fails_leaves_the_model_as_it_was(tiny_model_folder):
    reader = reader_of(tiny_model_folder, "top:1")
    frozen = FrozenReading(reader.model)
    expected = reader.read(HISTORIES[:3], CANDIDATES[:3], frozen=frozen).array()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="stop"), frozen.batch(0):
            raise RuntimeError("stop")
        with pytest.raises(RuntimeError, match="stop"), frozen.batch(1):
            raise RuntimeError("stop")
    assert (reader.read(HISTORIES[:3], CANDIDATES[:3]).array() == expected).all()
