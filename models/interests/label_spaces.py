"""Where items and labels can be compared: by the meaning of their texts, and by their words.

A label is read as the language models read it. Similarities are cosines.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from scipy import sparse

from models.arrays import Float32Array, IntArray
from models.interests.item_embeddings import Embedder, column, embed_texts
from models.interests.words import SpacelessWords, split_words
from models.language.prompts import label_text

Vectors: TypeAlias = Any
"""float32 [rows, d], as an array or as scipy's sparse rows, which have no types."""


@dataclass(frozen=True, eq=False)
class LabelSpace:
    """One way to compare items and labels.

    Attributes:
        name: ``meaning`` or ``words``.
        items: [items, d], rows of unit length or zero.
        vectors_of: gives [labels, d] for labels, rows of unit length or zero.
        spread: differences of similarity below it hardly count, where one label must be told from another.
        near: labels with at least this similarity are near.
    """

    name: str
    items: Vectors
    vectors_of: Callable[[Sequence[str]], Vectors]
    spread: float
    near: float

    def similarity(self, rows: IntArray, vectors: Vectors) -> Float32Array:
        """Cosine of items, by their rows, and labels: [rows, labels]."""
        return product(self.items[rows], vectors)


def product(one: Vectors, other: Vectors) -> Float32Array:
    """All products of the rows of two matrices, dense."""
    products = one @ other.T
    return np.asarray(products.toarray() if sparse.issparse(products) else products, dtype=np.float32)


def unit_rows(vectors: Vectors) -> Vectors:
    """Rows divided by their length; zero stays zero."""
    if not sparse.issparse(vectors):
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(length > 0, length, 1), dtype=np.float32)
    length = np.sqrt(vectors.power(2).sum(axis=1))
    return sparse.csr_array(sparse.diags_array(1 / np.where(length > 0, length, 1)) @ vectors)


def meaning_space(embedder: Embedder, embeddings: Float32Array) -> LabelSpace | None:
    """The space of the item embeddings; none where the platform supplied them, as no label can be placed in it."""
    if embedder.method == "supplied":
        return None

    placed: dict[str, Float32Array] = {}

    def vectors_of(labels: Sequence[str]) -> Float32Array:
        texts = [label_text(label).strip() for label in labels]
        new = sorted({text for text in texts if text not in placed})
        if new:
            placed.update(zip(new, embed_texts(embedder, new), strict=True))
        return np.stack([placed[text] for text in texts])

    return LabelSpace("meaning", embeddings, vectors_of, spread=0.01, near=0.8)


def word_space(items: pl.DataFrame, read: IntArray) -> LabelSpace:
    """Words of all fields, each once, weighed by inverse document frequency among the items that are read."""
    texts = _texts(items)
    spaceless = SpacelessWords(texts[row] for row in read)
    words = [set(split_words(text, spaceless)) for text in texts]
    frequency = Counter(word for row in read for word in words[row])
    weights = {word: math.log1p(len(read) / count) for word, count in sorted(frequency.items())}
    column_of = {word: number for number, word in enumerate(weights)}
    vectors_of = partial(_label_word_vectors, spaceless=spaceless, weights=weights, column_of=column_of)
    return LabelSpace("words", _word_vectors(words, weights, column_of), vectors_of, spread=0.3, near=0.5)


def _texts(items: pl.DataFrame) -> list[str]:
    fields = [column(items, name) for name in ("title", "tags", "category", "description")]
    return [
        ". ".join(text for text in (title, *(tags or []), category, description) if text)
        for title, tags, category, description in zip(*fields, strict=True)
    ]


def _label_word_vectors(
    labels: Sequence[str], spaceless: SpacelessWords, weights: dict[str, float], column_of: dict[str, int]
) -> sparse.csr_array:
    return _word_vectors([set(split_words(label, spaceless)) for label in labels], weights, column_of)


def _word_vectors(words: list[set[str]], weights: dict[str, float], column_of: dict[str, int]) -> sparse.csr_array:
    """Unit rows of the weights of known words."""
    known = [sorted(word for word in some if word in weights) for some in words]
    lengths = [math.sqrt(sum(weights[word] ** 2 for word in some)) for some in known]
    values = [weights[word] / length for some, length in zip(known, lengths, strict=True) for word in some]
    columns = [column_of[word] for some in known for word in some]
    starts = np.concatenate([[0], np.cumsum([len(some) for some in known])]) if known else np.zeros(1)
    shape = (len(words), max(1, len(weights)))
    return sparse.csr_array((np.array(values, np.float32), np.array(columns, np.int64), starts.astype(np.int64)), shape)
