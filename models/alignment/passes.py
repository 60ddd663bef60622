"""How long the alignment model trains, in which order it reads its training histories, and when it is looked at.

The histories of one pass share a packed sequence. They stay together: what the frozen layers make of a pass is the same
in every epoch, so it is computed once (``frozen_layers``). The order of the passes is another one in each epoch.
"""

from collections.abc import Iterator

import numpy as np

from models.alignment.options import AlignmentOptions


def training_passes(histories: int, options: AlignmentOptions) -> list[list[int]]:
    """Indices of the histories of each pass: every history once, in a seeded order."""
    order = np.random.default_rng(options.seed).permutation(histories).tolist()
    size = -(-options.histories_per_batch // _passes_of_a_step(options))
    return [order[start : start + size] for start in range(0, histories, size)]


def step_passes(histories: int, options: AlignmentOptions) -> Iterator[list[int]]:
    """Numbers of the passes of each step: every pass once in a seeded order, then in another one, to the last step."""
    generator = np.random.default_rng((options.seed, 1))
    passes, each = len(training_passes(histories, options)), _passes_of_a_step(options)
    queue: list[int] = []
    for _ in range(total_steps(histories, options)):
        while len(queue) < each:
            queue.extend(generator.permutation(passes).tolist())
        yield queue[:each]
        queue = queue[each:]


def total_steps(histories: int, options: AlignmentOptions) -> int:
    """Optimiser steps of the whole training."""
    return max(1, round(options.epochs * steps_of_an_epoch(histories, options)))


def looks(histories: int, options: AlignmentOptions) -> set[int]:
    """The steps after which the model is evaluated; the last one is among them."""
    steps, epoch = total_steps(histories, options), steps_of_an_epoch(histories, options)
    many = int(steps * options.looks_per_epoch / epoch)
    return {steps, *(max(1, round(look * epoch / options.looks_per_epoch)) for look in range(1, many + 1))}


def steps_of_an_epoch(histories: int, options: AlignmentOptions) -> int:
    """Optimiser steps in which each training history is shown once; those of the last pass may be shown again."""
    return -(-len(training_passes(histories, options)) // _passes_of_a_step(options))


def _passes_of_a_step(options: AlignmentOptions) -> int:
    """How many passes, alike in size, the histories of one step are divided into."""
    return -(-options.histories_per_batch // options.histories_per_pass)
