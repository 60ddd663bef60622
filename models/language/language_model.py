"""Loading, choosing what to train, and saving a pretrained language model of any family.

Everything goes through the Auto classes of transformers, and remote code is never trusted. Nothing here knows which
model it holds, nor what it is trained for.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from models.language.device import chosen_device

LORA_RANK = 16


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the progress bars and warnings of transformers, whose bars write thousands of lines into a log."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder or hub id.

    Raises:
        ValueError: there is none, naming the source and the fix.
    """
    tokenizer: PreTrainedTokenizerBase = _load(AutoTokenizer.from_pretrained, source)
    return tokenizer


def read_causal_model(source: str | Path) -> PreTrainedModel:
    """The language model of a folder or hub id with its vocabulary head, as it is stored.

    Raises:
        ValueError: there is none, naming the source and the fix.
    """
    model: PreTrainedModel = _load(AutoModelForCausalLM.from_pretrained, source, dtype="auto")
    return model


def load_causal_model(source: str | Path) -> PreTrainedModel:
    """The same, ready to compute: in the arithmetic of this machine, and in evaluation mode."""
    return _ready(read_causal_model(source))


def new_scoring_model(source: str | Path, seed: int, layers: int | None, heads: int = 1) -> PreTrainedModel:
    """The language model of a folder or hub id with linear projections to scores in place of its vocabulary head.

    The heads are the ``score`` layer of a standard sequence classifier, so other engines load the checkpoint too. Where
    the source has no such layer yet, it starts from the model's own initialisation, drawn with ``seed``.

    Args:
        source: folder or hub id.
        seed: of a new score layer.
        layers: how many of the lower decoder layers are kept; None: all. The upper layers of a language model turn
            what was understood into the next word, which a score does not need (Skean et al. 2025, "Layer by Layer").
        heads: rows of the score layer.

    Raises:
        ValueError: there is no model, naming the source and the fix, or it has fewer layers.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _read_scoring_model(source, num_labels=heads)
    if layers is not None:
        _keep_lower_layers(model, layers)
    return _ready(model)


def load_scoring_model(source: str | Path) -> PreTrainedModel:
    """The same as it was saved after a training, heads included.

    Raises:
        ValueError: there is no model, naming the source and the fix.
    """
    return _ready(_read_scoring_model(source))


def arithmetic(stored: torch.dtype) -> torch.dtype:
    """The arithmetic for weights of a stored type: half precision becomes bfloat16, whose range suits training.

    It is float32 where the processor has no bfloat16 products: emulated ones run at 60 GFLOP/s, float32 runs at 320
    (two cores of a Xeon with AVX-512 alone).
    """
    return torch.bfloat16 if stored != torch.float32 and has_bfloat16() else torch.float32


def has_bfloat16() -> bool:
    """Whether the device that models run on multiplies bfloat16 in hardware."""
    device = chosen_device()
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def padding_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id for unused places: the padding token, else the end-of-sequence token."""
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return int(padding or 0)


def select_trainable(model: PreTrainedModel, tune: str, seed: int) -> None:
    """Mark which parameters of the model training may change. A scoring head is always trained.

    Args:
        model: the model, changed in place.
        tune: ``full`` for all parameters, ``top:<n>`` for the last n decoder layers and the vocabulary head (untied
            from the input embeddings), ``lora`` for low-rank adapters beside every linear layer (merged into the
            weights by :func:`save_checkpoint`).
        seed: of the adapters' initial weights.

    Raises:
        ValueError: ``tune`` is none of these, or n exceeds the layers of the model.
    """
    top = re.fullmatch(r"top:(\d+)", tune)
    if tune == "full":
        model.requires_grad_(True)
    elif tune == "lora":
        _add_adapters(model, seed)
    elif top:
        _freeze_below(model, int(top[1]))
    else:
        raise ValueError(f"tune is {tune!r}: choose full, top:<layers> or lora")
    for parameter in _scoring_head(model):
        parameter.requires_grad_(True)


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The stack of decoder layers, found as the model's longest list of modules."""
    stacks = [module for module in model.base_model.modules() if isinstance(module, nn.ModuleList)]
    if not stacks:
        raise ValueError(f"{type(model).__name__} has no list of layers: choose full or lora instead of top:<layers>")
    return max(stacks, key=len)


def save_checkpoint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights (safetensors), configuration and tokenizer as a standard model folder, adapters merged."""
    _merge_adapters(model)
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _load(loader: Callable[..., Any], source: str | Path, **arguments: Any) -> Any:
    fix = "name a folder with config.json, tokenizer and safetensors weights, or the id of a model on the hub"
    if Path(source).is_dir() and not (Path(source) / "config.json").is_file():
        raise ValueError(f"the folder {source} holds no language model (there is no config.json): {fix}")
    try:
        with quiet_transformers():
            return loader(str(source), trust_remote_code=False, **arguments)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{source} cannot be loaded as a language model ({reason}): {fix}") from None


def _read_scoring_model(source: str | Path, **changed: int) -> PreTrainedModel:
    model: PreTrainedModel = _load(AutoModelForSequenceClassification.from_pretrained, source, dtype="auto", **changed)
    model.config.pad_token_id = padding_token(load_tokenizer(source))
    return model


def _keep_lower_layers(model: PreTrainedModel, layers: int) -> None:
    stack = decoder_layers(model)
    if not 1 <= layers <= len(stack):
        raise ValueError(f"{layers} layers are to be kept, but the model has {len(stack)}: choose 1 to {len(stack)}")
    del stack[layers:]
    model.config.num_hidden_layers = layers
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[:layers]


def _ready(model: PreTrainedModel) -> PreTrainedModel:
    """On the chosen device, in its arithmetic."""
    return model.to(device=chosen_device(), dtype=arithmetic(model.dtype)).eval()


def _scoring_head(model: PreTrainedModel) -> list[nn.Parameter]:
    """Parameters outside the base model, where those are no vocabulary head."""
    if model.get_output_embeddings() is not None:
        return []
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    return [parameter for parameter in model.parameters() if id(parameter) not in inside]


def _freeze_below(model: PreTrainedModel, top: int) -> None:
    layers = decoder_layers(model)
    if not 1 <= top <= len(layers):
        raise ValueError(f"tune is top:{top}, but the model has {len(layers)} layers: choose 1 to {len(layers)}")
    model.requires_grad_(False)
    layers[-top:].requires_grad_(True)
    head = model.get_output_embeddings()
    if head is not None:
        _untie(model, head)
        head.requires_grad_(True)


def _untie(model: PreTrainedModel, head: nn.Module) -> None:
    """Give the vocabulary head weights of its own, so that training it leaves the input embeddings alone.

    A frozen head leaves probability on words that begin no label: after the same 2,000 transitions format validity was
    0.88 with it, and 0.94 with a trained one.
    """
    if head.weight is model.get_input_embeddings().weight:
        head.weight = nn.Parameter(head.weight.detach().clone())
        model.config.tie_word_embeddings = False


def _add_adapters(model: PreTrainedModel, seed: int) -> None:
    model.requires_grad_(False)
    config = LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, lora_dropout=0.0, target_modules="all-linear")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model.base_model)


def _merge_adapters(model: PreTrainedModel) -> None:
    adapted = [(name, module) for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, module in adapted:
        module.merge()
        model.set_submodule(name, module.get_base_layer())
