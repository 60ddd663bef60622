from collections import Counter
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.novelty.examples import VALIDATION_SHARE, choose_novelty_examples, last_learning_day

FIRST = date(2026, 1, 5)
SCHEMA = {"user_id": pl.String, "history": pl.List(pl.Int32), "cluster_id": pl.Int32}


def frame(rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def skewed(popular=500, rare=20):
    rows = [(f"u{n}", [0, 1], 2) for n in range(popular)]
    return frame(rows + [(f"v{n}", [0, 1], 3 + n % 4) for n in range(rare)])


def test_a_popular_label_does_not_drown_the_rest():
    chosen = choose_novelty_examples(skewed(), maximum=100, label_limit=1.5, holdout_share=0.1, seed=1)
    counts = Counter(chosen.filter(pl.col("split") == "train")["cluster_id"])
    assert counts[2] == 30  # 1.5 times the even share of 100 over 5 labels
    assert set(counts) == {2, 3, 4, 5, 6}


def test_labels_fill_up_evenly_when_there_is_plenty():
    rows = frame([(f"u{n}-{label}", [0, 1], label) for label in range(2, 7) for n in range(200)])
    chosen = choose_novelty_examples(rows, maximum=100, label_limit=5, holdout_share=0.1, seed=1)
    assert set(Counter(chosen.filter(pl.col("split") == "train")["cluster_id"]).values()) == {20}


@pytest.mark.parametrize(("labels", "maximum", "taught"), [(5, 9, 5), (5, 10, 10), (1, 10, 10), (5, 2, 2)])
def test_no_label_gets_more_than_its_limit_of_the_even_share_but_one(labels, maximum, taught):
    rows = frame([(f"u{n}-{label}", [0, 1], 2 + label) for label in range(labels) for n in range(50)])
    chosen = choose_novelty_examples(rows, maximum, label_limit=1, holdout_share=0.1, seed=1)
    assert chosen.filter(pl.col("split") == "train").height == taught


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_of_the_users_is_held_out_whatever_they_are_called(share):
    rows = frame([(f"u{n:04}", [0, 1], 2) for n in range(1000)])
    chosen = choose_novelty_examples(rows, 5000, label_limit=2, holdout_share=share, seed=1)
    for split, expected in (("holdout", share), ("validation", VALIDATION_SHARE * (1 - share))):
        held = sorted(chosen.filter(pl.col("split") == split)["user_id"])
        assert len(held) / 1000 == pytest.approx(expected, abs=0.04)
        assert (held[0] < "u0100", held[-1] > "u0900") == (True, True)


@pytest.mark.parametrize(("maximum", "validating"), [(100, 54), (3, 3)])  # 54: by the hash of the users
def test_as_many_transitions_are_held_out_at_most(maximum, validating):
    rows = frame([(f"u{n}", [0, 1], 2) for n in range(1000)])
    chosen = choose_novelty_examples(rows, maximum, label_limit=2, holdout_share=0.5, seed=1)
    assert chosen.filter(pl.col("split") == "holdout").height == maximum
    assert chosen.filter(pl.col("split") == "validation").height == validating


def test_what_is_not_chosen_is_counted():
    rows = skewed()
    chosen = choose_novelty_examples(rows, maximum=200, label_limit=1.5, holdout_share=0.1, seed=1)
    taught = chosen.filter(pl.col("split").is_in(["train", "counted"]))
    others = chosen.filter(pl.col("split").is_in(["validation", "holdout"]))["user_id"]
    assert sorted(taught.drop("split").rows()) == sorted(rows.filter(~pl.col("user_id").is_in(others.implode())).rows())


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(2, 6)), min_size=1, max_size=80), st.integers(1, 40))
def test_sizes_users_and_order(pairs, maximum):
    rows = frame([(f"u{user}", [0, 1], cluster) for user, cluster in pairs])
    chosen = choose_novelty_examples(rows, maximum, label_limit=2, holdout_share=0.3, seed=3)
    training, holdout = (chosen.filter(pl.col("split") == split) for split in ("train", "holdout"))
    assert training.height <= maximum
    assert holdout.height <= max(1, maximum)
    roles = chosen.with_columns(pl.col("split").replace("counted", "train")).group_by("user_id")
    assert roles.agg(pl.col("split").n_unique())["split"].max() == 1
    shuffled = rows.sample(fraction=1, shuffle=True, seed=9)
    again = choose_novelty_examples(shuffled, maximum, label_limit=2, holdout_share=0.3, seed=3)
    assert sorted(again.rows()) == sorted(chosen.rows())


def test_another_seed_holds_out_other_users():
    rows = skewed()
    held = [
        set(choose_novelty_examples(rows, 100, 2, 0.2, seed).filter(pl.col("split") == "holdout")["user_id"])
        for seed in (1, 2)
    ]
    assert held[0] != held[1]


@pytest.mark.parametrize(("users", "held", "validating"), [(1, 0, 0), (2, 1, 0), (3, 1, 1)])
@pytest.mark.parametrize("share", [0.0001, 0.9999])
def test_of_few_users_one_teaches_and_one_is_held_out_and_one_validates(users, held, validating, share):
    rows = frame([(f"u{user}", [0, 1], 2) for user in range(users)])
    chosen = choose_novelty_examples(rows, 100, 2, share, seed=1)
    expected = held if share < 0.5 else users - 1
    assert chosen.filter(pl.col("split") == "holdout")["user_id"].n_unique() == expected
    assert chosen.filter(pl.col("split") == "validation")["user_id"].n_unique() == (validating if share < 0.5 else 0)
    assert chosen.filter(pl.col("split") == "train")["user_id"].n_unique() == 1


@pytest.mark.parametrize(
    ("days", "expected"), [(1, 1), (6, 6), (7, 7), (8, 7), (14, 7), (34, 7), (35, 35), (36, 35), (63, 63), (100, 91)]
)
def test_the_novelty_model_learns_from_the_first_week_and_then_every_28_days(days, expected):
    latest = FIRST + timedelta(days=days - 1)
    assert last_learning_day(FIRST, latest, every=28) == FIRST + timedelta(days=expected - 1)
    assert last_learning_day(FIRST, latest, every=1) == latest
