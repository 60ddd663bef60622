"""The device of a benchmark: of the project's arms and of their peers alike."""

import argparse
import os
import re


def add_device(parser):
    """Give a command line the option ``--device``."""
    parser.add_argument(
        "--device",
        type=show_only,
        default="auto",
        help="auto: a GPU if there is one; cpu; cuda; or one of several, as cuda:1. It is that of the peers too",
    )


def show_only(name):
    """Let this process, and those that it starts, see one device alone: peers choose among what they see.

    Raises:
        argparse.ArgumentTypeError: it is no name of a device, or there is none of this name.
    """
    found = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", name)
    if not found:
        raise argparse.ArgumentTypeError(f"{name} is no device: choose auto, cpu, cuda or cuda:<n>")
    if name == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif name != "auto":
        os.environ["CUDA_VISIBLE_DEVICES"] = found[1] or "0"
        if device_name() == "cpu":
            raise argparse.ArgumentTypeError(f"torch sees no GPU {name} here: choose auto or cpu")
    return name


def device_name():
    """What the report tells: the name of the GPU, or ``cpu``."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
