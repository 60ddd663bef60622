"""What a benchmark on worlds of several seeds asks of the command line."""

import argparse


def asked_worlds(description):
    """``seeds`` (how many), ``users`` and ``days`` of each world."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--users", type=int, default=8_000)
    parser.add_argument("--days", type=int, default=14)
    return parser.parse_args()
