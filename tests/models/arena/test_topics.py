"""The topics: as many as each world asks for, told apart by their attributes, and a file that is checked."""

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from models.arena.topics import TOPICS_FILE, WORLD_SIZES, Topic, attribute_matrix, load_topics

ALL, ATTRIBUTES = load_topics()


@pytest.mark.parametrize("size", WORLD_SIZES)
def test_a_world_of_each_size_has_that_many_topics(size):
    topics, attributes = load_topics(size)
    assert len(topics) == size
    assert attributes == ATTRIBUTES


def test_larger_worlds_hold_the_smaller_ones():
    names = [[topic.name for topic in load_topics(size)[0]] for size in WORLD_SIZES]
    for smaller, larger in pairwise(names):
        assert [name for name in larger if name in smaller] == smaller
    assert Counter(topic.profile for topic in ALL) == {24: 24, 48: 24, 64: 16, 96: 32}


def test_names_are_unique_in_twelve_families_of_eight():
    assert len({topic.name for topic in ALL}) == len(ALL)
    families = Counter(topic.family for topic in ALL)
    assert len(families) == 12
    assert set(families.values()) == {8}


def test_every_topic_has_twelve_distinct_plain_keywords():
    for topic in ALL:
        assert len(set(topic.keywords)) == len(topic.keywords) == 12, topic.name
        assert all(re.fullmatch("[a-z]+", word) for word in topic.keywords), topic.name


def test_attributes_are_listed_weighed_and_differ_between_any_two_topics():
    for topic in ALL:
        assert topic.attributes, topic.name
        assert set(topic.attributes) <= set(ATTRIBUTES), topic.name
        assert all(0 < weight <= 1 for weight in topic.attributes.values()), topic.name
    matrix = attribute_matrix(ALL, ATTRIBUTES)
    assert matrix.any(axis=0).all()  # each attribute says something about some topic
    assert len(np.unique(matrix, axis=0)) == len(ALL)


def test_the_attribute_matrix_by_hand():
    topics = (
        Topic("one", "family", 24, ("word",), {"calm": 0.5, "loud": 1.0}),
        Topic("two", "family", 24, ("word",), {"calm": 0.25}),
    )
    assert attribute_matrix(topics, ("loud", "calm", "quick")).tolist() == [[1.0, 0.5, 0.0], [0.0, 0.25, 0.0]]


@pytest.mark.parametrize("size", [0, 25, 97])
def test_an_unknown_size_is_refused_with_the_sizes(size):
    with pytest.raises(ValueError, match=f"no world of {size} topics.*24, 48, 64, 96"):
        load_topics(size)


def test_an_attribute_that_the_file_does_not_list_is_refused_with_its_topic(tmp_path):
    path = tmp_path / "topics.toml"
    text = TOPICS_FILE.read_text(encoding="utf-8")
    line = re.search(r'name = "pottery".*?attributes = \{', text, re.DOTALL).group()
    path.write_text(text.replace(line, f"{line} sparkling = 0.5,"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"topic 'pottery' has attributes that are not listed: sparkling"):
        load_topics(path=path)
