"""What ranks: cases by hand, and what holds of every contest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation.proven_ranking import (
    LEAST_HISTORIES,
    MEASURE,
    RANKED_BY,
    YARDSTICKS,
    forced_ranking,
    proven_ranking,
)

TOLD, UNTOLD = (0.02, 0.15), (-0.059, 0.117)


def contest(random, prior, yardsticks=None, values=(0.5, 0.6), histories=12):
    """Of the model its leads over random and prior; of prior and additive their leads over random, and their NDCG@3."""
    figures = {f"{MEASURE}_{name}": value for name, value in zip(YARDSTICKS, values, strict=True)}
    found = {
        "k": 3,
        "figures": figures | {"held_out_histories": histories},
        "leads": {"random": {MEASURE: random, "f1_at_k": UNTOLD}, "prior": {MEASURE: prior, "f1_at_k": UNTOLD}},
    }
    if yardsticks is None:
        return found
    others = dict(zip(YARDSTICKS, yardsticks, strict=True)) | {"factorisation": (0.4, 0.5)}
    return found | {"leads_over_random": {name: {MEASURE: lead} for name, lead in others.items()}}


@pytest.mark.parametrize(
    ("given", "by", "reason"),
    [
        (
            contest(TOLD, (-0.03, 0.04), (TOLD, TOLD)),
            "alignment",
            "its lead over a random order is +0.020 to +0.150 in NDCG@3 on 12 held-out histories (95% interval), and "
            "over the prior of the cluster -0.030 to +0.040",
        ),
        (
            contest(UNTOLD, (0.01, 0.02), ((0.01, 0.2), UNTOLD)),
            "prior",
            "the alignment model is not told from a random order: its lead is -0.059 to +0.117 in NDCG@3 on 12 "
            "held-out histories (95% interval); the prior of the cluster is told from a random order: its lead is "
            "+0.010 to +0.200",
        ),
        (
            contest(TOLD, (-0.2, -0.001), (TOLD, (0.03, 0.2))),
            "additive",
            "the alignment model ranks worse than the prior of the cluster: its lead is -0.200 to -0.001 in NDCG@3 on "
            "12 held-out histories (95% interval); additive affinity is told from a random order: its lead is +0.030 "
            "to +0.200",
        ),
        (
            contest(UNTOLD, UNTOLD, (UNTOLD, (0.0, 0.1))),
            "novelty",
            "the alignment model is not told from a random order: its lead is -0.059 to +0.117 in NDCG@3 on 12 "
            "held-out histories (95% interval); no yardstick is told from a random order, the prior of the cluster "
            "-0.059 to +0.117, additive affinity +0.000 to +0.100",
        ),
        (
            contest(TOLD, TOLD, (TOLD, TOLD), histories=5),
            "novelty",
            "5 held-out histories judge the alignment model, and at least 6 are needed to prove a ranking",
        ),
    ],
)
def test_by_hand(given, by, reason):
    ranking = proven_ranking(given)
    assert (ranking.by, ranking.reason) == (by, reason)


def test_the_bounds_themselves():
    assert proven_ranking(contest((0.0, 0.2), TOLD, (UNTOLD, UNTOLD))).by == "novelty"  # 0 is not above 0
    assert proven_ranking(contest(TOLD, (-0.1, 0.0), (TOLD, TOLD))).by == "alignment"  # 0 is not below 0
    assert proven_ranking(contest(TOLD, TOLD, histories=LEAST_HISTORIES)).by == "alignment"


def test_of_equal_yardsticks_the_simpler_one_ranks():
    assert proven_ranking(contest(UNTOLD, TOLD, (TOLD, TOLD), values=(0.6, 0.6))).by == "prior"


def test_where_nothing_was_measured_nothing_is_proven():
    empty = {"k": 3, "figures": {"held_out_histories": 0, f"{MEASURE}_prior": None}, "leads": {}}
    unmeasured = contest(TOLD, TOLD) | {"leads": {"random": {}, "prior": {}}}
    halves = [
        unmeasured | {"leads": {"random": {}, "prior": {}, name: {MEASURE: TOLD}}} for name in ("random", "prior")
    ]
    for found in (empty, empty | {"leads_over_random": {}}, unmeasured, *halves):
        assert proven_ranking(found).by == "novelty"


def test_the_yardsticks_of_an_older_checkpoint_prove_nothing():
    assert proven_ranking(contest(TOLD, TOLD)).by == "alignment"
    ranking = proven_ranking(contest(UNTOLD, TOLD))
    assert ranking.by == "novelty"
    assert ranking.reason.endswith("no yardstick is told from a random order")


def test_by_luck_every_history_of_too_few_agrees_more_often_than_an_interval_fails():
    assert 0.5 ** (LEAST_HISTORIES - 1) > 0.025 > 0.5**LEAST_HISTORIES


def test_what_is_forced_says_so():
    assert forced_ranking("alignment").reason == "publication.ranking = alignment asks for it, whatever is proven"


ENDS = st.floats(-1, 1)
INTERVALS = st.tuples(ENDS, ENDS).map(lambda ends: (min(ends), max(ends)))
CONTESTS = st.builds(
    contest,
    random=INTERVALS,
    prior=INTERVALS,
    yardsticks=st.tuples(INTERVALS, INTERVALS),
    values=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    histories=st.integers(0, 40),
)


@given(CONTESTS)
def test_only_what_is_proven_ranks_and_nothing_proven_is_passed_over(given):
    ranking = proven_ranking(given)
    enough = given["figures"]["held_out_histories"] >= LEAST_HISTORIES
    leads = given["leads"]
    model = enough and leads["random"][MEASURE][0] > 0 and not leads["prior"][MEASURE][1] < 0
    proven = {name for name in YARDSTICKS if enough and given["leads_over_random"][name][MEASURE][0] > 0}
    assert ranking.by in RANKED_BY
    assert (ranking.by == "alignment") == model
    assert (ranking.by == "novelty") == (not model and not proven)
    if ranking.by in YARDSTICKS:
        values = {name: given["figures"][f"{MEASURE}_{name}"] for name in proven}
        assert values[ranking.by] == max(values.values())
    assert ranking.reason[-1] != "." and "\n" not in ranking.reason
