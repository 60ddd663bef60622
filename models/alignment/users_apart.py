"""The contest with users kept apart: who judges the held-out histories has taught nothing.

A user passes through many histories. Held-out histories therefore have users who gave feedback to the same clusters in
training histories, and their habits may help whoever remembers them. Here some of the users teach and the others judge:
the rates of training and validation cells are those of the first, the rates of test cells those of the second. Head,
affinities and yardsticks are fitted again, to states that the selected body has read; the body is not trained again, so
what its own steps learned, they learned from all users.
"""

from collections.abc import Sequence

import polars as pl
import torch

from models.alignment.apart_examples import APART
from models.alignment.candidate_reader import CandidateStates
from models.alignment.examples import ServedHistory, group_by_history, with_raw_rates
from models.alignment.joint_cells import JointCells
from models.alignment.joint_head import (
    choose_spreads,
    fit_joint_head,
    fit_stack_head,
    spreads_of_head_alone,
    stack_scores,
)
from models.alignment.pointwise_examples import training_rows
from models.alignment.report import yardstick_scores
from models.alignment.served_yardsticks import fit_yardsticks
from models.arrays import AnyFloatArray
from models.evaluation.ranking_contest import LANGUAGE_MODEL, MODEL, Contest, hold_contest

INFIX = "_users_apart"


def contest_of_users_apart(
    examples: pl.DataFrame,
    read: Sequence[CandidateStates],
    *,
    stack: bool,
    label_vectors: bool,
    clusters: int,
    label_embeddings: AnyFloatArray | None,
    k: int,
    seed: int,
) -> Contest | None:
    """Fit to those who teach, judge by the others; None where nothing was taught.

    Args:
        examples: with the columns of ``APART``, without clusters that are kept from training.
        read: states of training, validation and test histories by the selected body; a training history that is not
            among them teaches the yardsticks, and a stack that needs no states.
        stack: whether the model is one; otherwise it is the language model alone.
        label_vectors: whether a stack has a head on them.
        clusters: N.
        label_embeddings: [N, dimensions] of the labels, rows of length 1; None leaves out what needs them.
        k: the cut of the metrics.
        seed: of bootstrap and factorisation.
    """
    apart = examples.drop(*APART.values()).rename(APART).drop_nulls(list(APART.values()))
    if training_rows(apart).is_empty():
        return None
    served = group_by_history(with_raw_rates(apart), clusters)
    states = ReadCells(read)
    train = [row for row in served["train"] if states.hold(row)]
    if not train:
        return None
    vectors = label_embeddings if label_vectors else None
    validation = served["validation"]
    cells = JointCells.of(states.of(train).array(), train, clusters, vectors)
    held_out = JointCells.of(states.of(validation).array(), validation, clusters, vectors) if validation else None
    fitted = {LANGUAGE_MODEL if stack else MODEL: fit_joint_head(cells, spreads_of_head_alone(cells, held_out))}
    if stack:
        everything = JointCells.without_states(served["train"], clusters, vectors)
        fitted[MODEL] = fit_stack_head(cells, everything, choose_spreads(cells, held_out, k))
    test = states.of(served["test"])
    scores = {name: stack_scores(test, head.head, head.offsets) for name, head in fitted.items()}
    rows = training_rows(apart)
    yardsticks = fit_yardsticks(rows, clusters)
    for name, score in yardstick_scores(rows, yardsticks, clusters, label_embeddings, seed).items():
        scores[name] = score(test.histories, test.candidates)
    return hold_contest(scores, [row.rates for row in served["test"]], k, seed)


class ReadCells:
    """States by cell, whatever histories and candidates they were read with."""

    def __init__(self, read: Sequence[CandidateStates]) -> None:
        self.states = torch.cat([batch for part in read for batch in part.batches])
        pairs = [pair for part in read for pair in zip(part.histories, part.candidates, strict=True)]
        cells = [(tuple(history), cluster) for history, clusters in pairs for cluster in clusters]
        self.place = {cell: index for index, cell in enumerate(cells)}

    def hold(self, row: ServedHistory) -> bool:
        """Whether the history was read, judged by its first cluster."""
        return (tuple(row.history), row.clusters[0]) in self.place

    def of(self, served: Sequence[ServedHistory]) -> CandidateStates:
        """As if these clusters of these histories had been read alone."""
        places = [self.place[tuple(row.history), cluster] for row in served for cluster in row.clusters]
        batches = [self.states[places]] if places else []
        return CandidateStates([row.history for row in served], [row.clusters for row in served], batches)
