"""Leaks: cells that are held out change nothing that scores are made from, by a bit; one that teaches does.

Held out are cells of validation and test histories, and of clusters kept from training. Priors, maps and the rounding
interval are fitted to the others. The bar of the filter alone is a figure of the whole log, see ``filter_cells``: these
cells have passed it.
"""

from dataclasses import replace
from itertools import product

import polars as pl
import pytest
from support.leaks import TEACHES, one_of, other_counts, split_cells
from support.options import SCORES

from models.feedback.transition_scores import normalise_scores, transition_scores

METHODS = ("quantile", "rate", "z_score", "lift")
OPEN = replace(SCORES, minimum_impressions=1, minimum_users=1, minimum_share_of_mean=0.0, interval=None)


def learned(cells, prior, method):
    """Scores of the cells that teach, what they were rounded to, and the priors."""
    found = transition_scores(cells, replace(OPEN, prior=prior, normalisation=method))
    return found.scores.filter(TEACHES), found.interval, found.priors


@pytest.mark.parametrize(("prior", "method"), list(product(("cluster", "affinity"), METHODS)))
def test_scores_are_learned_from_the_cells_that_teach(prior, method):
    cells = split_cells()
    scores, interval, priors = learned(cells, prior, method)
    again, same_interval, same_priors = learned(other_counts(cells, ~TEACHES), prior, method)
    assert again.equals(scores)
    assert (same_interval, same_priors) == (interval, priors)
    moved, _, other_priors = learned(other_counts(cells, one_of(cells)), prior, method)
    assert not moved[1:]["shrunk_rate"].equals(scores[1:]["shrunk_rate"])
    assert other_priors != priors


@pytest.mark.parametrize("method", METHODS)
def test_another_normalisation_of_the_same_cells_is_fitted_to_those_that_teach(method):
    scored = transition_scores(split_cells(), OPEN).scores
    rates = ("shrunk_rate", "lower", "upper")
    before, interval = normalise_scores(scored, method, None)
    after, same_interval = normalise_scores(turned(scored, ~TEACHES, rates), method, None)
    assert after.filter(TEACHES).equals(before.filter(TEACHES))
    assert same_interval == interval
    halved, _ = normalise_scores(turned(scored, one_of(scored), rates), method, None)
    assert (halved[1:]["score"].equals(before[1:]["score"])) == (method in ("rate", "lift"))  # maps without a fit


def turned(cells, changed, rates):
    """Cells whose rates are halved where ``changed``."""
    return cells.with_columns(pl.when(changed).then(pl.col(name) / 2).otherwise(name).alias(name) for name in rates)
