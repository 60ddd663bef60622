"""What the layers below those that train make of texts that are read again and again: it never changes, so it is kept.

With ``top:10`` of 30 layers, the second reading of a text costs a third of the first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from models.language.language_model import decoder_layers


def frozen_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The decoder layers below the lowest one that trains; none where the embeddings train."""

    def trains(module: nn.Module) -> bool:
        return any(parameter.requires_grad for parameter in module.parameters())

    found: list[nn.Module] = []
    if trains(model.get_input_embeddings()):
        return found
    for layer in decoder_layers(model):
        if trains(layer):
            break
        found.append(layer)
    return found


class FrozenReading:
    """The outputs of the frozen layers for a sequence of batches, which are the same in every reading.

    Args:
        model: whose trained parameters are marked, see ``language_model.select_trainable``.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._layers = frozen_layers(model)
        self._outputs: dict[int, Any] = {}

    @contextmanager
    def batch(self, number: int) -> Iterator[None]:
        """While the model reads this batch: its frozen layers compute the first time, and hand on the result later."""
        if not self._layers:
            yield
        elif number in self._outputs:
            for layer in self._layers:
                layer.forward = lambda *_, **__: self._outputs[number]
            try:
                yield
            finally:
                for layer in self._layers:
                    del layer.forward
        else:
            with self._kept(number):
                yield

    @contextmanager
    def _kept(self, number: int) -> Iterator[None]:
        def keep(_: nn.Module, __: Any, output: Any) -> None:
            self._outputs[number] = output

        handle = self._layers[-1].register_forward_hook(keep)
        try:
            yield
        finally:
            handle.remove()
