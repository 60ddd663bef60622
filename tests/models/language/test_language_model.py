from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from models.language.fine_tuning import Optimiser, Schedule
from models.language.language_model import (
    decoder_layers,
    has_bfloat16,
    load_causal_model,
    load_scoring_model,
    load_tokenizer,
    new_scoring_model,
    padding_token,
    read_causal_model,
    save_checkpoint,
    select_trainable,
)

TEXT = torch.tensor([[0, 9, 8, 7, 6]])


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def train_and_save(folder, tiny_model_folder, tune, load=load_causal_model):
    """Three steps on one text; returns the names of the saved weights that differ from the untuned ones."""
    model = load(tiny_model_folder)
    before = weights(model)
    select_trainable(model, tune, seed=1)
    optimiser = Optimiser(model.parameters(), Schedule(0.05, steps=3, warmup_share=0.0, weight_decay=0.0))
    for _ in range(3):
        optimiser.accumulate(model(TEXT).logits.square().mean())
        optimiser.step()
    save_checkpoint(model, load_tokenizer(tiny_model_folder), folder)
    after = weights(load(folder))
    assert after.keys() == before.keys()
    with torch.no_grad():
        torch.testing.assert_close(load(folder)(TEXT).logits, model(TEXT).logits, atol=1e-4, rtol=1e-4)
    return {name for name in before if not torch.equal(before[name], after[name])}, set(before)


def test_top_changes_the_last_layers_and_the_vocabulary_head_and_nothing_else(tmp_path, tiny_model_folder):
    changed, names = train_and_save(tmp_path / "model", tiny_model_folder, "top:2")
    assert changed == {name for name in names if name.startswith(("model.layers.2.", "model.layers.3.", "lm_head."))}


def test_full_changes_every_layer_and_the_embeddings(tmp_path, tiny_model_folder):
    changed, names = train_and_save(tmp_path / "model", tiny_model_folder, "full")
    assert changed == names


def test_lora_changes_the_linear_layers_of_the_body_and_is_merged(tmp_path, tiny_model_folder):
    changed, names = train_and_save(tmp_path / "model", tiny_model_folder, "lora")
    assert changed == {name for name in names if "_proj." in name}
    assert not any("lora" in name for name in names)


@pytest.mark.parametrize(("tune", "part"), [("top:1", "model.layers.3."), ("lora", "_proj.")])
def test_a_scoring_head_is_always_trained(tmp_path, tiny_model_folder, tune, part):
    changed, names = train_and_save(
        tmp_path / "model", tiny_model_folder, tune, partial(new_scoring_model, seed=0, layers=None)
    )
    assert changed == {name for name in names if part in name} | {"score.weight"}


@pytest.mark.parametrize(
    ("tune", "message"), [("top:5", "has 4 layers"), ("top:0", "has 4 layers"), ("all", "choose full")]
)
def test_an_unknown_choice_of_weights_is_named(tiny_model_folder, tune, message):
    with pytest.raises(ValueError, match=message):
        select_trainable(load_causal_model(tiny_model_folder), tune, seed=0)


def test_scoring_head_follows_its_seed_and_loads_as_a_sequence_classifier(tmp_path, tiny_model_folder):
    first, again, other = (new_scoring_model(tiny_model_folder, seed, None) for seed in (1, 1, 2))
    assert torch.equal(first.score.weight, again.score.weight)
    assert not torch.equal(first.score.weight, other.score.weight)
    save_checkpoint(first, load_tokenizer(tiny_model_folder), tmp_path / "scorer")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "scorer")
    assert loaded.config.num_labels == 1
    assert loaded.config.pad_token_id == 1
    assert torch.equal(loaded.score.weight, first.score.weight)


def test_seeding_a_head_leaves_the_callers_random_numbers_alone(tiny_model_folder):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    select_trainable(new_scoring_model(tiny_model_folder, 9, None), "lora", seed=9)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("native", "computed"), [(True, torch.bfloat16), (False, torch.float32)])
def test_half_precision_is_computed_in_bfloat16_where_the_processor_has_it(
    tmp_path, tiny_model_folder, monkeypatch, native, computed
):
    monkeypatch.setattr("models.language.language_model.has_bfloat16", lambda: native)
    model = load_causal_model(tiny_model_folder).half()
    save_checkpoint(model, load_tokenizer(tiny_model_folder), tmp_path / "half")
    assert read_causal_model(tmp_path / "half").dtype == torch.float16
    assert load_causal_model(tmp_path / "half").dtype == computed
    assert load_causal_model(tiny_model_folder).dtype == torch.float32


@pytest.mark.skipif(torch.cuda.is_available() or not Path("/proc/cpuinfo").exists(), reason="asks the kernel of a CPU")
def test_bfloat16_is_what_the_kernel_says_of_the_processor():
    flags = set(Path("/proc/cpuinfo").read_text().split())
    assert has_bfloat16() == bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def test_the_lower_layers_alone_are_a_model_of_their_own(tmp_path, tiny_model_folder):
    whole = new_scoring_model(tiny_model_folder, seed=1, layers=None)
    lower = new_scoring_model(tiny_model_folder, seed=1, layers=3)
    with torch.no_grad():
        states = whole.base_model(TEXT, output_hidden_states=True).hidden_states[3]
        expected = lower.base_model.norm(states)
        torch.testing.assert_close(lower.base_model(TEXT).last_hidden_state, expected)
        save_checkpoint(lower, load_tokenizer(tiny_model_folder), tmp_path / "model")
        again = load_scoring_model(tmp_path / "model")
        assert len(decoder_layers(again)) == again.config.num_hidden_layers == 3
        torch.testing.assert_close(again(TEXT).logits, lower(TEXT).logits)
    with pytest.raises(ValueError, match="the model has 4: choose 1 to 4"):
        new_scoring_model(tiny_model_folder, seed=1, layers=5)


def test_decoder_layers_and_padding(tiny_model_folder):
    assert len(decoder_layers(load_causal_model(tiny_model_folder))) == 4
    assert padding_token(load_tokenizer(tiny_model_folder)) == 1


@pytest.mark.parametrize("load", [load_causal_model, load_scoring_model, load_tokenizer])
def test_what_is_no_model_is_named_with_the_mend(tmp_path, load):
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(ValueError, match=f"{tmp_path} holds no language model.*name a folder with config.json"):
        load(tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path, tiny_model_folder):
    save_checkpoint(load_causal_model(tiny_model_folder), load_tokenizer(tiny_model_folder), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(ValueError, match=f"{tmp_path} cannot be loaded as a language model"):
        load_causal_model(tmp_path)


def test_a_hub_id_out_of_reach_is_named():
    with pytest.raises(ValueError, match="nobody/no-such-model cannot be loaded as a language model"):
        load_causal_model("nobody/no-such-model")


def test_float32_masters_keep_updates_that_bfloat16_weights_would_lose():
    """Ten steps of 0.001 down from 1, where the spacing of bfloat16 is 1/256: each alone would round back to 1."""
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    optimiser = Optimiser([weight], Schedule(0.001, steps=1000, warmup_share=0.001, weight_decay=0.0))
    for _ in range(10):
        optimiser.accumulate(weight.sum())
        optimiser.step()
    assert optimiser.masters[0].item() == pytest.approx(0.99, abs=1e-3)
    assert weight.item() == pytest.approx(0.99, abs=1 / 256)


def test_heads_take_steps_of_their_own_size():
    """The first step of AdamW is as long as the learning rate."""
    body, head = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimiser = Optimiser([body], Schedule(0.01, steps=1, warmup_share=0.0, weight_decay=0.0), [head], head_rate=5.0)
    optimiser.accumulate((body + head).sum())
    optimiser.step()
    assert (body.item(), head.item()) == (pytest.approx(-0.01, rel=1e-4), pytest.approx(-0.05, rel=1e-4))


def test_gradients_of_parts_add_up_in_float32():
    """A thousand parts of 1/1000 and one of 1: in bfloat16 the small ones would vanish beside the large one."""
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    optimiser = Optimiser([weight], Schedule(0.1, 1, 0.0, 0.0))
    optimiser.accumulate(weight.sum())
    for _ in range(1000):
        optimiser.accumulate(weight.sum() / 1024)
    assert optimiser.masters[0].grad.item() == pytest.approx(1 + 1000 / 1024, rel=1e-3)


def test_a_saved_state_goes_on_as_if_nothing_had_happened():
    def steps(optimiser, weight, count):
        for _ in range(count):
            optimiser.accumulate((weight**2).sum())
            optimiser.step()

    schedule = Schedule(0.01, 6, 0.2, 0.1)
    whole, first = (torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16)) for _ in range(2))
    steps(Optimiser([whole], schedule), whole, 6)
    optimiser = Optimiser([first], schedule)
    steps(optimiser, first, 2)
    second = torch.nn.Parameter(torch.zeros(3, dtype=torch.bfloat16))
    again = Optimiser([second], schedule)
    again.load_state(optimiser.state())
    steps(again, second, 4)
    assert torch.equal(whole, second)


def test_schedule_rises_then_falls_to_its_last_step():
    rates = [Schedule(1.0, steps=10, warmup_share=0.4, weight_decay=0.0).rate(step) for step in range(10)]
    np.testing.assert_allclose(rates, [1 / 4, 2 / 4, 3 / 4, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7])


def test_frozen_weights_are_left_alone():
    frozen, free = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    frozen.requires_grad_(False)
    optimiser = Optimiser([frozen, free], Schedule(0.1, 1, 0.0, 0.5))
    optimiser.accumulate((frozen * free).sum())
    optimiser.step()
    assert frozen.tolist() == [1.0, 1.0]
    assert (free < 1).all()
