"""The interest topics of the simulated world, as read from topics.toml and, under their facets, from facets.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.arrays import Float64Array

TOPICS_FILE = Path(__file__).with_name("topics.toml")
FACETS_FILE = Path(__file__).with_name("facets.toml")
WRITTEN_SIZES = (24, 48, 64, 96)  # numbers of topics in topics.toml; a larger world holds the smaller ones
FACETED_SIZE = 768  # each of the 96 topics under each of the eight facets
WORLD_SIZES = (*WRITTEN_SIZES, FACETED_SIZE)


@dataclass(frozen=True)
class Topic:
    """One interest: what its items talk about, and which attributes people know it by (0 to 1).

    Attributes:
        name: its main tag.
        family: the category of its items.
        profile: the smallest world that holds it.
        keywords: its words; the facets of a topic share them.
        attributes: weights by name.
        facet_words: of its facet, which the facets of all topics share; empty for a topic without a facet.
    """

    name: str
    family: str
    profile: int
    keywords: tuple[str, ...]
    attributes: dict[str, float]
    facet_words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facet:
    """One side of any topic: its words, and what it adds to the weights of the topic's attributes."""

    name: str
    keywords: tuple[str, ...]
    shifts: dict[str, float]

    def of(self, topic: Topic) -> Topic:
        """The topic seen from this side."""
        moved = {
            name: round(float(np.clip(topic.attributes.get(name, 0) + self.shifts.get(name, 0), 0, 1)), 2)
            for name in topic.attributes | self.shifts
        }
        attributes = {name: weight for name, weight in moved.items() if weight}
        return Topic(f"{topic.name} {self.name}", topic.family, FACETED_SIZE, topic.keywords, attributes, self.keywords)


def load_topics(size: int = WRITTEN_SIZES[-1], path: Path = TOPICS_FILE) -> tuple[tuple[Topic, ...], tuple[str, ...]]:
    """The topics of a world of ``size`` topics, the facets of a topic together, and the names of all attributes.

    Raises:
        ValueError: there is no world of that size, or a topic or facet names an attribute that the file does not list.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    attributes = tuple(content["attributes"])
    if size not in WORLD_SIZES:
        raise ValueError(f"there is no world of {size} topics: choose one of {', '.join(map(str, WORLD_SIZES))}")
    topics = tuple(
        Topic(entry["name"], entry["family"], entry["profile"], tuple(entry["keywords"]), entry["attributes"])
        for entry in content["topics"]
        if entry["profile"] <= size
    )
    for topic in topics:
        _check_listed(topic.attributes, attributes, f"{path}: topic {topic.name!r}")
    if size == FACETED_SIZE:
        facets = load_facets(attributes)
        topics = tuple(facet.of(topic) for topic in topics for facet in facets)
    return topics, attributes


def load_facets(attributes: tuple[str, ...], path: Path = FACETS_FILE) -> tuple[Facet, ...]:
    """The facets that any topic has in the largest world.

    Raises:
        ValueError: a facet shifts an attribute that is not among ``attributes``.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    facets = tuple(Facet(entry["name"], tuple(entry["keywords"]), entry["shifts"]) for entry in content["facets"])
    for facet in facets:
        _check_listed(facet.shifts, attributes, f"{path}: facet {facet.name!r}")
    return facets


def attribute_matrix(topics: tuple[Topic, ...], attributes: tuple[str, ...]) -> Float64Array:
    """Weights [topics, attributes]."""
    return np.array([[topic.attributes.get(name, 0.0) for name in attributes] for topic in topics])


def _check_listed(weights: Mapping[str, float], attributes: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(weights) - set(attributes))
    if unknown:
        raise ValueError(f"{where} has attributes that are not listed: {', '.join(unknown)}; list them in topics.toml")
