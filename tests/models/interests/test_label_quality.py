"""How well labels tell clusters apart: shares, ties, pairs and held-out items, by hand."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.interests.item_embeddings import Embedder
from models.interests.label_quality import held_out, in_words, measure_labels, near_pairs, nearest_credit
from models.interests.label_spaces import meaning_space, word_space

ITEMS = pl.DataFrame(
    {
        "item_id": list("abcdef"),
        "title": ["Owl at night", "Owl", "Bread at home", "Bread", "Night", "Chess"],
        "tags": [["birds"], ["birds"], ["food"], ["food"], None, None],
    }
)
OWN = np.array([0, 0, 1, 1, 0, 1])


@pytest.mark.parametrize(
    ("similarity", "own", "credit"),
    [
        ([[0.9, 0.1], [0.2, 0.8]], [0, 1], 2.0),
        ([[0.9, 0.1], [0.2, 0.8]], [1, 1], 1.0),
        ([[0.5, 0.5], [0.2, 0.8]], [0, 0], 0.5),
        ([[0.0, 0.0, 0.0]], [2], 1 / 3),
        ([[0.5, 0.5000001]], [0], 0.5),
    ],
)
def test_ties_share_the_credit(similarity, own, credit):
    assert nearest_credit(np.array(similarity, dtype=np.float32), np.array(own)) == pytest.approx(credit)


def test_pairs_of_near_labels_count_once():
    similarity = np.array([[1, 0.9, 0.1], [0.9, 1, 0.8], [0.1, 0.8, 1]], dtype=np.float32)
    assert [near_pairs(similarity, limit) for limit in (0.05, 0.8, 0.85, 0.95)] == [3, 2, 1, 0]


@given(st.lists(st.integers(0, 3), max_size=80), st.integers(0, 9))
def test_a_fifth_of_each_cluster_is_held_out_rounded_down(own, seed):
    ids = np.array(own, dtype=np.int64)
    held = held_out(ids, 4, seed)
    assert [int(held[ids == cluster].sum()) for cluster in range(4)] == [
        own.count(cluster) // 5 for cluster in range(4)
    ]
    assert np.array_equal(held, held_out(ids, 4, seed))


def test_shares_by_words_by_hand():
    space = word_space(ITEMS, np.arange(4))
    # Held out are "Night", which the label "owl, night" says, and "Chess", a word that was never read: a tie of two.
    quality = measure_labels(["owl, night", "bread"], OWN, np.array([4, 5]), [space])
    assert (quality.held_out_items, quality.chance, quality.pairs) == (2, 0.5, 1)
    assert quality.spaces["words"].nearest_share == pytest.approx((1 + 1 / 2) / 2)
    assert quality.spaces["words"].near_pairs == 0
    assert measure_labels(["owl, night", "night owl"], OWN, np.array([4, 5]), [space]).spaces["words"].near_pairs == 1


def test_words_are_weighed_by_how_rare_they_are():
    space = word_space(ITEMS, np.arange(4))
    owl, at = np.log1p(4 / 2), np.log1p(4 / 2)
    night, birds = np.log1p(4 / 1), np.log1p(4 / 2)
    similarity = space.similarity(np.array([0]), space.vectors_of(["birds, night"]))
    expected = np.hypot(night, birds) / np.sqrt(owl**2 + at**2 + night**2 + birds**2)
    assert similarity[0, 0] == pytest.approx(expected, abs=1e-6)


def test_a_label_is_placed_as_the_models_read_it_and_platform_vectors_place_none():
    meaning = meaning_space(Embedder("minilm", 384), np.zeros((1, 384), dtype=np.float32))
    same, other = meaning.vectors_of(["rock music, live", "rock, music, live"]), meaning.vectors_of(["owls"])
    assert np.array_equal(same[0], same[1])
    assert same[0] @ other[0] < 0.5
    assert meaning_space(Embedder("supplied", 4), np.zeros((1, 4), dtype=np.float32)) is None


def test_figures_are_told_in_one_line():
    space = word_space(ITEMS, np.arange(4))
    quality = measure_labels(["owl, night", "bread"], OWN, np.array([4, 5]), [space])
    assert in_words(quality.figures) == (
        "of 2 held-out items, the label of their own cluster is the nearest for 75% by words (by chance 50%); near "
        "each other are 0 by words of 1 pairs of labels"
    )
    nothing = measure_labels(["owl", "bread"], OWN, np.array([], dtype=np.int64), [space])
    assert nothing.spaces["words"].nearest_share is None
    assert in_words(nothing.figures).startswith("no cluster is large enough to hold out items")
    assert in_words({}) == ""
