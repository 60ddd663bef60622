"""vLLM as the second engine of both models, for those that need an accelerator: how it is opened and closed.

It reads the checkpoints as they are: standard model folders, adapters merged, the head of the alignment model as the
``score`` layer of a sequence classifier. On a CPU it runs through vLLM's CPU build (`make vllm`).
"""

import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from models.language.language_model import arithmetic

if TYPE_CHECKING:
    from vllm import LLM


LONGEST_HISTORY = 8  # clusters, the most that settings allow: vLLM reserves room for so long a prompt
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "2",  # gigabytes
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def vllm_dtype(folder: Path) -> str:
    """vLLM's name of the arithmetic that the project's own engines use for a model folder."""
    from transformers import AutoConfig

    return str(arithmetic(AutoConfig.from_pretrained(folder).dtype)).removeprefix("torch.")


def open_vllm(folder: Path, longest: int, runner: str = "generate") -> "LLM":
    """The engine with the model of a folder, for sequences of at most ``longest`` tokens.

    Raises:
        ValueError: vLLM is not installed.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from vllm import LLM
    except ImportError as error:
        raise ValueError(
            f"vLLM cannot be loaded ({error}): `make vllm` installs its CPU build, `pip install 'alignrec[vllm]'` the "
            "one for GPUs; or choose another engine"
        ) from None
    return LLM(
        str(folder),
        runner=runner,
        dtype=vllm_dtype(folder),
        max_model_len=longest,
        # With a prompt in two parts a seeded random stream has to step back, which it cannot on a CPU (vLLM 0.32).
        enable_chunked_prefill=False,
        enforce_eager=True,
        seed=0,
    )


def closer(owner: object, model: "LLM") -> Callable[[], object]:
    """Ends the model's process when its owner is deleted or before: else it outlives the process that started it."""
    return weakref.finalize(owner, model.llm_engine.engine_core.shutdown)
