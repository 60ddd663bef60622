"""The interest topics of the simulated world, as read from topics.toml."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.arrays import Float64Array

TOPICS_FILE = Path(__file__).with_name("topics.toml")
WORLD_SIZES = (24, 48, 64, 96)  # numbers of topics; a larger world holds the smaller ones


@dataclass(frozen=True)
class Topic:
    """One interest: what its items talk about, and which attributes people know it by (0 to 1)."""

    name: str
    family: str
    profile: int
    keywords: tuple[str, ...]
    attributes: dict[str, float]


def load_topics(size: int = WORLD_SIZES[-1], path: Path = TOPICS_FILE) -> tuple[tuple[Topic, ...], tuple[str, ...]]:
    """The topics of a world of ``size`` topics, and the names of all attributes.

    Raises:
        ValueError: there is no world of that size, or a topic names an attribute that the file does not list.
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
        unknown = sorted(set(topic.attributes) - set(attributes))
        if unknown:
            raise ValueError(f"{path}: topic {topic.name!r} has attributes that are not listed: {', '.join(unknown)}")
    return topics, attributes


def attribute_matrix(topics: tuple[Topic, ...], attributes: tuple[str, ...]) -> Float64Array:
    """Weights [topics, attributes]."""
    return np.array([[topic.attributes.get(name, 0.0) for name in attributes] for topic in topics])
