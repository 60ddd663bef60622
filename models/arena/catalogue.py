"""Items of the simulated world: titles, tags and categories made of the topics' words, and hidden properties.

The catalogue begins with items of the last 90 days and grows every day. An item is about one topic, or about two; its
quality has a heavy tail, and so does the chance that it is picked.
"""

import datetime as dt

import numpy as np
import polars as pl

from models.arena.topics import Topic
from models.arrays import AnyFloatArray, Float32Array, IntArray

MIXED_SHARE = 0.15  # items about two topics
SECOND_TOPIC_WEIGHT = 0.4
STRAY_WORD_SHARE = 0.1  # items whose title has a word from any topic
NEW_SHARE = 0.005  # of the first catalogue, published anew every day
OLDEST_DAYS = 90
QUALITY_FREEDOM = 4.0  # degrees of freedom of Student's t: the fourth moment is infinite
QUALITY_SCALE = 0.35  # log-odds of a positive response
PICK_SPREAD, PICK_QUALITY = 0.8, 0.6  # log of the chance to be picked: normal noise, and a share of the quality
MEDIAN_DURATION_S, DURATION_SPREAD, DURATION_RANGE_S = 55.0, 0.6, (10, 300)
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


class Catalogue:
    """All items published so far.

    Attributes:
        topics: [items, 2] the main and the second topic; the same twice for an item about one topic.
        weights: [items, 2] of the two topics, rows sum to 1.
        quality: [items] added to the log-odds of a positive response.
        pick_weights: [items] chance to be picked within a topic or cluster, up to scale.
        duration_s: [items] whole seconds.
    """

    def __init__(self, topics: tuple[Topic, ...], items: int, first_day: dt.date, seed: int) -> None:
        """A catalogue of ``items`` items published in the 90 days before ``first_day``.

        Raises:
            ValueError: there are fewer items than topics.
        """
        if items < len(topics):
            raise ValueError(f"{items} items are too few for {len(topics)} topics: each needs one")
        self._topics = topics
        self._seed = seed
        self._first_items = items
        self.item_ids = pl.Series("item_id", [], dtype=pl.String)
        self.topics: IntArray = np.zeros((0, 2), dtype=np.int64)
        self.weights: Float32Array = np.zeros((0, 2), dtype=np.float32)
        self.quality: Float32Array = np.zeros(0, dtype=np.float32)
        self.pick_weights: Float32Array = np.zeros(0, dtype=np.float32)
        self.duration_s: Float32Array = np.zeros(0, dtype=np.float32)
        self.first_frame = self._publish(items, first_day, OLDEST_DAYS, np.random.default_rng([seed, 1]))

    def grow(self, day: dt.date) -> pl.DataFrame:
        """Publish the items that are new on ``day`` and return them in the columns of the data contract."""
        rng = np.random.default_rng([self._seed, 1, day.toordinal()])
        return self._publish(int(rng.poisson(NEW_SHARE * self._first_items)), day, 1, rng)

    @property
    def main_topics(self) -> IntArray:
        """[items] the main topic of each item."""
        topics: IntArray = self.topics[:, 0]
        return topics

    def _publish(self, count: int, day: dt.date, oldest_days: int, rng: np.random.Generator) -> pl.DataFrame:
        """Add ``count`` items, published in the ``oldest_days`` days before ``day`` begins."""
        main = rng.integers(len(self._topics), size=count)
        if not len(self.item_ids):  # every topic has an item from the first day
            main[: len(self._topics)] = np.arange(len(self._topics))
        mixed = rng.random(count) < MIXED_SHARE
        other = (main + rng.integers(1, max(len(self._topics), 2), size=count)) % len(self._topics)
        second = np.where(mixed, other, main)
        quality = QUALITY_SCALE * rng.standard_t(QUALITY_FREEDOM, count)
        picked = np.exp(rng.normal(0, PICK_SPREAD, count) + PICK_QUALITY * quality)
        duration_s = np.clip(
            np.rint(rng.lognormal(np.log(MEDIAN_DURATION_S), DURATION_SPREAD, count)), *DURATION_RANGE_S
        )
        ages = rng.integers(1, oldest_days * 24 * 60, count)
        texts = [_texts(self._topics, int(one), int(two), rng) for one, two in zip(main, second, strict=True)]
        first = len(self.item_ids)
        ids = pl.Series("item_id", [f"i{number:07d}" for number in range(first, first + count)], dtype=pl.String)
        self.item_ids = pl.concat([self.item_ids, ids])
        self.topics = np.concatenate([self.topics, np.stack([main, second], axis=1)])
        weights = np.tile(np.array([1 - SECOND_TOPIC_WEIGHT, SECOND_TOPIC_WEIGHT], dtype=np.float32), (count, 1))
        self.weights = np.concatenate([self.weights, weights])
        self.quality = np.concatenate([self.quality, quality.astype(np.float32)])
        self.pick_weights = np.concatenate([self.pick_weights, picked.astype(np.float32)])
        self.duration_s = np.concatenate([self.duration_s, duration_s.astype(np.float32)])
        midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
        return pl.DataFrame(
            {
                "item_id": ids,
                "title": pl.Series([text[0] for text in texts], dtype=pl.String),
                "tags": pl.Series([text[1] for text in texts], dtype=pl.List(pl.String)),
                "category": pl.Series([text[2] for text in texts], dtype=pl.String),
                "description": pl.Series([text[3] for text in texts], dtype=pl.String),
                "duration_s": duration_s,
                "published_at": pl.Series(
                    [midnight - dt.timedelta(minutes=int(age)) for age in ages], dtype=pl.Datetime("us", "UTC")
                ),
            }
        )


class GroupSampler:
    """Draws items of given groups (topics, clusters), by weight within the group."""

    def __init__(self, groups: IntArray, count: int, weights: AnyFloatArray) -> None:
        """Items of group -1 are never drawn; ``groups`` and ``weights`` are [items], ``count`` the number of groups."""
        order = np.argsort(groups, kind="stable")
        self.items = order[groups[order] >= 0]
        self.sizes = np.bincount(groups[self.items], minlength=count)
        self.ends = np.cumsum(self.sizes)
        self.cumulative = np.concatenate([[0.0], np.cumsum(weights[self.items], dtype=np.float64)])

    def draw(self, groups: IntArray, rng: np.random.Generator) -> IntArray:
        """One item for each entry of ``groups``: [n].

        Raises:
            ValueError: a group holds no item.
        """
        empty = self.sizes[groups] == 0
        if empty.any():
            raise ValueError(f"group {int(groups[empty][0])} holds no item to draw")
        first, end = self.ends[groups] - self.sizes[groups], self.ends[groups]
        low, high = self.cumulative[first], self.cumulative[end]
        place = np.searchsorted(self.cumulative, low + rng.random(len(groups)) * (high - low), side="right") - 1
        picked: IntArray = self.items[np.clip(place, first, end - 1)]
        return picked


def _texts(
    topics: tuple[Topic, ...], main: int, second: int, rng: np.random.Generator
) -> tuple[str, list[str], str | None, str | None]:
    """Title, tags, category and description; the words of a mixed item come from both of its topics."""
    own, other = _words(topics[main], 4, rng), _words(topics[second], 2, rng)
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


def _words(topic: Topic, count: int, rng: np.random.Generator) -> list[str]:
    """Distinct words of a topic, an even number; under a facet every second one is a word of the facet."""
    if not topic.facet_words:
        return [str(word) for word in rng.choice(topic.keywords, count, replace=False)]
    sides = [rng.choice(words, count // 2, replace=False) for words in (topic.keywords, topic.facet_words)]
    return [str(word) for pair in zip(*sides, strict=True) for word in pair]
