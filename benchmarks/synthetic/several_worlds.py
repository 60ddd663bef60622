"""What a benchmark on worlds of several seeds asks of the command line, and what it tells of them."""

import argparse

import numpy as np
from synthetic.devices import add_device


def asked_worlds(description, **more):
    """``seeds`` (how many), ``users`` and ``days`` of each world, and more options with their defaults."""
    parser = argparse.ArgumentParser(description=description)
    for name, default in {"seeds": 5, "users": 8_000, "days": 14, **more}.items():
        several = isinstance(default, list)
        kind = type(default[0] if several else default)
        parser.add_argument(f"--{name}", type=kind, default=default, nargs="+" if several else None)
    add_device(parser)
    return parser.parse_args()


def summary(name, values):
    """Mean and standard deviation over the worlds; of one world there is none."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {name: float(np.mean(values)), f"{name}_spread": spread}
