"""The device that models run on: one for the process and the processes that it starts, as their threads are."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

VARIABLE = "LANGUAGE_MODEL_DEVICE"
AUTO = "auto"


def choose_device(name: str) -> str:
    """Let models that are loaded from now on run on a device; returns its name.

    Args:
        name: as torch names it: ``cpu``, ``cuda`` or ``cuda:1``; or ``auto``: a GPU if there is one.
    """
    os.environ[VARIABLE] = name
    return name


def chosen_device() -> "torch.device":
    """The device that was chosen.

    Raises:
        ValueError: this machine does not have it.
    """
    import torch

    name = os.environ.get(VARIABLE, AUTO)
    if name == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"base_model.device is {name}, but torch sees {torch.cuda.device_count()} GPUs here: choose auto or cpu, "
            "or install a torch that was built for your GPU"
        )
    return device
