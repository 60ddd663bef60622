"""What is judged of predicted rates: by hand, on test histories."""

import numpy as np
import pytest
from scipy.stats import beta, betabinom
from support.alignment import LABELS, toy_examples

from models.alignment.candidate_reader import CandidateStates
from models.alignment.examples import group_by_history
from models.alignment.predicted_rates import PredictedRates, RateMap
from models.alignment.report import JudgedModel, judge

RATE_MAP = RateMap(np.array([0.0, 1.0]), np.array([0.05, 0.85]), np.ones(len(LABELS)))


def score(read):
    return [
        np.array([(3 * cluster + sum(history)) % 7 / 7 for cluster in clusters])
        for history, clusters in zip(read.histories, read.candidates, strict=True)
    ]


@pytest.mark.parametrize("concentration", [6.0, 60.0])
def test_intervals_are_judged_with_the_concentration_that_they_are_told_with(concentration):
    examples = toy_examples()
    learned = PredictedRates(RATE_MAP, concentration)
    model = JudgedModel(lambda histories, candidates: CandidateStates(histories, candidates, []), score, learned)
    figures = judge(model, examples, LABELS, 2, None, 0).figures
    within, widths = [], []
    for row in group_by_history(examples, len(LABELS))["test"]:
        for cluster, observed, n in zip(row.clusters, row.rates, row.impressions, strict=True):
            rate = 0.05 + 0.8 * ((3 * cluster + sum(row.history)) % 7 / 7)
            a, b = concentration * rate, concentration * (1 - rate)
            low, high = betabinom.ppf([0.05, 0.95], n, a, b)
            within.append(low <= round(observed * n) <= high)
            widths.append(np.diff(beta.ppf([0.05, 0.95], a, b))[0])
    assert figures["predictive_coverage"] == pytest.approx(np.mean(within))
    assert figures["interval_width"] == pytest.approx(np.median(widths))
