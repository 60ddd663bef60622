"""Labels of clusters: the right words, in order, without noise, and never the same twice."""

import re
import unicodedata

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from models.interests.cluster_keywords import keyword_weights, near_duplicates
from models.interests.cluster_labels import label_clusters
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


def texts(rows, ids, clusters):
    return [label.text for label in label_clusters(frame(rows), np.array(ids), clusters)]


def test_class_based_tfidf_by_hand():
    rows = [("", ["owl", "nature"], None), ("", ["owl"], None), ("", ["nature"], None), ("", ["bread"], None)]
    birds, food = keyword_weights(frame(rows), np.array([0, 0, 1, 1]), 2)
    # owl: in all items of cluster 0 and none of cluster 1, mean share 1/2; a tag weighs 4.
    assert birds["owl"] == pytest.approx(4 * 1.0 * np.log(1 + 1 / 0.5))
    assert birds["nature"] == pytest.approx(4 * 0.5 * np.log(1 + 1 / 0.5))
    assert list(birds) == ["owl", "nature"]
    assert food["bread"] == pytest.approx(4 * 0.5 * np.log(1 + 1 / 0.25))


def test_tags_come_before_title_words_and_the_heaviest_first():
    rows = [("The magpie story", ["birds", "nature"], None), ("A magpie tale", ["birds"], None)] * 5
    rows += [("My magpie cake", ["baking", "cake"], None), ("Bread", ["baking"], None)] * 5
    assert texts(rows, [0] * 10 + [1] * 10, 2) == ["birds, nature", "baking, cake"]


def test_noise_is_left_out():
    rows = [("The 2nd best of 1994, part III: a b two", ["documentary", "80s", "1994", "The Lord of the Rings"], "x")]
    label = texts(rows, [0], 1)[0]
    assert label == "documentary, lord rings, best"


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


def test_equal_clusters_get_different_labels_by_more_words_then_by_other_words():
    words = ["owl", "bread", "chess", "yoga", "guitar"]
    rows = [("", words[:size], None) for size in (5, 4, 3, 2, 1) for _ in range(4)]
    labels = texts(rows * 4, [number // 20 for number in range(80)], 4)
    assert len({frozenset(label.split(", ")) for label in labels}) == 4
    assert [len(label.split(", ")) for label in labels][:2] == [3, 4]


def test_items_with_ids_for_tags_are_flagged_unreadable():
    labels = label_clusters(frame([(None, ["12"], None), (None, ["tag_7", "3d"], None)]), np.array([0, 1]), 2)
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
    labels = label_clusters(frame(titles), np.array([cluster for *_, cluster in rows]), 6)
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
    (label,) = label_clusters(frame([(title, None, None)] * 2), np.array([0, 0]), 1)
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
    labels = [label.text for label in label_clusters(frame(rows), np.array([0, 0, 0, 1, 1, 1]), 2)]
    assert words_that_differ(labels[0]) != words_that_differ(labels[1])
    comes_out("labels", f"clusters with the tags {tags} and {others}", f"the labels {labels[0]!r} and {labels[1]!r}")
