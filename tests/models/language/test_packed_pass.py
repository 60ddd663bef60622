"""The packed pass against the plain one: every prompt with every sequence alone, no mask, no packing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from models.language.label_trie import label_trie, separate_branches
from models.language.packed_pass import end_states, next_token_logits, pack, sequence_log_probabilities

END = 1
PROMPTS = [[0, 9, 8], [0, 20, 21, 22, 23, 24, 25, 26, 27, 28], [0]]
SEQUENCES = [[[5, 6], [5], [5, 6, 7], [8]], [[40, 41, 42, 43]], [[60], [61, 62], [60, 62]]]


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()


def alone(model, prompt, sequence, temperature=1.0):
    """Log probability of the sequence and its terminator, by a plain causal pass over this one text."""
    continuation = [*sequence, END]
    with torch.no_grad():
        logits = model(torch.tensor([prompt + continuation[:-1]])).logits[0, len(prompt) - 1 :]
    steps = (logits.double() / temperature).log_softmax(-1)
    return float(steps[torch.arange(len(continuation)), continuation].sum())


@pytest.mark.parametrize("build", [label_trie, separate_branches])
@pytest.mark.parametrize("temperature", [1.0, 0.5, 1.7])
def test_packed_log_probabilities_equal_those_of_each_sequence_alone(model, build, temperature):
    batch = pack(PROMPTS, [build(sequences) for sequences in SEQUENCES], padding=1)
    with torch.no_grad():
        packed = sequence_log_probabilities(next_token_logits(model, batch), batch, END, temperature)
    expected = [
        alone(model, prompt, sequence, temperature)
        for prompt, sequences in zip(PROMPTS, SEQUENCES, strict=True)
        for sequence in sequences
    ]
    np.testing.assert_allclose(packed.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "config"),
    [
        (Qwen2ForCausalLM, Qwen2Config(num_key_value_heads=2)),
        (Gemma3ForCausalLM, Gemma3TextConfig(num_key_value_heads=2, head_dim=8, final_logit_softcapping=5.0)),
    ],
)
def test_other_families_are_read_alike(family, config):
    config.update({"vocab_size": 80, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2})
    config.update({"num_attention_heads": 4, "pad_token_id": 1, "initializer_range": 0.3})
    torch.manual_seed(3)
    model = family(config).eval()
    batch = pack(PROMPTS, [label_trie(sequences) for sequences in SEQUENCES], padding=1)
    with torch.no_grad():
        packed = sequence_log_probabilities(next_token_logits(model, batch), batch, END, 1.0)
    expected = [alone(model, p, s) for p, sequences in zip(PROMPTS, SEQUENCES, strict=True) for s in sequences]
    np.testing.assert_allclose(packed.numpy(), expected, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(2, 60), min_size=1, max_size=4).map(tuple), min_size=1, max_size=6, unique=True),
    st.lists(st.integers(2, 60), min_size=1, max_size=20),
)
def test_any_trie_after_any_prompt(model, labels, prompt):
    batch = pack([prompt], [label_trie(labels)], padding=1)
    with torch.no_grad():
        packed = sequence_log_probabilities(next_token_logits(model, batch), batch, END, 1.0)
    np.testing.assert_allclose(packed.numpy(), [alone(model, prompt, label) for label in labels], atol=1e-4)


def test_end_states_equal_the_last_states_of_each_branch_alone(tiny_model_folder):
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model_folder, num_labels=1).eval()
    batch = pack(PROMPTS, [separate_branches(sequences) for sequences in SEQUENCES], padding=1)
    with torch.no_grad():
        packed = end_states(model, batch)
        expected = [
            model.base_model(torch.tensor([prompt + sequence])).last_hidden_state[0, -1]
            for prompt, sequences in zip(PROMPTS, SEQUENCES, strict=True)
            for sequence in sequences
        ]
    assert batch.end_rows().tolist() == [0, 0, 0, 0, 1, 2, 2, 2]
    torch.testing.assert_close(packed, torch.stack(expected), atol=1e-4, rtol=1e-4)


def test_gradients_equal_those_of_the_sequences_alone(tiny_model_folder):
    def gradient(loss_of):
        model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
        loss_of(model).backward()
        return {name: weight.grad for name, weight in model.named_parameters()}

    def packed_loss(model):
        batch = pack(PROMPTS, [separate_branches(sequences) for sequences in SEQUENCES], padding=1)
        return -sequence_log_probabilities(next_token_logits(model, batch), batch, END, 1.0).sum()

    def plain_loss(model):
        losses = []
        for prompt, sequences in zip(PROMPTS, SEQUENCES, strict=True):
            for sequence in sequences:
                ids = torch.tensor([[*prompt, *sequence, END]])
                ignored = torch.full((1, len(prompt)), -100)
                targets = torch.cat([ignored, ids[:, len(prompt) :]], dim=1)
                losses.append(model(ids, labels=targets).loss * (len(sequence) + 1))
        return torch.stack(losses).sum()

    packed, plain = gradient(packed_loss), gradient(plain_loss)
    for name, expected in plain.items():
        torch.testing.assert_close(packed[name], expected, atol=1e-3, rtol=1e-3)


def test_layout_by_hand():
    batch = pack([[0, 9]], [label_trie([[5, 6], [7]])], padding=3)
    assert batch.prompt_width == 8
    assert batch.input_ids.tolist() == [[3] * 6 + [0, 9, 5, 6, 7]]
    assert batch.position_ids.tolist() == [[0] * 6 + [0, 1, 2, 3, 2]]
    assert batch.attention_mask[0, 0, 6:, 6:].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    assert not batch.attention_mask[0, 0, 6:, :6].any()
    assert batch.end_columns().tolist() == [9, 10]
