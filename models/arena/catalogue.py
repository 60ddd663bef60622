"""Items of the simulated platform: titles, tags and categories made of the topics' words, and what lies behind them."""

import datetime as dt
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from models.arena.topics import Topic

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MIXED_SHARE = 0.15  # items about two topics
SECOND_TOPIC_WEIGHT = 0.4
STRAY_WORD_SHARE = 0.1  # items whose title borrows a word from anywhere
TITLES = (
    "{a} and {b} for beginners",
    "The secret of {a}",
    "{a}: a day with {b}",
    "Why {a} and {b} belong together",
    "{a}, {b} and a surprise",
    "Ten things about {a}",
    "My first {a}",
    "{a} versus {b}",
    "A closer look at {a} and {b}",
    "What nobody tells you about {a}",
)
GENERAL_TAGS = ("tips", "beginners", "weekend", "trending", "live", "review")


@dataclass(frozen=True, eq=False)
class Catalogue:
    """All items of a platform.

    Attributes:
        frame: the items as the landing zone wants them.
        topics: [items], the main topic.
        topic_weights: [items, topics], rows sum to 1.
        quality: [items], added to the log-odds of a positive response.
        draw_weights: [items], chance to be picked within a topic or cluster: heavy-tailed popularity, and quality.
        duration_s: [items], whole seconds.
    """

    frame: pl.DataFrame
    topics: IntArray
    topic_weights: FloatArray
    quality: FloatArray
    draw_weights: FloatArray
    duration_s: FloatArray


class GroupSampler:
    """Draws items of given groups (topics, clusters), by weight within the group."""

    def __init__(self, groups: IntArray, count: int, weights: FloatArray) -> None:
        """Items of group -1 are never drawn; ``groups`` and ``weights`` are [items], ``count`` the number of groups."""
        order = np.argsort(groups, kind="stable")
        self.items = order[groups[order] >= 0]
        self.sizes = np.bincount(groups[self.items], minlength=count)
        self.ends = np.cumsum(self.sizes)
        self.cumulative = np.concatenate([[0.0], np.cumsum(weights[self.items])])

    def draw(self, groups: IntArray, rng: np.random.Generator) -> IntArray:
        """One item for each entry of ``groups``: [n]."""
        first, end = self.ends[groups] - self.sizes[groups], self.ends[groups]
        low, high = self.cumulative[first], self.cumulative[end]
        place = np.searchsorted(self.cumulative, low + rng.random(len(groups)) * (high - low), side="right") - 1
        picked: IntArray = self.items[np.clip(place, first, end - 1)]
        return picked


def make_catalogue(topics: tuple[Topic, ...], items: int, first_day: dt.date, seed: int) -> Catalogue:
    """Generate ``items`` items, all published in the 90 days before ``first_day``."""
    rng = np.random.default_rng([seed, 1])
    main = rng.integers(len(topics), size=items)
    second = np.where(rng.random(items) < MIXED_SHARE, rng.integers(len(topics), size=items), main)
    weights = np.zeros((items, len(topics)))
    np.add.at(weights, (np.arange(items), main), 1 - SECOND_TOPIC_WEIGHT)
    np.add.at(weights, (np.arange(items), second), SECOND_TOPIC_WEIGHT)
    quality = rng.normal(0, 0.5, items)
    duration_s = np.clip(np.rint(rng.lognormal(4.0, 0.6, items)), 10, 300)
    published = dt.datetime.combine(first_day, dt.time(), dt.UTC)
    texts = [_texts(topics, int(one), int(other), rng) for one, other in zip(main, second, strict=True)]
    frame = pl.DataFrame(
        {
            "item_id": [f"i{number:06d}" for number in range(items)],
            "title": [text[0] for text in texts],
            "tags": pl.Series([text[1] for text in texts], dtype=pl.List(pl.String)),
            "category": pl.Series([text[2] for text in texts], dtype=pl.String),
            "description": pl.Series([text[3] for text in texts], dtype=pl.String),
            "duration_s": duration_s,
            "published_at": pl.Series(
                [published - dt.timedelta(minutes=int(age)) for age in rng.integers(1, 90 * 24 * 60, items)],
                dtype=pl.Datetime("us", "UTC"),
            ),
        }
    )
    draw_weights = np.exp(rng.normal(0, 0.8, items) + 0.6 * quality)
    return Catalogue(frame, main, weights, quality, draw_weights, duration_s)


def _texts(
    topics: tuple[Topic, ...], main: int, second: int, rng: np.random.Generator
) -> tuple[str, list[str], str | None, str | None]:
    """Title, tags, category and description; the words of a mixed item come from both of its topics."""
    own = [str(word) for word in rng.choice(topics[main].keywords, 4, replace=False)]
    other = [str(word) for word in rng.choice(topics[second].keywords, 2, replace=False)]
    a, b = own[0], other[0] if second != main else own[1]
    if rng.random() < STRAY_WORD_SHARE:
        b = str(rng.choice(topics[int(rng.integers(len(topics)))].keywords))
    title = str(rng.choice(TITLES)).format(a=a, b=b)
    tags = [own[1], own[2]] + ([other[1]] if second != main else [])
    tags += [topics[main].name] if rng.random() < 0.8 else []
    tags += [str(rng.choice(GENERAL_TAGS))] if rng.random() < 0.3 else []
    category = topics[main].family if rng.random() < 0.9 else None
    description = f"About {own[2]}, {own[3]} and {other[0]}." if rng.random() < 0.5 else None
    return title[0].upper() + title[1:], list(dict.fromkeys(tags)), category, description
