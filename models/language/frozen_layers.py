"""What the layers below those that train make of texts that are read again and again: it never changes, so it is kept.

With ``top:10`` of 30 layers, the second reading of a text costs a third of the first, and the second step on it three
fifths.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from models.language.language_model import decoder_layers
from models.progress import Log, silent

MOST_BYTES = 2**30  # the study's histories take a quarter of it


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


def begin_training(model: PreTrainedModel) -> None:
    """Switch to training mode. Frozen layers, and what is below them, have no dropout: they read alike each time."""
    frozen = frozen_layers(model)
    model.train(not frozen)
    for layer in decoder_layers(model)[len(frozen) :]:
        layer.train()


class FrozenReading:
    """The outputs of the frozen layers for a sequence of batches, which are the same in every reading.

    Args:
        model: whose trained parameters are marked, see ``language_model.select_trainable``.
        log: is told once if the outputs take more than ``MOST_BYTES``; the other batches are then read anew.
    """

    def __init__(self, model: PreTrainedModel, log: Log = silent) -> None:
        self._layers = frozen_layers(model)
        self._outputs: dict[int, Tensor] = {}
        self._log = log
        self._room = MOST_BYTES

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
        def keep(_: nn.Module, __: Any, output: Tensor) -> None:
            if output.nbytes <= self._room:
                self._outputs[number] = output
                self._room -= output.nbytes
            elif self._room > 0:
                self._log(f"the lower layers read batch {number} and others anew each time: no room for what they say")
                self._room = 0

        handle = self._layers[-1].register_forward_hook(keep)
        try:
            yield
        finally:
            handle.remove()
