"""In which order the alignment model reads its training histories.

The histories of one pass share a packed sequence. They stay together: what the frozen layers make of a pass is the same
in every epoch, so it is computed once (``frozen_layers``). The order of the passes is another one in each epoch.
"""

from collections.abc import Iterator

import numpy as np

from models.alignment.options import AlignmentOptions


def training_passes(histories: int, options: AlignmentOptions) -> list[list[int]]:
    """Indices of the histories of each pass: every history once, in a seeded order."""
    order = np.random.default_rng(options.seed).permutation(histories).tolist()
    size = -(-options.histories_per_batch // passes_of_a_step(options))
    return [order[start : start + size] for start in range(0, histories, size)]


def passes_of_a_step(options: AlignmentOptions) -> int:
    """How many passes, alike in size, the histories of one step are divided into."""
    return -(-options.histories_per_batch // options.histories_per_pass)


def step_passes(passes: int, options: AlignmentOptions) -> Iterator[list[int]]:
    """Numbers of the passes of each step: every pass once in a seeded order, then again, until the steps are done."""
    generator = np.random.default_rng((options.seed, 1))
    each = passes_of_a_step(options)
    queue: list[int] = []
    for _ in range(options.steps):
        while len(queue) < each:
            queue.extend(generator.permutation(passes).tolist())
        yield queue[:each]
        queue = queue[each:]
