"""Keywords of clusters with their weights: which words and tags a label may be made of."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from models.arrays import IntArray
from models.interests.item_embeddings import column
from models.interests.words import SpacelessWords, numbered_names, split_words

# People choose tags and categories to say what an item is about; words of a title or description may say it.
FIELD_WEIGHTS = {"tags": 4.0, "category": 3.0, "title": 1.0, "description": 0.5}
LONGEST_PHRASE = 3  # words in a tag that stays one keyword; longer tags are read word by word
NAME_SHARE = 0.5  # a word that comes with its number, or in one name, at least so often is told as that name
# A keyword that fewer items of a cluster use than this share or this number tells of these items, not of the cluster.
TYPICAL_SHARE = 0.1
TYPICAL_ITEMS = 3
DESCRIBING_SHARE = 0.2  # a keyword that so many items use describes the cluster, also where the others use it as much
SMOOTHING = 0.01  # added to shares before they are compared
MOST_KEYWORDS = 16  # of a cluster, from which its label is chosen
ITEMS_READ = 2_000  # per cluster: more do not move the keywords

_NUMERAL = re.compile(r"(?=[ivxlcdm])(x{0,3})(ix|iv|v?i{0,3})|m{1,4}d?c{0,4}l?x{0,4}v?i{0,4}")
_NUMBER_WORDS = """zero second third seven thirteen fourteen sixteen seventeen eighteen nineteen thirty seventy eighty
ninety thousand million billion"""
_CLIPPED_WORDS = """ain aren couldn didn doesn don hadn hasn haven isn just ll shouldn ve wasn weren won wouldn th st nd
rd vs etc http https www com"""
# Articles and prepositions of other languages: untranslated titles otherwise make "la" a keyword.
_FOREIGN_WORDS = """al au aux avec ce ces che con da das de degli del della delle dem den der des det di die du ein eine
el en est et gli il ist la las le les lo los mit mon na non nos nous os para por pour qui se si su sur um un una une uno
und van vom von zu zum zur"""
STOP_WORDS = frozenset([*ENGLISH_STOP_WORDS, *_NUMBER_WORDS.split(), *_CLIPPED_WORDS.split(), *_FOREIGN_WORDS.split()])


class Keyword(NamedTuple):
    """A keyword of a cluster.

    Attributes:
        text: one word, or a tag of up to three, or a name with its number.
        typical: whether it tells of the cluster and not of some of its items only.
        describes: whether many of the cluster's items use it, and more than of the others.
        weight: how much it sets the cluster apart from the others.
    """

    text: str
    typical: bool
    describes: bool
    weight: float


def cluster_keywords(items: pl.DataFrame, cluster_ids: IntArray, clusters: int) -> list[list[Keyword]]:
    """The best keywords of each cluster: typical ones first, the heaviest first.

    A weight is what the keyword adds to the divergence of Kullback and Leibler between the cluster and the others,
    ``share in the cluster * log(share in the cluster / mean share in the others)``, times the weight of its field.
    Shares are of items, so that neither large clusters nor long descriptions drown the rest.
    """
    read = [items[rows] for rows in rows_by_cluster(cluster_ids, clusters)]
    spaceless = SpacelessWords(text for some in read for text in _texts(some))
    shares = [_term_shares(some, spaceless) for some in read]
    summed: Counter[str] = Counter()
    for terms in shares:
        summed.update({term: share for term, (share, _) in terms.items()})
    return [_best_keywords(terms, some.height, summed, clusters) for terms, some in zip(shares, read, strict=True)]


def rows_by_cluster(cluster_ids: IntArray, clusters: int) -> list[IntArray]:
    """The first ``ITEMS_READ`` rows of each cluster."""
    order = np.argsort(cluster_ids, kind="stable")
    ends = np.cumsum(np.bincount(cluster_ids, minlength=clusters))
    return [rows[:ITEMS_READ] for rows in np.split(order, ends[:-1])]


def near_duplicates(one: str, other: str) -> bool:
    """Whether two keywords say the same: every word of the shorter one has a twin in the longer one.

    Twins share a beginning of at least four letters that is most of the shorter word (film/films, garden/gardening).
    """
    shorter, longer = sorted((re.split(r"[ -]", one), re.split(r"[ -]", other)), key=len)
    return all(any(_twins(word, candidate) for candidate in longer) for word in shorter)


def _twins(one: str, other: str) -> bool:
    shared = next((i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    if shared is None:
        shared = min(len(one), len(other))
    shortest = min(len(one), len(other))
    plural = shared == shortest >= 2 and max(one, other, key=len)[shared:] in {"", "s", "es"}
    return plural or (shared >= 4 and shared >= 0.75 * shortest and max(len(one), len(other)) - shared <= 6)


def _best_keywords(
    terms: dict[str, tuple[float, float]], size: int, summed: Counter[str], clusters: int
) -> list[Keyword]:
    """The best of one cluster's terms, from their shares in it, plain and by field, and the sums over all clusters."""
    found = []
    for term, (share, by_field) in terms.items():
        elsewhere = max(0.0, summed[term] - share) / max(1, clusters - 1)
        weight = by_field * math.log((share + SMOOTHING) / (elsewhere + SMOOTHING))
        enough = share >= TYPICAL_SHARE and share * size >= min(TYPICAL_ITEMS, size) - 1e-6
        typical = enough and (weight > 0 or share >= DESCRIBING_SHARE)
        # Rounded, so that ties are decided by the alphabet and not by the order in which shares were summed.
        place = (not typical, -round(weight if typical else by_field, 9), term)
        found.append((place, Keyword(term, typical, typical and weight > 0 and share >= DESCRIBING_SHARE, weight)))
    return [keyword for _, keyword in sorted(found)[:MOST_KEYWORDS]]


def _texts(items: pl.DataFrame) -> Iterable[str]:
    tags = (tag for tags in column(items, "tags") for tag in tags or [])
    fields = (text for name in ("category", "title", "description") for text in column(items, name))
    return (text for texts in (tags, fields) for text in texts if text)


def _term_shares(items: pl.DataFrame, spaceless: SpacelessWords) -> dict[str, tuple[float, float]]:
    """Per term the share of items that use it, plain and times field weight (of the heaviest field in each item)."""
    shares: Counter[str] = Counter()
    by_field: defaultdict[str, float] = defaultdict(float)
    fields = [column(items, name) for name in FIELD_WEIGHTS]
    for tags, category, title, description in zip(*fields, strict=True):
        terms: dict[str, float] = {}
        terms |= dict.fromkeys(_words_and_names(description or "", spaceless), FIELD_WEIGHTS["description"])
        terms |= dict.fromkeys(_words_and_names(title or "", spaceless), FIELD_WEIGHTS["title"])
        terms |= dict.fromkeys(_phrase(category or "", spaceless), FIELD_WEIGHTS["category"])
        for tag in tags or []:
            terms |= dict.fromkeys(_phrase(tag or "", spaceless), FIELD_WEIGHTS["tags"])
        shares.update(terms.keys())
        for term, weight in terms.items():
            by_field[term] += weight
    told_by_name = _parts_of_names(shares)
    return {
        term: (count / items.height, by_field[term] / items.height)
        for term, count in shares.items()
        if term not in told_by_name
    }


def _parts_of_names(counts: Counter[str]) -> set[str]:
    """Words that mostly stand in one name with a number ("title" in "title 42"): the name is said instead of them."""
    parts = set()
    for name in [term for term in counts if term[-1].isdecimal()]:
        words = name.split(" ")
        spans = [" ".join(words[a:b]) for a in range(len(words)) for b in range(a + 1, len(words) + 1)]
        parts |= {span for span in spans if span != name and counts[name] >= NAME_SHARE * max(counts[span], 1)}
    return parts


def _phrase(value: str, spaceless: SpacelessWords) -> list[str]:
    """A tag as one keyword of at most three words, its words and the number of a name in their order."""
    words = [word for word in split_words(value) if _usable(word)]
    names = _names(value)
    if len(words) > LONGEST_PHRASE:
        return [*(word for word in split_words(value, spaceless) if _usable(word)), *names]
    if names and names[0].split(" ")[:-1] == words:
        return names[:1]
    return [" ".join(words)] if words else []


def _words_and_names(text: str, spaceless: SpacelessWords) -> list[str]:
    return [*(word for word in split_words(text, spaceless) if _usable(word)), *_names(text)]


def _names(text: str) -> list[str]:
    """Names with their number, with one word before it and with two: "story 3", "toy story 3"."""
    found = []
    for *words, number in numbered_names(text):
        usable = [word for word in words if _usable(word)]
        if usable and usable[-1] == words[-1]:
            found += [" ".join([*usable, number]), f"{usable[-1]} {number}"]
    return found


def _usable(word: str) -> bool:
    """Whether a word can tell something: no stop word, number or numeral, no single letter, no digit in it."""
    if re.search(r"[\d_]", word) or (len(word) == 1 and not _says_much(word)):
        return False
    return not any(part in STOP_WORDS for part in [word, *word.split("-")]) and not _NUMERAL.fullmatch(word)


def _says_much(letter: str) -> bool:
    """Whether one letter can be a word: a Chinese character."""
    return "\u3400" <= letter <= "\u9fff"
