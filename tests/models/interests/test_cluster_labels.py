"""Labels of clusters: the right words, in order, without noise, and never the same twice."""

import re
import unicodedata

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from models.interests.cluster_keywords import cluster_keywords, near_duplicates
from models.interests.cluster_labels import label_clusters
from models.interests.item_embeddings import Embedder
from models.language.prompts import words_that_differ


def frame(rows):
    """Rows of (title, tags, category)."""
    return pl.DataFrame(
        {
            "item_id": [str(number) for number in range(len(rows))],
            "title": [row[0] for row in rows],
            "tags": pl.Series([row[1] for row in rows], dtype=pl.List(pl.String)),
            "category": pl.Series([row[2] for row in rows], dtype=pl.String),
        }
    )


def labels_of(items, ids, clusters):
    """Labels chosen by words alone, as where the platform supplies embeddings."""
    embeddings = np.zeros((items.height, 1), dtype=np.float32)
    return label_clusters(items, np.array(ids), clusters, Embedder("supplied", 1), embeddings, seed=0)[0]


def texts(rows, ids, clusters):
    return [label.text for label in labels_of(frame(rows), ids, clusters)]


def test_weights_by_hand():
    rows = (
        [("", ["owl", "nature"], None)] * 3
        + [("", ["owl"], None), ("barn", ["nature"], None)]
        + [("", ["bread"], None)] * 3
    )
    birds, food = cluster_keywords(frame(rows), np.array([0, 0, 0, 0, 1, 1, 1, 1]), 2)
    weights = {keyword.text: keyword.weight for keyword in birds}
    # owl: in all items of cluster 0 and none of cluster 1; nature: in 3 of 4 and in 1 of 4; a tag weighs 4.
    assert weights["owl"] == pytest.approx(4 * 1.0 * np.log(1.01 / 0.01))
    assert weights["nature"] == pytest.approx(4 * 0.75 * np.log(0.76 / 0.26))
    assert [keyword.text for keyword in birds] == ["owl", "nature"]
    # One item with a word does not make it typical of the cluster.
    assert [(keyword.text, keyword.typical) for keyword in food] == [
        ("bread", True),
        ("nature", False),
        ("barn", False),
    ]


def test_tags_come_before_words_of_titles_and_the_heaviest_first():
    rows = [("The magpie story", ["birds", "nature"], None)] * 10
    rows += [("My magpie cake", ["baking", "cake"], None)] * 5 + [("Bread", ["baking"], None)] * 5
    assert texts(rows, [0] * 10 + [1] * 10, 2) == ["birds, nature, story", "baking, cake, bread"]


def test_a_word_that_tells_nothing_is_left_out():
    drama = [(f"{name} man", ["drama"], None) for name in "abcdefghijklmnopqrstuvwxyz"]
    comedy = [(f"{name} man", ["drama", "comedy"], None) for name in "abcdefghijklmnopqrstuvwxyz"]
    assert texts(drama + comedy, [0] * 26 + [1] * 26, 2) == ["drama", "comedy"]


def test_labels_are_chosen_for_what_sets_each_apart_from_the_others():
    """Of three clusters that share words, each is told by the one that it does not share."""
    shared = ["crime", "thriller"]
    rows = [("", [*shared, own], None) for own in ("mystery", "horror", "western") for _ in range(20)]
    labels = texts(rows, [number // 20 for number in range(60)], 3)
    assert [own in label.split(", ") for own, label in zip(("mystery", "horror", "western"), labels, strict=True)] == [
        True
    ] * 3
    assert sum("crime" in label for label in labels) + sum("thriller" in label for label in labels) < 6


def test_a_name_that_all_clusters_share_is_in_no_label_and_a_number_stays_with_its_name():
    topics = ["Title 42", "budget", "court", "wildfire", "election", "tennis"]
    rows = [(f"Senator Smith on {topic}", None, None) for topic in topics for _ in range(10)]
    labels = texts(rows, [number // 10 for number in range(60)], 6)
    assert [label for label in labels if "smith" in label or "senator" in label] == []
    assert labels == [topic.lower() for topic in topics]


def test_noise_is_left_out():
    rows = [("The 2nd best of 1994, part III: a b two", ["documentary", "80s", "1994", "The Lord of the Rings"], "x")]
    label = texts(rows, [0], 1)[0]
    assert label == "documentary, lord rings"


def test_near_duplicates_stand_once():
    rows = [("Filming a film", ["film", "films", "gardening"], "garden")] * 3
    words = texts(rows, [0, 0, 0], 1)[0].split(", ")
    assert sorted(word[:4] for word in words) == ["film", "gard"]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("film", "films", True),
        ("garden", "gardening", True),
        ("science fiction", "fiction", True),
        ("animation", "animated", True),
        ("board games", "video games", False),
        ("war", "warm", False),
        ("music", "opera", False),
    ],
)
def test_what_counts_as_near_duplicate(one, other, expected):
    assert near_duplicates(one, other) is expected
    assert near_duplicates(other, one) is expected


def test_equal_clusters_get_labels_of_different_words():
    words = ["owl", "bread", "chess", "yoga", "guitar"]
    rows = [("", words[:size], None) for size in (5, 4, 3, 2, 1) for _ in range(4)]
    labels = texts(rows * 4, [number // 20 for number in range(80)], 4)
    assert len({words_that_differ(label) for label in labels}) == 4


def test_items_with_ids_for_tags_are_flagged_unreadable():
    labels = labels_of(frame([(None, ["12"], None), (None, ["tag_7", "3d"], None)]), [0, 1], 2)
    assert [(label.text, label.readable) for label in labels] == [("topic 0", False), ("topic 1", False)]


WORDS = """the of and owl owls film Films 1994 2nd III x É sci-fi bread baking war history don't 80s Love la 7 chess"""
words = st.sampled_from(WORDS.split())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(words, max_size=5), st.lists(words, max_size=3), st.integers(0, 5)), min_size=1, max_size=40
    )
)
def test_any_items_give_unique_clean_labels(rows):
    titles = [(" ".join(title), tags, None) for title, tags, _ in rows]
    labels = labels_of(frame(titles), [cluster for *_, cluster in rows], 6)
    assert len(labels) == 6
    assert len({words_that_differ(label.text) for label in labels}) == 6
    for number, label in enumerate(labels):
        if not label.readable:
            assert label.text == f"topic {number}"
            continue
        keywords = label.text.split(", ")
        assert 1 <= len(keywords) <= 4
        assert not re.search(r"(?<![^\W\d_] )\b\d", label.text)  # a number only right after its word
        for word in re.findall(r"[^\W\d_]+", label.text):
            assert word not in ENGLISH_STOP_WORDS
            assert len(word) > 1
        assert not any(near_duplicates(a, b) for i, a in enumerate(keywords) for b in keywords[:i])


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("हिन्दी फ़िल्में", "हिन्दी, फ़िल्में"),
        ("re\u0301sume\u0301", "résumé"),
        ("L'amour", "amour"),
        ("Toys &amp; Games <br />", "games, toys"),
        ("dell’arte qu'on d'Artagnan", "artagnan, arte"),
        ("أفلام وثائقيّة", "أفلام, وثائقيّة"),
        ("猫", "猫"),
        ("ภาพยนตร์", "ภาพยนตร์"),
        ("Title 42", "title 42"),
        ("Apollo 13 (1995)", "apollo 13"),
        ("Blade Runner 2049", "blade runner 2049"),
        ("1994", "topic 0"),
    ],
)
def test_words_of_every_script_are_read(title, expected, comes_out):
    (label,) = labels_of(frame([(title, None, None)] * 2), [0, 0], 1)
    assert sorted(label.text.split(", ")) == sorted(unicodedata.normalize("NFC", expected).split(", "))
    comes_out("scripts", f"items with the title {title!r}", f"the label {label.text!r}")


@pytest.mark.parametrize(
    ("tags", "others"),
    [
        (["rock music", "live"], ["rock", "music live"]),
        (["Café", "bar"], ["cafe", "bar"]),
        (["sci-fi", "war"], ["sci fi", "war"]),
        (["topic 1"], ["3"]),
    ],
)
def test_labels_that_a_tokenizer_could_read_alike_are_not_given(tags, others, comes_out):
    rows = [("", tags, None)] * 3 + [("", others, None)] * 3
    labels = texts(rows, [0, 0, 0, 1, 1, 1], 2)
    assert words_that_differ(labels[0]) != words_that_differ(labels[1])
    comes_out("labels", f"clusters with the tags {tags} and {others}", f"the labels {labels[0]!r} and {labels[1]!r}")
