"""The topics: as many as each world asks for, told apart by their attributes, and a file that is checked."""

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from models.arena.catalogue import GENERAL_TAGS, TITLES
from models.arena.topics import (
    FACETED_SIZE,
    FACETS_FILE,
    TOPICS_FILE,
    WORLD_SIZES,
    WRITTEN_SIZES,
    Facet,
    Topic,
    attribute_matrix,
    load_facets,
    load_topics,
)

ALL, ATTRIBUTES = load_topics()
FACETED, _ = load_topics(FACETED_SIZE)
FACETS = load_facets(ATTRIBUTES)


@pytest.mark.parametrize("size", WORLD_SIZES)
def test_a_world_of_each_size_has_that_many_topics(size):
    topics, attributes = load_topics(size)
    assert len(topics) == size
    assert attributes == ATTRIBUTES


def test_larger_worlds_hold_the_smaller_ones():
    names = [[topic.name for topic in load_topics(size)[0]] for size in WRITTEN_SIZES]
    for smaller, larger in pairwise(names):
        assert [name for name in larger if name in smaller] == smaller
    assert Counter(topic.profile for topic in ALL) == {24: 24, 48: 24, 64: 16, 96: 32}


def test_the_largest_world_holds_every_topic_under_each_of_eight_facets():
    assert len(FACETS) == 8
    expected = [(topic, facet) for topic in ALL for facet in FACETS]
    for found, (topic, facet) in zip(FACETED, expected, strict=True):
        assert found.name == f"{topic.name} {facet.name}"
        assert (found.family, found.keywords) == (topic.family, topic.keywords)
        assert found.facet_words == facet.keywords


@pytest.mark.parametrize(("topics", "of_a_family"), [(ALL, 8), (FACETED, 64)])
def test_names_are_unique_in_twelve_families_of_one_size(topics, of_a_family):
    assert len({topic.name for topic in topics}) == len(topics)
    families = Counter(topic.family for topic in topics)
    assert len(families) == 12
    assert set(families.values()) == {of_a_family}


def test_every_topic_has_twelve_distinct_plain_keywords():
    for topic in ALL:
        assert len(set(topic.keywords)) == len(topic.keywords) == 12, topic.name
        assert all(re.fullmatch("[a-z]+", word) for word in topic.keywords), topic.name


def test_a_word_of_a_facet_is_of_no_topic_of_no_other_facet_and_in_no_title_or_tag_of_any_item():
    words = [word for facet in FACETS for word in facet.keywords]
    assert all(len(facet.keywords) == 12 for facet in FACETS)
    assert len(set(words)) == len(words)
    assert all(re.fullmatch("[a-z]+", word) for word in words)
    others = [*(word for topic in ALL for word in topic.keywords), *(topic.name for topic in ALL), *GENERAL_TAGS]
    assert not set(words) & set(re.findall("[a-z]+", " ".join([*others, *TITLES]).lower()))


@pytest.mark.parametrize("topics", [ALL, FACETED])
def test_attributes_are_listed_weighed_and_differ_between_any_two_topics(topics):
    for topic in topics:
        assert topic.attributes, topic.name
        assert set(topic.attributes) <= set(ATTRIBUTES), topic.name
        assert all(0 < weight <= 1 for weight in topic.attributes.values()), topic.name
    matrix = attribute_matrix(topics, ATTRIBUTES)
    assert matrix.any(axis=0).all()  # each attribute says something about some topic
    assert len(np.unique(matrix, axis=0)) == len(topics)


def test_a_facet_shifts_the_weights_of_its_topic_by_hand():
    topic = Topic("one", "family", 24, ("word",), {"calm": 0.5, "loud": 0.9, "quick": 0.2})
    facet = Facet("contests", ("prize",), {"calm": -0.2, "loud": 0.6, "quick": -0.3, "social": 0.1})
    assert facet.of(topic) == Topic(
        "one contests", "family", FACETED_SIZE, ("word",), {"calm": 0.3, "loud": 1.0, "social": 0.1}, ("prize",)
    )


def test_facets_mean_what_their_names_say():
    """Over the facets of each topic, the weight that a facet is known by is nowhere higher than under that facet."""
    known_by = {"origins": "nostalgic", "contests": "competitive", "humour": "humorous", "family": "family"}
    weights = attribute_matrix(FACETED, ATTRIBUTES).reshape(len(ALL), len(FACETS), len(ATTRIBUTES))
    names = [facet.name for facet in FACETS]
    for facet, attribute in known_by.items():
        of_attribute = weights[:, :, ATTRIBUTES.index(attribute)]
        assert (of_attribute[:, names.index(facet)] == of_attribute.max(axis=1)).all(), facet


def test_the_attribute_matrix_by_hand():
    topics = (
        Topic("one", "family", 24, ("word",), {"calm": 0.5, "loud": 1.0}),
        Topic("two", "family", 24, ("word",), {"calm": 0.25}),
    )
    assert attribute_matrix(topics, ("loud", "calm", "quick")).tolist() == [[1.0, 0.5, 0.0], [0.0, 0.25, 0.0]]


@pytest.mark.parametrize("size", [0, 25, 97, 769])
def test_an_unknown_size_is_refused_with_the_sizes(size):
    with pytest.raises(ValueError, match=f"no world of {size} topics.*24, 48, 64, 96, 768"):
        load_topics(size)


def test_an_attribute_that_the_file_does_not_list_is_refused_with_its_topic(tmp_path):
    path = tmp_path / "topics.toml"
    text = TOPICS_FILE.read_text(encoding="utf-8")
    line = re.search(r'name = "pottery".*?attributes = \{', text, re.DOTALL).group()
    path.write_text(text.replace(line, f"{line} sparkling = 0.5,"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"topic 'pottery' has attributes that are not listed: sparkling"):
        load_topics(path=path)


def test_a_shift_of_an_attribute_that_no_topic_may_have_is_refused_with_its_facet(tmp_path):
    path = tmp_path / "facets.toml"
    text = FACETS_FILE.read_text(encoding="utf-8")
    path.write_text(text.replace("shifts = { humorous", "shifts = { sparkling = 0.5, humorous"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"facets.toml: facet 'humour' has attributes that are not listed: sparkling"):
        load_facets(ATTRIBUTES, path)
