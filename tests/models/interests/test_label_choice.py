"""The joint choice of labels: repeatable, unique, and by what the other labels say."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from models.interests.item_embeddings import embed_items
from models.interests.label_choice import Pool, choose_labels
from models.interests.label_spaces import meaning_space, word_space
from models.language.prompts import words_that_differ


def items_of(*clusters):
    """Twelve items for each cluster, with these tags."""
    tags = [list(tags) for tags in clusters for _ in range(12)]
    items = pl.DataFrame({"item_id": [str(number) for number in range(len(tags))], "tags": tags})
    return items, np.repeat(np.arange(len(clusters)), 12)


def choose(items, own, pools):
    embedder, embeddings = embed_items(items, "tfidf", seed=0)
    spaces = [meaning_space(embedder, embeddings), word_space(items, np.arange(items.height))]
    return choose_labels(pools, own, np.arange(items.height), spaces, seed=0)


def test_a_word_that_another_label_holds_is_left_to_it():
    items, own = items_of(("crime", "drama"), ("drama",), ("crime", "western"))
    pools = [Pool(["crime", "drama"], 2, 1), Pool(["drama"], 1, 1), Pool(["crime", "western"], 2, 1)]
    first, second, third = choose(items, own, pools)
    assert second == ("drama",)
    assert set(first) == {"crime", "drama"}
    assert "western" in third


def test_clusters_that_share_all_words_still_get_different_labels_or_none():
    items, own = items_of(("drama", "film"), ("drama", "film"), ("drama", "film"), ("drama", "film"))
    chosen = choose(items, own, [Pool(["drama", "film"], 2, 2)] * 4)
    assert sorted(map(len, chosen)) == [0, 1, 1, 2]
    assert len({words_that_differ(" ".join(keywords)) for keywords in chosen}) == 4


def test_keywords_beyond_the_usual_ones_serve_only_where_nothing_else_is_free():
    items, own = items_of(("drama", "boy"), ("drama", "girl"))
    pools = [Pool(["drama", "boy"], 1, 1), Pool(["drama", "girl"], 1, 1)]
    assert choose(items, own, pools) == [("drama",), ("girl",)]


KEYWORDS = ["crime", "drama", "rock", "rock music", "music live", "live", "Crime", "café", "cafe", "topic 1"]
pools = st.lists(st.sampled_from(KEYWORDS), max_size=5, unique=True)


@settings(max_examples=40, deadline=None)
@given(st.lists(pools, min_size=1, max_size=6))
def test_any_pools_give_labels_of_different_words_the_same_each_time(lists):
    items, own = items_of(*[(*keywords, "common", "film") for keywords in lists])
    given_pools = [Pool(keywords, len(keywords), 1) for keywords in lists]
    chosen = choose(items, own, given_pools)
    assert chosen == choose(items, own, given_pools)
    told = [words_that_differ(" ".join(keywords) or f"topic {cluster}") for cluster, keywords in enumerate(chosen)]
    assert len(set(told)) == len(lists)
    assert all(set(keywords) <= set(pool) for keywords, pool in zip(chosen, lists, strict=True))
    assert all(len(keywords) <= 4 for keywords in chosen)
