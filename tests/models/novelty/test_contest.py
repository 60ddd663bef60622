"""The contest, against measures computed one transition at a time."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.novelty.contest import COUNTING_ALONE, NoveltyContest, hold_novelty_contest

LAWS = {
    (0, 1): [0.0, 0.0, 0.4, 0.4, 0.1, 0.1],
    (2, 3): [0.6, 0.1, 0.0, 0.0, 0.2, 0.1],
}
POPULARITY = np.array([0.25, 0.25, 0.125, 0.125, 0.125, 0.125])


def law(histories):
    with np.errstate(divide="ignore"):
        return np.log([LAWS[history] for history in histories])


def flat(histories):
    with np.errstate(divide="ignore"):
        return np.log([[0.25 * (cluster not in history) for cluster in range(6)] for history in histories])


def held_out(rows):
    return pl.DataFrame(
        rows, schema={"user_id": pl.String, "history": pl.List(pl.Int64), "cluster_id": pl.Int64}, orient="row"
    )


ROWS = held_out([("a", [0, 1], 2), ("a", [3, 2], 0), ("b", [0, 1], 4), ("c", [2, 3], 1), ("c", [2, 3], 0)])


@pytest.fixture(scope="module")
def contest():
    return hold_novelty_contest({"model": law, "uniform": flat}, ROWS, POPULARITY, seed=1)


def test_values_by_hand(contest):
    found = contest.values["model"]
    assert (contest.transitions, contest.users) == (5, 3)
    assert found["loss"] == pytest.approx(-np.log([0.4, 0.6, 0.1, 0.1, 0.6]).mean())
    assert found["recall_at_1"] == pytest.approx((0.5 + 1 + 0 + 0 + 1) / 5)  # the first of two equal ones
    assert found["recall_at_3"] == pytest.approx((1 + 1 + 0.5 + 0.5 + 1) / 5)
    assert found["recall_at_5"] == found["recall_at_10"] == 1.0
    assert found["macro_recall_at_3"] == pytest.approx((1 + 0.5 + 1 + 0.5) / 4)  # of clusters 0, 1, 2 and 4
    assert found["coverage_at_3"] == pytest.approx(5 / 6)  # 2, 3, 4 and 0, 4, 1
    assert found["surprise_at_3"] == pytest.approx(np.mean([3, 3, 3, 2, 3, 2]))


def test_ties_of_all_get_their_expected_credit(contest):
    found = contest.values["uniform"]
    assert found["recall_at_1"] == found["macro_recall_at_3"] / 3 == 0.25
    assert found["loss"] == pytest.approx(np.log(4))


def test_intervals_are_those_of_users_drawn_again(contest):
    rng, samples, leads = np.random.default_rng(0), [], []
    losses = {"a": [0.4, 0.6], "b": [0.1], "c": [0.1, 0.6]}
    for _ in range(4000):
        users = rng.choice(["a", "b", "c"], 3)
        drawn = -np.log(np.concatenate([losses[user] for user in users]))
        samples.append(drawn.mean())
        leads.append(np.log(4) - drawn.mean())
    assert contest.intervals["model"]["loss"] == pytest.approx(np.quantile(samples, [0.025, 0.975]), abs=0.03)
    assert contest.leads["uniform"]["loss"] == pytest.approx(np.quantile(leads, [0.025, 0.975]), abs=0.03)
    low, high = contest.leads["uniform"]["macro_recall_at_3"]
    assert low < contest.values["model"]["macro_recall_at_3"] - 0.75 < high


def test_a_lead_is_above_0_where_the_model_is_better_whichever_way_the_measure_goes():
    """The model is always right, and the other one puts the right cluster last: whoever is drawn, leads are known."""
    rows = held_out([("a", [0, 1], 5), ("a", [0, 1], 5), ("b", [0, 1], 5), ("c", [2, 3], 5)])
    right, wrong = (np.log([[mass] * 5 + [1 - 5 * mass]]) for mass in (0.02, 0.19))
    laws = {"model": lambda histories: right.repeat(len(histories), 0)}
    laws["wrong"] = lambda histories: wrong.repeat(len(histories), 0)
    found = hold_novelty_contest(laws, rows, POPULARITY, seed=1)
    assert found.values["wrong"]["recall_at_3"] == 0.0
    for measure in ("recall_at_3", "macro_recall_at_3"):
        assert found.leads["wrong"][measure] == pytest.approx([1.0, 1.0])
        assert found.intervals["model"][measure] == pytest.approx([1.0, 1.0])
    assert found.leads["wrong"]["loss"] == pytest.approx([np.log(0.9 / 0.05)] * 2)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([(0, 1), (2, 3)]), st.integers(4, 5)), min_size=1))
def test_macro_recall_is_the_mean_over_what_came_next(rows):
    found = hold_novelty_contest({"model": law}, held_out([(u, list(h), c) for u, h, c in rows]), POPULARITY, seed=1)
    credit = {((0, 1), 4): 0.5, ((0, 1), 5): 0.5, ((2, 3), 4): 1.0, ((2, 3), 5): 0.5}
    means = [np.mean([credit[h, c] for _, h, c in rows if c == target]) for target in {c for *_, c in rows}]
    assert found.values["model"]["macro_recall_at_3"] == pytest.approx(np.mean(means))


def test_the_share_of_yardsticks_beaten_leaves_out_what_the_model_is_made_of():
    def lead(loss, macro):
        return {"loss": [loss, 1.0], "macro_recall_at_3": [macro, 1.0]}

    leads = {"uniform": lead(0.1, 0.1), "popularity": lead(0.1, -0.1), "additive": lead(0.0, 0.1)}
    found = NoveltyContest(1, 1, {}, {}, {**leads, COUNTING_ALONE: lead(0.1, 0.1)})
    assert found.beaten_share == pytest.approx(1 / 3)


def test_the_best_yardstick_has_the_least_loss_and_is_no_part_of_the_model():
    losses = {"model": 1.0, "uniform": 3.0, "additive": 2.0, COUNTING_ALONE: 1.5}
    values = {name: {"loss": loss} for name, loss in losses.items()}
    found = NoveltyContest(1, 1, values, {}, {name: {} for name in losses if name != "model"})
    assert found.best_yardstick == "additive"
